"""The command line as a person meets it: help, version, mistakes, a user's own configuration folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running import ALONE, CONF, acme, ended, sloop, start

HEAVY = ("torch", "mlflow", "hydra", "transformers", "pandas", "scipy", "statsmodels")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in an empty folder, offline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def mistake(capsys: pytest.CaptureFixture[str], *words: str, begun: bool = False) -> str:
    """The one message of a command that must fail as a reader's mistake; leaves nothing behind unless begun."""
    capsys.readouterr()
    assert sloop(*words) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert err.startswith("sloop: ")
    assert err.count("sloop: ") == 1
    assert out == ""
    assert Path("outputs").exists() == begun
    assert not Path("mlruns").exists()
    return err


# --- help and version ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["version"]])
def test_help_and_version_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    program = f"import sys; from sloop.cli import main; main({words}); sys.stderr.write(' '.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    loaded = set(found.stderr.split())
    assert not loaded & set(HEAVY)


def test_python_m_sloop_is_sloop(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("sloop")
    if not script.exists():
        pytest.skip("only an installed sloop has a script to compare with: pip install -e .")
    by_module = ended(start("--help", cwd=tmp_path))
    by_script = subprocess.run([script, "--help"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert by_module == (0, by_script.stdout, "")
    assert "usage: sloop" in by_script.stdout


def test_version_names_code_and_python(capsys: pytest.CaptureFixture[str]) -> None:
    import platform

    from sloop import __version__

    assert sloop("version") == 0
    out = capsys.readouterr().out
    assert f"sloop {__version__}" in out
    assert platform.python_version() in out


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop() == 0
    assert "examples" in capsys.readouterr().out


# --- mistakes -----------------------------------------------------------------------------------------------------


def test_an_unknown_command_is_met_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'optimize'?" in mistake(capsys, "optimise")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gen", "num_sample=3"], ["num_sample", "--cfg job"]),
        (["gen", "teacher.phrases=xx"], ["teacher.phrases=xx", "teacher.teacher.phrases", "teacher.label_noise"]),
        (["loop", "judge=null"], ["judge=null", "grounding, llm"]),
        (["loop", "-m", "seed=0,1", "--cfg", "job"], ["Only one of", "--multirun, --cfg"]),
        (["loop", "judge=5", "-m", "seed=0,1"], ["judge=5", "grounding, llm"]),
        (["serve", "teacher=null"], ["teacher=null", "template"]),
        (["gen", "preview=-1"], ["preview=-1", "whole number from 0"]),
        (["gen", "num_samples=5", "gen.offered=[3]"], ["gen.offered[1] is missing"]),
        (["gen"], ["num_samples is missing", "num_samples=1000"]),
        (["gen", "num_samples=5", "output_dir=/dev/null/x"], ["output_dir=/dev/null/x", "cannot be made"]),
        (["gen", "num_samples=many"], ["num_samples='many'", "whole number"]),
        (["gen", "num_samples=0"], ["num_samples=0", "from 1"]),
        (["gen", "label_noise=2"], ["label_noise=2", "0 to 1"]),
        (["gen", "batch_size=0"], ["batch_size=0", "whole number from 1"]),
        (["gen", "num_samples=5", "gen.kinds.double=1"], ["double"]),
        (["gen", "num_samples=5", "gen.offered=[5,3]"], ["gen.offered=[5, 3]", "[3,5]"]),
        (["gen", "num_samples=[1"], ["[1"]),
        (["gen", "num_samples=5", "teacher=nobody"], ["teacher/nobody", "template", "noisy"]),
        (["gen", "num_samples=5", "tools=own"], ["tools.path is missing", "tools.path=VALUE"]),
        (["gen", "num_samples=5", "tools.path=nope.json"], ["nope.json", "everyday"]),
        (["gen", "num_samples=5", "tools.paht=x"], ["paht"]),
        (["gen", "num_samples=5", "+tools.paht=x"], ["tools.paht", "tools.path"]),
        (["gen", "num_samples=5", "+teacher.colour=red"], ["teacher.colour", "Allowed"]),
        (["gen", "num_samples=5", "teacher._target_=sloop.simulation.template.Nobody"], ["Nobody", "TemplateTeacher"]),
        (["gen", "num_samples=5", "teacher._target_=no.such.Module"], ["no.such.Module", "cannot import"]),
        (
            ["gen", "num_samples=5", "teacher=template", "teacher.random_values=much"],
            ["teacher.random_values='much'", "a share from 0 to 1"],
        ),
        (["gen", "num_samples=5", "teacher=template", "teacher.values=winter"], ["teacher.values='winter'", "train"]),
        (["train"], ["data is missing", "data=FILE.jsonl"]),
        (["train", "data=nope.jsonl"], ["data=nope.jsonl", "no such file"]),
        (["probe", "data=nope.jsonl"], ["data=nope.jsonl", "no such file"]),
        (["optimize", "data=nope.jsonl"], ["data=nope.jsonl", "no such file"]),
        (["eval", "benchmark=nope"], ["benchmark/nope", "sloop_bench"]),
        (["eval", "benchmark=jsonl", "benchmark.path=nope.jsonl"], ["nope.jsonl"]),
        (["loop", "variant=nope"], ["variant/nope", "static"]),
        (["loop", "experiment=nope"], ["experiment/nope", "demo"]),
        (["loop", "student=nope"], ["student/nope", "tiny"]),
        (["loop", "optimize.axes=[colour]"], ["optimize.axes", "colour", "phrasing"]),
        (["table"], ["outputs", "sloop loop"]),
        (["compare", "a", "b"], ["'a'", "none"]),
        (["ui"], ["mlflow.db", "sloop loop"]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value, list) else None,
)
def test_a_mistake_is_one_message(words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = mistake(capsys, *words)
    assert [text for text in said if text not in message] == []


def test_a_line_that_is_no_sample_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data.jsonl").write_text('{"messages": 3}\n')
    message = mistake(capsys, "train", "data=data.jsonl", *acme(), ALONE)
    assert "data.jsonl, line 1" in message


def test_a_missing_value_of_the_student_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "student.path" in mistake(capsys, "eval", "student=checkpoint")
    assert "student=checkpoint" in mistake(capsys, "eval", *acme())


@pytest.mark.parametrize("path", ["no/such/folder", "empty"])
def test_a_checkpoint_that_cannot_be_read_is_named(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    message = mistake(capsys, "eval", *acme(), f"student.path={path}", ALONE)
    assert f"no checkpoint at {path}" in message
    assert "config.json" in message


def test_a_sweep_that_cannot_start_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    message = mistake(capsys, "gen", "-m", "seed=0,1", "num_samples=many")
    assert "num_samples='many'" in message
    assert not list(Path().iterdir())


def test_an_option_that_is_unknown_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("loop", "--nope") == 2
    assert "--nope" in capsys.readouterr().err


# --- what is written and what is not -------------------------------------------------------------------------------


def test_a_preview_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("gen", "preview=10") == 0
    out = capsys.readouterr().out
    assert "10. " in out
    assert "11. " not in out
    assert not list(Path().iterdir())


def test_a_configuration_is_printed_and_nothing_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("loop", "--cfg", "job", "seed=7") == 0
    out = capsys.readouterr().out
    assert "seed: 7" in out
    assert "stage: loop" in out
    assert not list(Path().iterdir())


def test_a_preview_shows_what_gen_writes(capsys: pytest.CaptureFixture[str]) -> None:
    from sloop.store import Dataset

    assert sloop("gen", "preview=5", "seed=2") == 0
    out = capsys.readouterr().out
    assert sloop("gen", "num_samples=5", "train_split=1", "seed=2", "output_dir=data", ALONE) == 0
    requests = [sample.request for sample in Dataset(Path("data/train.jsonl"))]
    assert all(request in out for request in requests)


# --- a user's own folder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_users_configuration_folder_is_read_wherever_it_stands(
    position: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["student=acme", "seed=4"]
    words[position:position] = ["--config-dir", str(CONF)]
    assert sloop("loop", *words, "--cfg", "job") == 0
    out = capsys.readouterr().out
    assert "_target_: acme_tools.LookupStudent" in out
    assert "seed: 4" in out


def test_a_users_component_is_listed_among_the_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    message = mistake(capsys, "loop", "--config-dir", str(CONF), "student=acne")
    assert "acme" in message


def test_a_class_that_is_no_judge_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("judge._target_=acme_tools.EchoTeacher", "~judge.abstain", "+judge.error_rate=0.5")
    message = mistake(capsys, "loop", *acme(), *words, ALONE)
    assert "judge._target_=acme_tools.EchoTeacher: this key takes a Judge, and that is none" in message


def test_a_users_component_is_checked_key_by_key(capsys: pytest.CaptureFixture[str]) -> None:
    message = mistake(capsys, "loop", *acme(), "student.skill=high", ALONE)
    assert "student.skill='high'" in message
    message = mistake(capsys, "loop", *acme(), "+student.skil=1", ALONE)
    assert "Did you mean 'skill'?" in message
