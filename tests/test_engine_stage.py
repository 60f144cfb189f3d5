"""A stage is a value: it is made once, by any executor to the same bytes, and closes what it built."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import pytest
from processes import Processes

from sloop.engine.build import Components
from sloop.engine.executor import Local, Worker
from sloop.engine.stage import Desk, Place, run_stage
from sloop.records import Record, Rejected, Score, UserError
from sloop.stages.gen import TRAIN, Gen, GenSettings
from sloop.tools.sources import load_tools

TOOLS = load_tools(Path(__file__).parent / "plugin" / "acme_tools.json")
CLOSED: list[str] = []


class Scale:
    """A component that notes when it is closed."""

    def __init__(self, *, factor: int) -> None:
        self.factor = factor

    def close(self) -> None:
        CLOSED.append(f"scale {self.factor}")


class TellsWell(Record):
    """A summary."""

    total: float
    failed: dict[str, int]


async def scaled(task: Scaling, worker: Worker, unit: int) -> Sequence[Record]:
    if unit in task.broken:
        raise RuntimeError("broken")
    return [Score(name=str(unit), value=unit * worker.part(task.scale, Scale, "scale").factor, n=1)]


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Numbers times a factor."""

    name: ClassVar[str] = "scaling"
    MODULES: ClassVar[tuple[str, ...]] = ()
    NOT_RESULTS: ClassVar[frozenset[str]] = frozenset({"broken"})
    summary_type: ClassVar[type[TellsWell]] = TellsWell

    scale: Any
    count: int
    broken: frozenset[int] = frozenset()

    def plan(self) -> Iterator[Mapping[str, int]]:
        for number in range(0, self.count, 10):
            yield {f"u{n}": n for n in range(number, min(number + 10, self.count))}

    def make(self, desk: Desk) -> TellsWell:
        total, failed = 0.0, 0
        with desk.writing("scores.jsonl") as append:
            for _, records in desk.map(self.plan(), scaled, self, (Score,), what="scaling"):
                for record in records:
                    append["scores.jsonl"](record)
                    total += getattr(record, "value", 0.0)
                    failed += isinstance(record, Rejected)
        return TellsWell(total=total, failed={"units": failed})

    def kept(self, desk: Desk) -> Iterator[tuple[str, Sequence[Record]]]:
        lines = (desk.folder / "scores.jsonl").read_text().splitlines()
        for number, line in enumerate(lines):
            if "reason" not in line:
                yield f"u{number}", [Score.model_validate_json(line)]


SCALE = {"_target_": f"{__name__}.Scale", "factor": 3}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_finished_stage_is_read_with_its_summary(tmp_path: Path) -> None:
    stage = Scaling(scale=SCALE, count=25)
    made = run_stage(stage, Place(tmp_path))
    assert made.summary == TellsWell(total=3 * sum(range(25)), failed={"units": 0})
    assert run_stage(stage, Place(tmp_path)) == made
    assert made.record.files["scores.jsonl"].rows == 25


def test_progress_is_told_behind_its_prefix(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    place = Place(tmp_path, report=lambda *words: told.append(words)).at("a", prefix="round 1: ")
    run_stage(Scaling(scale=SCALE, count=12), place)
    assert told[0] == ("round 1: scaling", 1, 10)
    assert told[-1] == ("round 1: scaling", 2, 2)
    assert (tmp_path / "a" / "stage.json").is_file()


@pytest.mark.parametrize("broken", [frozenset(), frozenset(range(20))])
def test_what_was_built_is_closed_whatever_happens(broken: frozenset[int], tmp_path: Path) -> None:
    CLOSED.clear()
    with Components() as components:
        place = Place(tmp_path, executor=Local(components))
        components.get(SCALE, Scale, "scale")
        if broken:
            with pytest.raises(UserError, match="units failed"):
                run_stage(Scaling(scale=SCALE, count=20, broken=broken), place)
        else:
            run_stage(Scaling(scale=SCALE, count=20), place)
        assert CLOSED == []
    assert CLOSED == ["scale 3"]


def test_an_instance_is_the_callers_to_close(tmp_path: Path) -> None:
    CLOSED.clear()
    run_stage(Scaling(scale=Scale(factor=2), count=3), Place(tmp_path))
    assert CLOSED == []


def test_units_that_failed_are_done_over_on_demand_and_only_those(tmp_path: Path) -> None:
    first = run_stage(Scaling(scale=SCALE, count=40, broken=frozenset({7})), Place(tmp_path / "a"))
    assert first.summary.failed == {"units": 1}
    again = Scaling(scale=SCALE, count=40)
    assert run_stage(again, Place(tmp_path / "a")) == first
    retried = run_stage(again, Place(tmp_path / "a", retry_failed=True))
    assert retried.summary.failed == {"units": 0}
    run_stage(again, Place(tmp_path / "b"))
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")


def _gen(**more: Any) -> Gen:
    settings = GenSettings(kinds={"single": 0.6, "irrelevant": 0.3, "chat": 0.1}, offered=(2, 4), contrast=0.5)
    return Gen(
        tools=TOOLS,
        teacher={"_target_": "acme_tools.EchoTeacher", "error_rate": 0.25},
        sampler={"_target_": "sloop.stages.samplers.RandomSampler"},
        settings=settings,
        num_samples=60,
        seed=3,
        train_split=0.8,
        **more,
    )


def test_a_stage_can_be_sent_anywhere() -> None:
    stage = _gen()
    assert pickle.loads(pickle.dumps(stage)) == stage


def test_another_executor_gives_the_same_bytes(tmp_path: Path) -> None:
    here = run_stage(_gen(), Place(tmp_path / "here"))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = run_stage(_gen(), Place(tmp_path / "there", executor=Processes(pool)))
    assert there.record == here.record
    assert (there.folder / TRAIN).read_bytes() == (here.folder / TRAIN).read_bytes()
