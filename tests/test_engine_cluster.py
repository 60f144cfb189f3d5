"""Units on a Ray cluster: the bytes of one process, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clients import answer_right
from endpoint import serving
from nodes import ray_nodes
from running import ALONE, QUESTIONS, acme_loop, manifests, questions, rounds, sloop

from sloop.engine.build import Components
from sloop.engine.cluster import Ray, RaySettings
from sloop.engine.executor import Local, Worker
from sloop.engine.stage import Place, run_stage
from sloop.models.branch import Books
from sloop.models.environment import VARIABLES
from sloop.models.usage import USAGE_FILE, Meter, read_latencies, read_usage
from sloop.records import OutOfBudget, Record, Score, UserError
from sloop.runs.files import read_run
from sloop.store import Dataset

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'sloop[ray]'")
KEY = "sk-a-key-that-stands-nowhere"


def facts() -> dict[str, Any]:
    return {"all": "alike"}


def other_facts() -> dict[str, Any]:
    return {"process": os.getpid()}


def settings(**changes: Any) -> RaySettings:
    return RaySettings(**{"kind": "ray", "workers": 2, "address": None, "shard": 8, "cpus": 1, "gpus": 0, **changes})


def executor(meter: Meter | None = None, *, told: Any = facts, environment: Any = None, **changes: Any) -> Ray:
    return Ray(Components(), settings(**changes), Books(meter or Meter()), environment=environment or {}, facts=told)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes, for all tests of the module: they take seconds to start."""
    with ray_nodes(2) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def shared(cluster: Any) -> Iterator[Ray]:
    """One executor whose workers serve several tests."""
    made = executor(environment={"SLOOP_STRONG_API_KEY": KEY})
    yield made
    made.close()


class Total(Record):
    """A summary."""

    total: float
    lost: int


class Odd(Exception):
    """An error that cannot be made of its text."""

    def __init__(self, number: int, *, why: str) -> None:
        super().__init__(f"{number} {why}")


@dataclass(frozen=True, kw_only=True)
class Squares:
    """Squares of numbers; what is to happen to some of them on the way is no result."""

    name = "squares"
    MODULES = ()
    NOT_RESULTS = frozenset({"marks", "dies", "odd", "refused", "seen", "seconds"})
    summary_type = Total

    count: int
    marks: Path = field(default_factory=Path)
    dies: int = -1
    """The unit whose worker is killed, the first time."""
    odd: int = -1
    refused: int = -1
    seen: tuple[Path, ...] = ()
    seconds: float = 0.0
    """That each takes."""

    def make(self, desk: Any) -> Total:
        total, lost = 0.0, 0
        plan = [{f"u{n:03d}": n for n in range(self.count)}]
        with desk.writing("squares.jsonl") as append:
            for _, records in desk.map(plan, square, self, (Score,), what="squares"):
                for record in records:
                    append["squares.jsonl"](record)
                    total += getattr(record, "value", 0.0)
                    lost += not isinstance(record, Score)
        return Total(total=total, lost=lost)


async def square(task: Squares, worker: Worker, unit: int) -> Sequence[Record]:
    if unit == task.dies and not (task.marks / "died").exists():
        (task.marks / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if unit == task.odd:
        raise Odd(unit, why="is odd")
    if unit == task.refused:
        raise OutOfBudget("spending.requests=3 is spent")
    opened = worker.opened("once", lambda: (task.marks / f"opened-{os.getpid()}").open("a").write("x"))
    assert opened == 1
    await asyncio.sleep(task.seconds)
    return [Score(name=str(unit), value=unit * unit, n=1)]


def made(stage: Squares, folder: Path, executor: Any = None, **place: Any) -> Any:
    return run_stage(stage, Place(folder, executor=executor, **place))


def test_the_bytes_are_those_of_one_process_and_files_are_opened_once_a_worker(shared: Ray, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    stage = Squares(count=60, marks=tmp_path, odd=7)
    there = made(stage, tmp_path / "there", shared, report=lambda *words: told.append(words))
    opened = list(tmp_path.glob("opened-*"))
    assert 1 <= len(opened) <= 2
    assert {path.read_text() for path in opened} == {"x"}
    here = made(stage, tmp_path / "here", Local(Components()))
    assert there.record == here.record
    assert there.summary.lost == 1
    assert (there.folder / "squares.jsonl").read_bytes() == (here.folder / "squares.jsonl").read_bytes()
    assert '"failed:Odd"' in (there.folder / "squares.jsonl").read_text()
    assert told[-1] == ("squares", 60, 60)


def test_a_mistake_of_the_readers_arrives_as_it_is_and_what_was_done_is_kept(shared: Ray, tmp_path: Path) -> None:
    stage = Squares(count=40, marks=tmp_path, refused=25)
    with pytest.raises(OutOfBudget, match=r"^spending\.requests=3 is spent$"):
        made(stage, tmp_path / "a", shared)
    lines = (tmp_path / "a" / "journal.jsonl").read_text().splitlines()
    assert 20 <= len(lines) < 40
    assert made(Squares(count=40, marks=tmp_path), tmp_path / "a", shared).summary.total == sum(
        n * n for n in range(40)
    )


@pytest.mark.slow
def test_a_worker_that_dies_has_its_shard_redone_by_another(shared: Ray, tmp_path: Path) -> None:
    stage = Squares(count=50, marks=tmp_path, dies=30)
    there = made(stage, tmp_path / "there", shared)
    assert (tmp_path / "died").exists()
    assert there.record == made(Squares(count=50, marks=tmp_path), tmp_path / "here").record


def test_a_file_that_a_node_does_not_have_is_named_with_the_node(
    shared: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone.jsonl"
    gone.touch()
    send = shared._send

    def late(*given: Any) -> Any:
        gone.unlink(missing_ok=True)  # a node without it: it is there for the driver alone
        return send(*given)

    monkeypatch.setattr(shared, "_send", late)
    with pytest.raises(UserError, match=r"executor=ray: .*gone\.jsonl is missing on the node [\d.]+\. .*share"):
        made(Squares(count=3, marks=tmp_path, seen=(gone,)), tmp_path / "a", shared)


async def key_of_worker(task: Any, worker: Worker, unit: int) -> Sequence[Record]:
    return [Score(name=os.environ["SLOOP_STRONG_API_KEY"], value=os.environ["RAY_USAGE_STATS_ENABLED"] == "0", n=1)]


def test_keys_reach_the_workers_alone_and_ray_reports_to_nobody(shared: Ray, tmp_path: Path) -> None:
    results = shared.run([("u", 1)], key_of_worker, task=None, folder=tmp_path, width=1)
    assert [(r.name, r.value) for _, records in results for r in records] == [(KEY, 1.0)]
    folder = Path(ray._private.worker.global_worker.node.get_session_dir_path())
    asked = ["grep", "-rlE", f"{KEY}|SLOOP_STRONG_API_KEY", str(folder)]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"told": other_facts},
            r"executor=ray: results on the node [\d.]+ would be others: it has process \d+, here \d+\.",
        ),
        ({"workers": None, "cpus": 64}, r"executor\.cpus=64, executor\.gpus=0: no node has so many \(they have 2 CPUs"),
    ],
)
def test_a_cluster_that_will_not_do_is_refused(
    changes: dict[str, Any], message: str, cluster: Any, tmp_path: Path
) -> None:
    with closing(executor(**changes)) as made_for_it, pytest.raises(UserError, match=message):
        made(Squares(count=3, marks=tmp_path), tmp_path / "a", made_for_it)


# --- from the command line --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_loop_over_ray_is_the_loop_of_one_process(cluster: Any, tmp_path: Path) -> None:
    words = ("loop.rounds=2", "label_noise=0.3")
    here = acme_loop(tmp_path / "here", *words)
    there = acme_loop(tmp_path / "there", *words, "executor=ray", "executor.workers=2")
    assert manifests(there) == manifests(here)
    assert rounds(there)[-1]["metrics"] == rounds(here)[-1]["metrics"]
    assert read_run(there).config_hash == read_run(here).config_hash


@pytest.mark.slow
def test_what_workers_spend_is_the_runs_and_ends_it_at_its_limit(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    ray_words = ("executor=ray", "executor.workers=2", "student.endpoint.limits.concurrency=4")

    def probe(out: Path, *more: str) -> int:
        chosen = ("student=endpoint", f"student.endpoint.base_url={server.url}", "student.endpoint.model=small")
        return sloop("probe", *chosen, ALONE, f"data={questions()}", f"output_dir={out}", *more)

    def asked(out: Path) -> int:
        return sum(row.requests for row in read_usage(out / USAGE_FILE))

    with serving() as server:
        answer_right(server, list(Dataset(questions())))
        assert probe(tmp_path / "here") == 0
        assert probe(tmp_path / "there", *ray_words) == 0
        assert asked(tmp_path / "there") == asked(tmp_path / "here")
        assert read_latencies(tmp_path / "there" / USAGE_FILE)[0].requests >= QUESTIONS
        assert manifests(tmp_path / "there") == manifests(tmp_path / "here")
        capsys.readouterr()
        assert probe(tmp_path / "limited", *ray_words, "spending.requests=40") == 2
        assert re.search(r"spending\.requests=40 is spent: \d+ requests", capsys.readouterr().err)
        assert 40 <= asked(tmp_path / "limited") <= 40 + 16  # passed by what is on its way, four times the concurrency
        assert probe(tmp_path / "limited", *ray_words, "spending.requests=1000") == 0
        assert manifests(tmp_path / "limited") == manifests(tmp_path / "here")


# --- the last, as it takes a node away --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_node_that_is_lost_in_mid_run_has_its_shards_redone_by_the_other(
    cluster: Any, shared: Ray, tmp_path: Path
) -> None:
    _, second = cluster.list_all_nodes()
    lost: list[int] = []

    def lose(what: str, done: int, total: int) -> None:
        if not lost and len(list(tmp_path.glob("opened-*"))) == 2:  # both have worked
            lost.append(done)
            cluster.remove_node(second, allow_graceful=False)

    stage = Squares(count=600, marks=tmp_path, seconds=0.01)
    there = made(stage, tmp_path / "there", shared, report=lose)
    assert lost
    assert lost[0] < 600
    assert there.record == made(Squares(count=600, marks=tmp_path), tmp_path / "here").record
