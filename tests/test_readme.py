"""What README and the pages of docs/ show: every command in a block composes, and runs at toy size or is looked up,
every example runs, every link leads somewhere, the layout stands. What makes something runs behind the marker slow.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from running import ALONE, CONF, acme, fresh_database, questions, sloop

from sloop.cli import STAGES
from sloop.store import Dataset, write_rows

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.name != "compatibility.md"  # made of tests/kinds, and tested there
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
LONGEST = 150
"""Lines of the front page."""

NOT_RUN = {
    "mlflow": "reads MLflow; run in tests/test_show_sweeps.py",
    "student=endpoint": "asks a server; composed here, asked in tests/test_endpoint_cli.py",
    "teacher=llm": "asks a model; composed here, asked in tests/test_teachers_llm.py",
    "teacher@teacher.teacher=llm": "asks a model; composed here, asked in tests/test_teachers_llm.py",
    "benchmark=bfcl": "takes the official files; composed here, run in tests/test_benchmarks_bfcl.py",
    "benchmark=bfcl_multi_turn": "takes the wheel; composed here, run in tests/test_benchmarks_bfcl_multi_turn.py",
    "benchmark=verifiers": "takes a Python with verifiers; composed here, run in tests/test_benchmarks_verifiers.py",
    "benchmark=acebench": "takes the official files; composed here, run in tests/test_benchmarks_acebench.py",
    "experiment=real": "trains a pretrained model for hours; composed here",
    "experiment=stateful": "of six decisions some are too long for its student; composed here",
    "real": "compares runs of hours; the same command runs on the demo",
    "student.path=FOLDER": "takes a checkpoint of the reader's; composed here, trained in tests/test_trainers_sft.py",
    "executor=ray": "starts a cluster; composed here, run in tests/test_engine_cluster.py",
    "DIGEST": "checks a bundle; run in tests/test_runs_check.py",
    "serve": "ends when it is told to; run in tests/test_serve_cli.py",
    "chat": "asks a model; run in tests/test_serve_chat.py",
    "mcp:python -m mcp_server_time": "starts a server of the package index; run in tests/test_tools_mcp.py",
    "tools=mcp": "starts a server of the package index; composed here, run in tests/test_tools_mcp.py",
    "hydra/launcher=submitit_slurm": "asks Slurm; composed here",
    "hydra.launcher.ray.init.address=auto": "asks a cluster that is there; composed here",
}
"""Commands of sloop that are not run, by a word in them."""
LOOKED_UP = {
    "make": "sets a machine up; its target is looked up",
    "scripts/": "hours of training; read in tests/test_scripts.py, and looked up here",
    "pip": "installs; extras and files are looked up",
    "uv": "installs; extras and files are looked up",
    "python3.11": "makes an environment",
    ".": "enters an environment",
}
"""Other programs, by how their name begins."""
TOY = {
    "gen": ("num_samples=8",),
    "train": ("steps=1",),
    "eval": ("benchmark.limit=4", "decode.max_tokens=2"),
    "probe": ("decode.max_tokens=2",),
    "loop": (
        "steps=1",
        "loop.rounds=1",
        "loop.budget=6",
        "loop.first_steps=1",
        "benchmark.limit=4",
        "decode.max_tokens=2",
    ),
    "ui": ("--links",),
}
"""What makes a command small: words put behind it."""
STANDING_FOR = {
    "experiment=demo": (
        *acme(),
        "name=demo",
        "student.name=tiny",
        "loop.budget=20",
        "benchmark.limit=20",
    ),  # a stranger's quick parts
    "seed=0,1,2": ("seed=0",),
    "hydra.sweeper.n_trials=20": ("hydra.sweeper.n_trials=2",),
    "RUN": ("demo/tiny-full-s0",),
}
"""What is put in the place of a word."""
COMPILED = {
    "http://127.0.0.1:8000": "asks a server; what it shows is run in tests/test_models_agent.py",
    "run_command": "needs a machine that isolates programs; run in tests/test_tools_sandbox.py",
    "IsolatedTool": "needs a machine that isolates programs; run in tests/test_tools_sandbox.py",
}
"""Examples that are compiled and not run, by what stands in them."""


def toy(words: list[str]) -> list[str]:
    """The same command, small."""
    first, *rest = words
    small = [] if "experiment=demo" in rest else list(TOY.get(first, ()))
    if first == "eval" and not any(word.startswith("benchmark") for word in rest):
        small += ["benchmark=jsonl", f"benchmark.path={questions()}"]
    rest = [part for word in rest for part in ((asked(),) if word == "f30a555d" else STANDING_FOR.get(word, (word,)))]
    return [first, *rest, *small, *([ALONE] if first in STAGES else [])]


def asked() -> str:
    """A question that the demo was asked."""
    answers = next(Path("outputs", "demo").glob("*-full-s0-*/round_1/evaluate/**/grades.jsonl"))
    found: str = json.loads(answers.read_text().splitlines()[0])["sample_id"]
    return found


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def commands(page: str) -> Iterator[list[str]]:
    """The words of every command in a page's bash blocks."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    del words[0]
                if words:
                    yield words


SHOWN = [list(words) for words in dict.fromkeys(tuple(words) for page in PAGES for words in commands(page))]
OURS = [words[1:] for words in SHOWN if words[0] == "sloop"]
OTHERS = [words for words in SHOWN if words[0] != "sloop"]
INLINE = [
    words[1:]
    for text in PAGES.values()
    for words in (shlex.split(line) for line in re.findall(r"`(sloop [^`\n]+)`", text))
    if words[1] in STAGES and len(words) > 2
]
"""Commands in the midst of a sentence."""


def reason(words: list[str]) -> str | None:
    """Why a command is not run; None: it is."""
    return next((why for word, why in NOT_RUN.items() if word in words), None)


def first_job(words: list[str]) -> list[str]:
    """Of a sweep, its first job; of a search, what it does not search."""
    return [word.split(",")[0] for word in words if word != "-m" and "interval(" not in word]


def makes(words: list[str]) -> bool:
    """Whether a command makes something by a stage: seconds each, and composed by default."""
    return words[0] in STAGES and "--cfg" not in words


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the pages' reader has it: tools, dialogues and parts of their own."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.syspath_prepend(str(folder))
        shutil.copy(CONF.parent / "acme_tools.json", "my_tools.json")
        write_rows(Path("my_dialogues.jsonl"), islice(Dataset(questions()), 6))
        for block in blocks("docs/adding.md", "python") + blocks("docs/adding.md", "yaml"):
            path = Path(block.splitlines()[0].removeprefix("# "))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
        yield folder


def shown(*beginnings: str) -> list[str]:
    """The first command whose words begin so."""
    return next(one for one in OURS if all(map(str.startswith, one, beginnings)))


@pytest.fixture(scope="module")
def desk(own: Path) -> Path:
    """The same with a demo."""
    fresh_database(Path("mlruns"))
    assert sloop(*toy(shown("loop", "-m"))) == 0
    return own


@pytest.fixture(scope="module")
def trained(desk: Path) -> Path:
    """The same with what the stages made, one from the other."""
    for command in (shown("gen", "num_samples=500", "output_dir=outputs/data"), shown("train", "data=outputs")):
        assert sloop(*toy(command)) == 0
    return desk


@pytest.mark.parametrize("words", [one for one in OURS if not reason(one) and not makes(one)], ids=" ".join)
def test_a_command_that_shows_something_runs(words: list[str], desk: Path) -> None:
    assert sloop(*toy(words)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [one for one in OURS if not reason(one) and makes(one)], ids=" ".join)
def test_a_command_that_makes_something_runs(words: list[str], trained: Path) -> None:
    assert sloop(*toy(words)) == 0


@pytest.mark.parametrize(
    "words", [*(one for one in OURS if one[0] in STAGES and "DIGEST" not in one), *INLINE], ids=" ".join
)
def test_a_command_composes(words: list[str], own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop(*first_job(words), "--cfg", "job") == 0
    assert "stage: " + words[0] in capsys.readouterr().out


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_what_another_program_is_told_is_there(words: list[str]) -> None:
    assert [begin for begin in LOOKED_UP if words[0].startswith(begin)]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    if words[0].startswith("scripts/"):
        assert (ROOT / words[0]).is_file()
    extras = {name for word in words for name in ",".join(re.findall(r"\[(.*)\]", word)).split(",") if name}
    assert extras <= EXTRAS.keys()
    assert not ("-c" in words and not (ROOT / "constraints.txt").is_file())


def test_every_extra_that_a_page_names_is_there() -> None:
    named = {
        name for text in PAGES.values() for found in re.findall(r"sloop\[([\w,]+)\]", text) for name in found.split(",")
    }
    assert named
    assert named <= EXTRAS.keys()


def test_every_exception_is_needed() -> None:
    said = {word for words in OURS for word in words}
    assert [word for word in NOT_RUN if word not in said] == []
    assert [begin for begin in LOOKED_UP if not any(words[0].startswith(begin) for words in OTHERS)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python") and page != "docs/adding.md"])
def test_an_example_runs(page: str, desk: Path) -> None:
    for number, block in enumerate(blocks(page, "python")):
        if any(word in block for word in COMPILED):
            compile(block, page, "exec")
            continue
        script = desk / f"example_{number}.py"
        script.write_text(block)
        found = runpy.run_path(str(script))
        assert "table" not in found or found["table"].num_rows > 0
        assert "frame" not in found or {"round", "study"} <= set(found["frame"])


def test_the_front_page_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= LONGEST


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)\s#]+)", PAGES[page])
    here = (ROOT / page).parent
    assert [link for link in links if "://" not in link and not (here / link).exists()] == []


def test_the_site_is_built_and_every_page_is_in_it(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="builds the site with mkdocs: pip install 'sloop[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in tmp_path.glob("*.html")}
    assert {Path(page).with_suffix(".html").name for page in PAGES if page != "README.md"} <= made
    asked = [
        link
        for path in tmp_path.rglob("*.html")
        for link in re.findall(r'<(?:script|link|img)[^>]*="(https?:[^"]*)', path.read_text())
    ]
    assert asked == []


def test_every_file_of_the_layout_is_there() -> None:
    layout = PAGES["docs/layout.md"].split("```")[1]
    top, package = layout.strip().split("sloop/\n")
    named = [line.split()[0] for line in top.splitlines() if line and not line.startswith(" ")]
    inside = [f"sloop/{line.split()[0]}" for line in package.splitlines() if re.match(r"  \S", line)]
    assert [name for name in (*named, *inside) if not (ROOT / name).exists()] == []
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "sloop").glob("*.py")} - {
        f"sloop/{name}.py" for name in ("__init__", "__main__")
    }
    assert {name for name in modules if Path(name).name not in package} == set()
