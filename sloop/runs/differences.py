"""What differs between two runs: which stage is the first to, and what can explain it.

A stage's record says what its result depends on (`sloop.engine.identity`). Where the first stage that differs was made
of other parts, those explain it, and everything later follows. Where its parts are the same and its bytes are not, no
setting, input or code does: what is left is what no part names, the environment, the processor and models elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sloop.engine.identity import differing
from sloop.records import FileRecord, RunRecord, StageRecord
from sloop.runs.read import Run, metric_name

KINDS = ("data", "code", "config", "environment", "processor", "models")
"""Of differences, in the order in which they are told where the stages do not say which of them counts."""
UNNAMED = ("environment", "processor", "models")
"""Those that no part of a stage names."""
ORDER = ("gen", "corrupt", "portions", "start", "train", "evaluate", "probe", "optimize")
"""Of the stages of a round; the data of a round before its weights."""
FLOATS = frozenset({"start", "train", "evaluate", "probe"})
"""Stages that compute in floating point: on other processors their last bits differ (docs/reproducing.md)."""
GIVEN = {"code": "code", "data": "data", "unseen": "data", "predictions": "data", "pool": "data", "foreign": "data",
         "tools": "data", "forbidden": "data", "start": "models", "checkpoint": "models"}  # fmt: skip
"""Parts of stages that are no settings, with the kind of difference that they make."""


class StagePair(NamedTuple):
    """A stage of two runs."""

    place: str
    first: StageRecord | None
    """None: the run has no such stage."""
    second: StageRecord | None

    @property
    def name(self) -> str:
        """Of the stage."""
        return next(stage.name for stage in (self.first, self.second) if stage)

    @property
    def parts(self) -> list[str]:
        """Keys, with dots, by which what they depend on differs."""
        one, other = (dict(leaves(stage.parts)) if stage else {} for stage in (self.first, self.second))
        return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))

    @property
    def files(self) -> list[str]:
        """Names of files whose bytes differ, or that one alone has."""
        one, other = (self.files_of(stage) for stage in (self.first, self.second))
        return sorted(name for name in one.keys() | other.keys() if _sha256(one, name) != _sha256(other, name))

    @property
    def is_same(self) -> bool:
        """Whether both have it, with the same bytes; it may be made of other parts that made no difference."""
        return self.first is not None and self.second is not None and not self.files

    @staticmethod
    def files_of(stage: StageRecord | None) -> Mapping[str, FileRecord]:
        """The files of a stage, where there is one."""
        return stage.files if stage else {}


class Difference(NamedTuple):
    """One thing that is not the same in two runs."""

    kind: str
    """One of `KINDS`."""
    what: str
    first: str
    second: str
    rank: int
    """0: a part of the first stage that differs names it; 1: it may be behind that too; 2: it made no difference."""


def stage_pairs(a: Run, b: Run) -> list[StagePair]:
    """The stages of two runs, in the order in which a run makes them."""
    first, second = a.stages, b.stages
    pairs = [StagePair(place, first.get(place), second.get(place)) for place in first.keys() | second.keys()]

    def order(pair: StagePair) -> tuple[int, int, str]:
        found = re.match(r"round_(\d+)/", pair.place)
        step = ORDER.index(pair.name) if pair.name in ORDER else len(ORDER)
        return int(found[1]) if found else -1, step, pair.place

    return sorted(pairs, key=order)


def ranks(pair: StagePair | None) -> dict[str, int]:
    """By kind of difference: its `Difference.rank`, given the first stage that differs; None: none does."""
    if pair is None:
        return dict.fromkeys(KINDS, 2)
    if pair.first is None or pair.second is None:
        return {kind: 0 if kind == "config" else 2 for kind in KINDS}
    named = {GIVEN.get(part.partition(".")[0], "config") for part in pair.parts}
    open_too = UNNAMED if pair.name in FLOATS or not named else ()
    return {kind: 0 if kind in named else 1 if kind in open_too else 2 for kind in KINDS}


def differences(a: Run, b: Run, pairs: list[StagePair]) -> list[Difference]:
    """What the runs were given and made on that is not the same; first what can explain the first different stage.

    Args:
        a: one run.
        b: another.
        pairs: their stages (`stage_pairs`).
    """
    first = next((pair for pair in pairs if not pair.is_same), None)
    rank = ranks(first)
    found: list[Difference] = []
    for kind in KINDS:
        one, other = _facts(kind, a, first, 0), _facts(kind, b, first, 1)
        if kind == "config":
            keys = [key for key in differing(a.record.config, b.record.config) if not key.endswith("._target_")]
            one, other = ({key: run.field(key) or "-" for key in keys} for run in (a, b))
        found += [
            Difference(kind, what, one.get(what, "-"), other.get(what, "-"), rank[kind])
            for what in sorted(one.keys() | other.keys())
            if one.get(what) != other.get(what)
        ]
    return sorted(found, key=lambda found: found.rank)


def score_pairs(a: Run, b: Run) -> Iterator[tuple[int, str, float | None, float | None]]:
    """Every score that is not the same in both: round, name with slice, and both values; evaluations first."""
    one, other = ({(number, metric_name(score)): score.value for number, score in _scores(run)} for run in (a, b))
    known = one.keys() | other.keys()
    for number, name in sorted(known, key=lambda score: (not score[1].startswith("eval/"), score)):
        if one.get((number, name)) != other.get((number, name)):
            yield number, name, one.get((number, name)), other.get((number, name))


def _scores(run: Run) -> list[tuple[int, Any]]:
    return list(run.scores()) or [(0, score) for score in run.record.metrics]


def _facts(kind: str, run: Run, first: StagePair | None, side: int) -> dict[str, str]:
    """What is known of one run, of one kind, by what a person calls it."""
    record = run.record
    if kind == "data":
        return {**{f"given as {given.name}": given.sha256 for given in record.inputs}, **_asked(run)}
    if kind == "code":
        code = record.code
        state = {"commit": code.commit, "digest": code.digest, "version": code.version, "diff": code.diff_sha256}
        new = {f"untracked {name}": code.untracked_sha256.get(name, "there") for name in code.untracked}
        stage = (first.first, first.second)[side] if first else None
        of_stage = {f"code of {first.place}": str(stage.parts.get("code"))} if first and first.parts and stage else {}
        return of_stage | {name: value for name, value in state.items() if value} | new
    if kind == "environment":
        return {**_versions(record), **{f"${name}": value for name, value in record.environment.items()}}
    if kind == "processor":
        return _processor(record)
    if kind == "models":
        starts = ((place, stage) for place, stage in run.stages.items() if stage.name == "start" and not stage.files)
        given = {f"checkpoint of {place}": str(stage.summary.get("checkpoint")) for place, stage in starts}
        return given | {f"asked as {row.role}": row.model for row in run.spent()}
    return {}


def _asked(run: Run) -> dict[str, str]:
    """The data of every benchmark: it is asked in all rounds alike."""
    return {
        f"asked of {place.rpartition('/')[2] if '/' in place else run.record.called('benchmark')}": stage.asked
        for place, stage in run.stages.items()
        if stage.name == "evaluate"
    }


def _versions(record: RunRecord) -> dict[str, str]:
    found = {name: str(version or "not installed") for name, version in record.versions.items()}
    return {**found, "system": record.machine.system}


def _processor(record: RunRecord) -> dict[str, str]:
    machine = record.machine
    facts = {"architecture": machine.processor, "name": machine.model, "instructions": " ".join(machine.features)}
    facts["GPUs"] = ", ".join(machine.gpus)
    if machine.arithmetic:
        facts |= {f"torch's {name}": str(value) for name, value in machine.arithmetic.model_dump().items()}
    if record.elsewhere:
        facts["begun on"] = ", ".join(other.model for other in record.elsewhere)
    return {name: value for name, value in facts.items() if value}


def leaves(parts: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by key, with dots."""
    for key, value in parts.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _sha256(files: Mapping[str, FileRecord], name: str) -> str | None:
    return files[name].sha256 if name in files else None
