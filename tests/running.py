"""Runs of sloop for tests: the command line in this process, or in one of its own that can be killed."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sloop.benchmarks.base import SampleBenchmark
from sloop.cli import main
from sloop.records import CodeState, DataRecord, Grade, Machine, RoundRecord, RunRecord, Score
from sloop.store import read_json, read_rows, write_rows

CONF = Path(__file__).parent / "plugin" / "conf"
QUESTIONS = 120
ALONE = "tracking.enabled=false"


@functools.cache
def scratch() -> Path:
    """A folder for what several tests share."""
    return Path(tempfile.mkdtemp(prefix="sloop-tests-"))


@functools.cache
def questions() -> Path:
    """A small benchmark: some of every slice of the packaged development set."""
    path = scratch() / "questions.jsonl"
    data = SampleBenchmark(name="dev", path="sloop_bench/dev.jsonl.gz").data
    write_rows(path, islice(data, 0, QUESTIONS * (len(data) // QUESTIONS), len(data) // QUESTIONS))
    return path


def acme() -> tuple[str, ...]:
    """The words that choose a stranger's parts, from their own configuration folder."""
    return ("--config-dir", str(CONF), "experiment=acme", f"benchmark.path={questions()}")


def sloop(*words: str) -> int:
    """Run a command here; its exit status."""
    before = sys.argv
    try:
        main(words)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def acme_loop(folder: Path, *words: str) -> Path:
    """Run the loop with acme's parts into a folder."""
    assert sloop("loop", *acme(), f"output_dir={folder}", ALONE, *words) == 0
    return folder


def start(*words: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "sloop", *words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them ignore interrupts, and so would what they start
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a process, once it has ended."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def manifests(folder: Path) -> dict[str, bytes]:
    """The bytes of every stage.json of a run, by its place."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("stage.json"))}


def rounds(folder: Path) -> list[dict[str, Any]]:
    """The content of every round.json of a run, in order."""
    return [read_json(path) for path in sorted(folder.glob("round_*/round.json"))]


def run_plain(name: str, **changes: Any) -> dict[str, Any]:
    """What a run.json holds, with some of it changed."""
    config = {"variant": {"name": "full"}, "student": {"name": "tiny"}, "benchmark": {"name": "bench"}}
    record = RunRecord(
        id=f"id-{name}",
        kind="loop",
        name=name,
        study="s",
        seed=0,
        config_hash="0" * 64,
        config={**config, "loop": {"rounds": 3}, "preflight": True},
        overrides=(),
        command="sloop loop",
        sweep=None,
        code=CodeState(version="0", digest="0" * 64),
        versions={},
        machine=Machine(host="nowhere", pid=1, system="none", processor="none", cpus=1),
        environment={},
        bibtex="",
        status="FINISHED",
        began="2026-01-01T00:00:00.000+00:00",
        finished="2026-01-01T01:00:00.000+00:00",
    )
    return {**record.plain(), **changes}


def round_plain(number: int, metrics: Sequence[Score]) -> dict[str, Any]:
    """What a round.json holds."""
    data = DataRecord(path="data.jsonl", rows=0, shortfall=0, sha256="0" * 64)
    times = {"began": "2026-01-01T00:00:00.000+00:00", "finished": "2026-01-01T00:30:00.000+00:00"}
    return RoundRecord(round=number, steps=1, data=data, stages={}, metrics=tuple(metrics), **times).plain()


@functools.cache
def _database() -> Path:
    from sloop.runs.track import connect

    folder = scratch() / "mlruns"
    connect(None, folder, "template")
    return folder


def fresh_database(mlruns: Path) -> None:
    """An empty tracking database; MLflow takes seconds to make one, so it is made once and copied."""
    mlruns.mkdir(parents=True)
    for file in _database().glob("mlflow.db*"):
        shutil.copy(file, mlruns / file.name)


def graded(folder: Path, number: int) -> dict[str, bool | None]:
    """Right or wrong by sample id, in a round of a loop."""
    grades = read_rows(folder / f"round_{number}" / "evaluate" / "dev" / "grades.jsonl", Grade)
    return {grade.sample_id: grade.correct for grade in grades}


def cells(out: str, beginning: str) -> list[str]:
    """The cells of the first row of a printed table whose first cell begins so."""
    rows = ([cell.strip() for cell in line.strip("│ \n").split("│")] for line in out.splitlines() if "│" in line)
    return next(row for row in rows if row[0].startswith(beginning))
