"""A run from elsewhere is data: whatever stands in it, nothing is run, opened outside, connected to or coloured."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile
import pytest
from hostile import FORMULAS, MARKUP, ODD, SECRET, STEERING, Found, kinds, leading, put, watched
from running import ALONE, CONF, fresh_database, questions, sloop

from sloop.records import RoundRecord, RunRecord, StageRecord
from sloop.show.console import visible
from sloop.store import Dataset, write_rows

RECORDS = {"run.json": RunRecord, "round.json": RoundRecord, "stage.json": StageRecord}
ASKED = Path("round_1", "evaluate", "dev")


class Listening:
    """A server that nobody should connect to."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.connections += 1
            connection.close()


@dataclass(frozen=True)
class Elsewhere:
    """Runs that were really made, and what lies beside them."""

    root: Path
    server: Listening

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    def run(self, name: str) -> Path:
        return self.outputs / "acme" / name

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def sentinel(self) -> Path:
        return self.outside / "sentinel"

    def watched(self, jobs: Sequence[dict[str, Any]]) -> list[Found]:
        """Carry out jobs under watch; nothing may come of any of them but output."""
        work = self.root / "work"
        work.mkdir(exist_ok=True)
        before = {path: path.read_bytes() for path in sorted(self.outside.rglob("*")) if path.is_file()}
        found = watched(jobs, (self.outputs, self.root / "mlruns", self.root / "drawn"), work, self.sentinel)
        assert {path: path.read_bytes() for path in sorted(self.outside.rglob("*")) if path.is_file()} == before
        assert self.server.connections == 0
        return found


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """A loop of two rounds, an evaluation and a probe; a file that is nobody's business, and a server."""
    found = Elsewhere(tmp_path_factory.mktemp("elsewhere"), Listening())
    few = found.root / "outputs" / "few.jsonl"
    write_rows(few, itertools.islice(Dataset(questions()), 0, None, 8))
    acme = ("--config-dir", str(CONF), "experiment=acme", f"benchmark.path={few}", "loop.rounds=2", "loop.budget=20")
    scripted = ("student=scripted", "name=acme", ALONE)
    asked = ("benchmark=jsonl", f"benchmark.path={few}", "benchmark.name=dev")
    assert sloop("loop", *acme, ALONE, f"output_dir={found.run('loop')}") == 0
    assert sloop("eval", *asked, *scripted, f"output_dir={found.run('eval')}") == 0
    assert sloop("probe", f"data={few}", *scripted, f"output_dir={found.run('probe')}") == 0
    few.unlink()
    found.outside.mkdir()
    row = {"id": SECRET, "messages": [SECRET], "sample_id": SECRET}
    (found.outside / "secret.jsonl").write_text(json.dumps(row) + "\n")
    fresh_database(found.root / "mlruns")
    return found


def texts(elsewhere: Elsewhere) -> tuple[str, ...]:
    """Every hostile string."""
    return (*leading(elsewhere.outside, elsewhere.server.port), *STEERING, *MARKUP, *FORMULAS, *ODD)


def samples(folder: Path) -> list[str]:
    """An id of a sample for each file of rows that speaks of one."""
    ids = {}
    for path in sorted(folder.rglob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()[:1]]
        ids |= {path.name: row.get("sample_id") or row.get("id") for row in rows if path.name != "truth.jsonl"}
    return sorted({found for found in ids.values() if found})


def commands(elsewhere: Elsewhere, run: str, sample_id: str) -> list[list[str]]:
    """Every command that reads runs and writes nothing but a picture."""
    at, outputs = str(elsewhere.run(run)), ["--outputs", str(elsewhere.outputs)]
    drawn = str(elsewhere.root / "drawn" / "x.html")
    formats = [
        ["compare", at, at, "--benchmark", "dev", "--format", form] for form in ("text", "markdown", "latex", "csv")
    ]
    return [
        ["table", *outputs],
        ["runs", *outputs],
        ["show", at, sample_id, *outputs],
        *formats,
        ["compare", "full", "full", "--study", "acme", "--figure", drawn, *outputs, "--slices"],
        ["figures", at, *outputs],
    ]


def logged(elsewhere: Elsewhere) -> list[str]:
    """The command that brings the reader's own tracking up to date."""
    return ["runs", "sync", "--outputs", str(elsewhere.outputs), "--mlruns", str(elsewhere.root / "mlruns")]


def harmless(found: Sequence[Found]) -> None:
    """Nothing came of it but a result, or a sentence."""
    for row in found:
        what = f"{row.job}: sloop {row.command}\n{row.out[-600:]}\n{row.broke}"
        assert not row.broke, what
        assert row.status in (0, 2), what
        assert not row.events, f"{row.events}\n{what}"
        assert visible(row.out) == row.out, what
        assert SECRET not in row.out, what
        assert row.status == 0 or "\n" not in row.out.strip(), what


def python(folder: Path, *ids: str) -> list[str]:
    return ["python", f"whole({', '.join(map(repr, (str(folder), *ids)))})"]


def test_what_nobody_has_touched_is_read_whole(elsewhere: Elsewhere) -> None:
    first = samples(elsewhere.run("loop"))[0]
    jobs = [
        {"name": name, "files": {}, "commands": [python(elsewhere.run(name), *samples(elsewhere.run(name)))]}
        for name in ("loop", "eval", "probe")
    ]
    jobs.append({"name": "loop", "files": {}, "commands": commands(elsewhere, "loop", first)})
    found = elsewhere.watched(jobs)
    harmless(found)
    assert {row.status for row in found} == {0}, [row for row in found if row.status]


FILES = {
    "loop": (
        "run.json", "round_1/round.json", f"{ASKED}/stage.json", "round_1/probe/stage.json", f"{ASKED}/grades.jsonl",
        f"{ASKED}/predictions.jsonl", f"{ASKED}/judgements.jsonl", "round_1/optimize/rulings.jsonl",
        "seed/portions/round_1.jsonl", "questions/dev.jsonl.gz",
    ),
    "eval": ("run.json", "stage.json"),
    "probe": ("run.json", "predictions.jsonl"),
}  # fmt: skip
UNASKED = ("config", "parts", "overrides", "code", "cost", "latency", "contamination")
"""Parts of records of which no command but those of Python's shows more than a name."""


def content(path: Path) -> list[Any]:
    """The record in a file, or its rows."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [json.loads(text)] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def written(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def changed(elsewhere: Elsewhere, run: str, name: str) -> Iterator[tuple[str, Any, list[Any]]]:
    """What of a file is changed, into what, and what it holds then: a string or a key of its first row at a time."""
    rows = content(elsewhere.run(run) / name)
    new = itertools.cycle([*texts(elsewhere), hostile.target(elsewhere.sentinel)])
    for at in kinds(rows[0]):
        value = next(new)
        yield f"{run}/{name} {at} = {value!r:.80}", at, [put(rows[0], at, value), *rows[1:]]


@pytest.mark.parametrize(("run", "name"), [(run, name) for run, names in FILES.items() for name in names])
def test_any_string_of_a_run_may_be_hostile(elsewhere: Elsewhere, run: str, name: str) -> None:
    folder = elsewhere.run(run)
    rows = content(folder / name)
    ids = [rows[0].get("sample_id") or rows[0]["id"]] if name.endswith(("l", "gz")) else samples(folder)[:1]
    spoken = itertools.cycle(commands(elsewhere, run, ids[0])[: 7 if run == "loop" else 3])
    jobs = [
        {
            "name": told,
            "files": {str(folder / name): written(made)},
            "commands": [python(folder, *ids), *([] if at[0] in UNASKED else [next(spoken)])],
        }
        for told, at, made in changed(elsewhere, run, name)
    ]
    assert len(jobs) > 5
    harmless(elsewhere.watched(jobs))
