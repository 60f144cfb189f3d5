"""What a bundle says of its run, the same in every citation; and each form of others by its own validator."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from bundles import BY, DIFF, cited, edit, small_run
from jsonschema import FormatChecker
from jsonschema.validators import validator_for
from running import sloop

from sloop.engine.identity import config_hash
from sloop.records import UserError
from sloop.runs.bundle import Bundle, read_bundle
from sloop.runs.cite import bibtex, unclean
from sloop.runs.papers import Authorship, methods
from sloop.runs.publish import Cited, constraints, publish
from sloop.runs.read import Run

pytest.importorskip("rocrate", reason="needs the crate's library: pip install 'sloop[cite]'")

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cited")


@pytest.fixture(scope="module")
def run(root: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return small_run(root)


@pytest.fixture(scope="module")
def made(root: Path, run: Run) -> Cited:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return cited(run, root / "run.zip")


@pytest.fixture(scope="module")
def bundle(made: Cited) -> Bundle:
    return read_bundle(made.path)


def _valid(schema: str, plain: Any) -> None:
    rules = json.loads((SCHEMAS / schema).read_text())
    validator_for(rules)(rules, format_checker=FormatChecker()).validate(plain)


def _texts(bundle: Bundle, pattern: str) -> list[str]:
    found = [bundle.read(name).decode() for name in bundle.sizes if re.fullmatch(pattern, name)]
    assert found, pattern
    return found


def test_citing_twice_gives_the_same_bytes(root: Path, run: Run, made: Cited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert cited(run, root / "again.zip").path.read_bytes() == made.path.read_bytes()


def test_the_manifest_says_what_a_citation_needs(run: Run, bundle: Bundle) -> None:
    manifest, record = bundle.manifest, run.record
    shown = manifest.run
    assert (shown.id, shown.seed, shown.versions, shown.code) == (record.id, 0, record.versions, record.code)
    assert shown.config == record.config | {"output_dir": "run"}
    assert (shown.overrides[-2:], shown.command[:10]) == (record.overrides[-2:], "sloop loop")
    assert manifest.run.stages["round_2/train"].files["checkpoint/weights.json"].sha256
    assert manifest.parents["round_2/train"]["data"] == "round_1/optimize/dataset.jsonl"
    assert manifest.seeds["config.seed"] == 0
    (headline,) = [
        m for m in manifest.metrics if m.round == 2 and m.name == "eval/dev/harmonic_accuracy" and not m.slice
    ]
    assert headline.n == 120
    assert headline.low < headline.value < headline.high
    assert [given.file for given in manifest.inputs] == ["inputs/benchmark.path/questions.jsonl"]


def test_a_configuration_of_relative_paths_keeps_its_hash(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.published_hash == manifest.run.config_hash == config_hash(manifest.run.config)


def test_nothing_of_the_machine_is_in_it(root: Path, run: Run, bundle: Bundle) -> None:
    machine = run.record.machine
    shown = bundle.manifest.run.machine
    assert (shown.host, shown.pid, shown.processor) == ("", 0, machine.processor)
    for name in bundle.sizes:
        text = bundle.read(name).decode("latin-1")
        assert str(root) not in text, name
        assert str(Path(__file__).parents[1]) not in text, name
        assert str(Path.home()) + "/" not in text, name
    assert bundle.manifest.run.code.diff == DIFF, "it must still apply, whatever paths it names"


def test_a_key_of_this_process_is_not_published(
    root: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    questions = (root / "questions.jsonl").read_text()
    monkeypatch.setenv("SOME_API_KEY", re.findall(r"\w{12,}", questions)[-1])
    with pytest.raises(UserError, match="holds the value of a variable of this process that is a key"):
        cited(run, tmp_path / "run.zip")
    assert not (tmp_path / "run.zip").exists()


def test_a_file_that_was_changed_after_the_run_is_not_cited(tmp_path: Path, root: Path, run: Run) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    with open(folder / "seed/pool/train.jsonl", "a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=r"train\.jsonl: its sha256 is \w+, and its stage made"):
        cited(Run.at(folder), tmp_path / "run.zip")


def test_a_benchmark_that_was_changed_after_the_run_is_left_out_and_told(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.jsonl").write_text('{"other": "lines"}\n')
    manifest = cited(run, tmp_path / "run.zip").manifest
    (given,) = (given for given in manifest.inputs if given.key == "benchmark.path")
    assert (given.file, given.sha256) == (None, None)
    assert manifest.left_out["inputs/benchmark.path/questions.jsonl"].why == "it was changed after the run"


def test_a_run_that_is_under_way_is_not_cited(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    edit(folder / "run.json", lambda plain: plain.update(status="RUNNING"))
    edit(folder / "run.json", lambda plain: plain["machine"].update(host=socket.gethostname(), pid=os.getpid()))
    with pytest.raises(UserError, match="is still running"):
        cited(Run.at(folder), tmp_path / "run.zip")


def test_the_other_runs_of_a_sweep_are_named(root: Path, run: Run, tmp_path: Path) -> None:
    runs = []
    for number, sweep in enumerate(("a", "a", "b", None)):
        folder = tmp_path / str(number)
        shutil.copytree(run.folder, folder)
        edit(folder / "run.json", lambda plain, s=sweep, n=number: plain.update(sweep=s, id=f"id{n}", seed=n))
        runs.append(Run.at(folder))

    found = publish(runs[0], tmp_path / "run.zip", [*runs, runs[1]], by=Authorship(), hub={}).manifest.siblings
    assert [(one.id, one.seed, one.status) for one in found] == [("id1", 1, "FINISHED")]


def test_the_command_prints_the_entry_with_the_digest(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert sloop("cite", run.name, "-o", "cited.zip", "--author", "Ada Lovelace") == 0
    out = capsys.readouterr().out
    sha256 = read_bundle(root / "cited.zip").sha256
    assert f"bundle {sha256}}}" in out
    assert f"sloop check cited.zip --sha256 {sha256}" in out
    assert sloop("cite", run.name, "-o", "cited.tar") == 2
    assert sloop("cite", run.name, "--hub", "dev") == 2
    for words in (("--hub", "other=a/b"), ("--author", " "), ("--license", "a b")):
        assert sloop("cite", run.name, *words) == 2


def test_a_bundle_is_compared_with_a_run_as_zip_and_as_folder(
    root: Path, run: Run, made: Cited, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = read_bundle(made.path)
    bundle.unpack(tmp_path / "bundle")
    for given in (made.path, tmp_path / "bundle"):
        assert sloop("diff", str(given), str(run.folder)) == 0
        same = re.search(r"(\d+) of (\d+) stages have the same bytes", capsys.readouterr().out)
        assert same
        assert same[1] == same[2] == str(len(run.stages))
    assert sloop("diff", str(made.path), str(tmp_path)) == 2
    broken = tmp_path / "broken.zip"
    broken.write_bytes(made.path.read_bytes()[:100])
    assert sloop("diff", str(broken), str(run.folder)) == 2
    assert "no whole zip" in capsys.readouterr().err


# --- forms of others ----------------------------------------------------------------------------------------------


def test_the_citation_file_is_valid(bundle: Bundle) -> None:
    plain = yaml.safe_load(bundle.read("CITATION.cff"))
    _valid("cff_1.2.0.json", plain)
    assert plain["authors"] == [{"family-names": "Lovelace", "given-names": "Ada"}, {"name": "Bletchley"}]
    assert plain["license"] == BY.licence


def test_every_eval_ever_takes_the_scores(bundle: Bundle) -> None:
    (text,) = _texts(bundle, r"every_eval_ever/data/.*\.json")
    record = json.loads(text)
    _valid("every_eval_ever_0.3.0.json", record)
    for line in _texts(bundle, r"every_eval_ever/data/.*\.jsonl")[0].splitlines():
        _valid("every_eval_ever_instance_0.3.0.json", json.loads(line))
    detailed = record["detailed_evaluation_results"]
    entry = bundle.manifest.files[f"every_eval_ever/{detailed['file_path']}"]
    assert (detailed["checksum"], detailed["total_rows"]) == (entry.sha256, 120)
    doubt = record["evaluation_results"][0]["score_details"]["uncertainty"]
    assert doubt["num_samples"] == 120
    assert doubt["confidence_interval"]["lower"] < record["evaluation_results"][0]["score_details"]["score"]


def test_the_hub_takes_the_score(bundle: Bundle) -> None:
    from huggingface_hub import eval_result_entries_to_yaml, parse_eval_result_entries

    (text,) = _texts(bundle, r"\.eval_results/dev\.yaml")
    entries = yaml.safe_load(text)
    assert eval_result_entries_to_yaml(parse_eval_result_entries(entries)) == entries
    assert entries[0]["dataset"] == {"id": "acme/dev", "task_id": "call_accuracy"}


def test_croissant_reads_the_datasets(bundle: Bundle, tmp_path: Path) -> None:
    croissant = pytest.importorskip("mlcroissant", reason="needs its validator: pip install 'sloop[croissant]'")
    bundle.unpack(tmp_path / "bundle")
    found = croissant.Dataset(tmp_path / "bundle" / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    first = next(iter(found.records("round_1-optimize-dataset")))
    assert first["round_1-optimize-dataset/kind"] in (b"single", b"parallel", b"irrelevant", b"incomplete", b"chat")
    plain = json.loads(bundle.read("croissant.json"))
    wanted = ("dataLimitations", "dataBiases", "personalSensitiveInformation", "dataUseCases", "dataSocialImpact")
    assert all(plain[f"rai:{name}"] for name in wanted)


def test_the_crate_is_read_again_with_all_files_and_actions(bundle: Bundle, tmp_path: Path) -> None:
    from rocrate.rocrate import ROCrate

    bundle.unpack(tmp_path / "bundle")
    crate = ROCrate(tmp_path / "bundle")
    files = {entity.id: entity for entity in crate.get_entities() if entity.type == "File"}
    assert set(files) == set(bundle.sizes) - {"ro-crate-metadata.json"}
    assert files["run/run.json"]["sha256"] == bundle.manifest.files["run/run.json"].sha256
    actions = {entity.id: entity for entity in crate.get_entities() if entity.type == "CreateAction"}
    assert set(actions) == {"#run", *(f"#stage-{place}" for place in bundle.manifest.run.stages)}
    trained = actions["#stage-round_2/train"]
    assert "run/round_1/optimize/dataset.jsonl" in [entity.id for entity in trained["object"]]
    assert crate.root_dataset["datePublished"].startswith(bundle.manifest.run.finished[:10])


def test_the_methods_tell_every_number_with_n_and_interval(bundle: Bundle) -> None:
    (text,) = _texts(bundle, r"METHODS\.md")
    assert "Round 1 trained on 60 samples" in text
    assert re.search(r"\| eval/dev/call_accuracy \| \d+\.\d \| \d+\.\d to \d+\.\d \| 120 \|", text)
    odd = bundle.manifest.model_copy(
        update={"run": bundle.manifest.run.model_copy(update={"study": "a|b](http://x)<b>", "status": "KILLED"})}
    )
    assert "a\\|b]\\(http://x)&lt;b>" in methods(odd)
    assert "The run ended as KILLED." in methods(odd)


@pytest.mark.parametrize("name", ["plain", "a_b{c}", "50% & $5 #1", "back\\slash~^", "ümläut }"])
def test_an_entry_for_bibtex_is_whole(name: str) -> None:
    entry = bibtex(name, name, "0" * 64, "2026-01-01", "1" * 64)
    key, _, fields = entry.removeprefix("@misc{").partition(",")
    assert re.fullmatch(r"[\w:.-]+", key, re.ASCII)
    assert entry.count("{") == entry.count("}")
    assert not re.search(r"(?<!\\)[_&%$#]", fields.partition("note")[0].replace("title = ", ""))
    assert "1" * 64 in fields


def test_constraints_are_what_the_run_recorded_or_all_that_is_here() -> None:
    whole = constraints({"python": "3.11.7", "pydantic": pydantic.VERSION})
    assert f"pydantic=={pydantic.VERSION}" in whole.splitlines()
    assert len(whole.splitlines()) > 20
    assert not re.search(r"^sloop==", whole, re.M)
    assert constraints({"python": "3.11.7", "pydantic": "0.1", "x": None}).splitlines()[1:] == ["pydantic==0.1"]


def test_what_is_unclean_is_said(run: Run) -> None:
    code = run.record.code
    assert unclean(code.model_copy(update={"commit": None})) == (
        "the code was no checkout: version and digest are all that is known of it",
    )
    clean = code.model_copy(update={"commit": "c", "diff_sha256": None, "untracked": ()})
    assert unclean(clean) == ()
    dirty = clean.model_copy(update={"diff_sha256": "0" * 64, "untracked": ("x.py",)})
    assert unclean(dirty) == ("files differ from the commit (the diff is recorded)", "1 files are in no commit: x.py")
