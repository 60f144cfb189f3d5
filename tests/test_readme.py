"""What the README shows: its examples run, its commands compose, its layout stands."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
from running import acme_loop, sloop

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
STAGES = ("gen", "probe", "optimize", "train", "eval", "loop", "check")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def stage_commands() -> list[list[str]]:
    """Every stage command in the README's tables and blocks, but those with a user's own configuration folder."""
    lines = [line for block in blocks("bash") for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", README)
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("sloop ")]
    return [line[1:] for line in words if line[1] in STAGES and len(line) > 2 and "--config-dir" not in line]


def test_the_python_example_of_the_stages_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "example.py"
    script.write_text(blocks("python")[0])
    table = runpy.run_path(str(script))["table"]
    assert table.num_rows > 0


def test_the_python_example_of_the_frame_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acme_loop(tmp_path / "outputs" / "study" / "run", "loop.rounds=1")
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "example.py"
    script.write_text(blocks("python")[1])
    frame = runpy.run_path(str(script))["frame"]
    assert list(frame["round"]) == [1]


@pytest.mark.parametrize("words", stage_commands(), ids=" ".join)
def test_a_command_composes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    one = [word.split(",")[0] for word in words if word != "-m"]  # of a sweep, its first job
    assert sloop(*one, "--cfg", "job") == 0
    assert "stage: " + words[0] in capsys.readouterr().out


def test_every_file_of_the_layout_is_there() -> None:
    layout = README[README.index("## Layout") :].split("```")[1]
    top, package = layout.strip().split("sloop/\n")
    named = [line.split()[0] for line in top.splitlines() if line and not line.startswith(" ")]
    inside = [f"sloop/{line.split()[0]}" for line in package.splitlines() if re.match(r"  \S", line)]
    assert [name for name in (*named, *inside) if not (ROOT / name).exists()] == []
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "sloop").glob("*.py")} - {
        f"sloop/{name}.py" for name in ("__init__", "__main__")
    }
    assert {name for name in modules if Path(name).name not in package} == set()
