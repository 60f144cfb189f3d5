"""A run as it stands on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from sloop.engine.folder import STAGE_FILE
from sloop.engine.identity import LATER
from sloop.measures.overlap import HOWS, Overlap
from sloop.models.usage import (
    COUNTS,
    USAGE_FILE,
    Latency,
    Price,
    Spent,
    dollars,
    read_latencies,
    read_usage,
    total_dollars,
)
from sloop.records import (
    ROUND_FILE,
    RUN_FILE,
    Grade,
    RoundRecord,
    RoundSummary,
    RunRecord,
    Score,
    StageFiles,
    StageRecord,
    UserError,
    trial_id,
)
from sloop.runs.cite import is_gone
from sloop.runs.files import holds, is_done, read_round, read_run, read_stage, write_run
from sloop.runs.story import SampleStory, tell
from sloop.stages.evaluate import GRADES
from sloop.store import now, read_rows

if TYPE_CHECKING:
    pass

FIELDS = ("variant", "student", "seed", "study", "benchmark", "kind", "status", "name", "id")
"""What a search for runs may name, beside the keys of their configuration."""


_PRICES = TypeAdapter(dict[str, Price])


class Cost(Spent):
    """What some requests cost, in dollars too."""

    dollars: float | None
    """None where that is not known, never 0."""


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path
    record: RunRecord

    @classmethod
    def at(cls, folder: Path) -> Run:
        """The run in a folder; raises `UserError` where its record cannot be read."""
        return cls(folder, read_run(folder))

    @property
    def name(self) -> str:
        """As shown."""
        return self.record.name

    @property
    def label(self) -> str:
        """What it is called in MLflow, whose columns and legends end after some 16 characters: of a loop what tells it
        apart in its sweep comes first.
        """
        if not self.record.is_loop:
            return self.name
        return f"{self.variant}-s{self.record.seed}-{self.student}-{self.name.rpartition('-')[2]}"

    @property
    def variant(self) -> str:
        """Of the loop; empty for a stage used alone."""
        return self.record.called("variant") if self.record.is_loop else ""

    @property
    def student(self) -> str:
        """Name of the student."""
        return self.record.called("student")

    def field(self, name: str) -> str | None:
        """One of `FIELDS`, or a key of the configuration such as ``loop.rounds``, as text; None: it has no such key."""
        if name == "variant":
            return self.variant
        value: Any = self.record.config
        for part in {"student": "student.name", "benchmark": "benchmark.name"}.get(name, name).split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if name in FIELDS:
            value = getattr(self.record, name, value)
        if value is None or isinstance(value, Mapping):
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    @cached_property
    def rounds(self) -> list[RoundRecord]:
        """The complete rounds, in order.

        Raises:
            UserError: the record of one cannot be read, or is another round's.
        """
        folders = {}
        for path in self.folder.glob(f"round_*/{ROUND_FILE}"):
            number = path.parent.name.removeprefix("round_")
            if number.isdecimal() and holds(self.folder, path):
                folders[int(number)] = path.parent
        found = {number: read_round(folders[number]) for number in sorted(folders)}
        if wrong := next((number for number, record in found.items() if record.round != number), None):
            raise UserError(
                f"{folders[wrong] / ROUND_FILE}: round={found[wrong].round}, but its folder is that of round {wrong}. "
                "Move the folder away; the loop's command makes it anew."
            )
        return list(found.values())

    @property
    def stages(self) -> dict[str, StageRecord]:
        """The finished stages, by place in the folder."""
        paths = (path for top in self.folder.glob("*/") for path in top.rglob(STAGE_FILE))
        folders = sorted(path.parent for path in paths if holds(self.folder, path)) if self.record.is_loop else []
        if not self.record.is_loop and is_done(self.folder):
            folders = [self.folder]
        return {str(folder.relative_to(self.folder)): read_stage(folder) for folder in folders}

    def files(self, pattern: str, under: str = "") -> list[Path]:
        """The files of the run that match, by path; what a link shows of elsewhere is none of them.

        Args:
            pattern: as of ``Path.glob``.
            under: folder of the run in which it is looked for.
        """
        return sorted(path for path in (self.folder / under).glob(pattern) if holds(self.folder, path))

    def complete(self) -> RunRecord:
        """The record with what the folder holds so far.

        Each finished stage's key, seed and every file's rows, bytes and sha256 (of a checkpoint that is weights,
        tokenizer and chat template); of a loop each round's training data, and its metrics over all samples with n and
        interval; what a reader must know of stages; what endpoints cost, by role, round and model, and how long they
        took.
        """
        stages = {
            place: StageFiles(key=stage.key, seed=stage.seed, files=stage.files) for place, stage in self.stages.items()
        }
        found = {
            "rounds": tuple(RoundSummary(round=r.round, data=r.data, metrics=_overall(r.metrics)) for r in self.rounds),
            "notes": tuple(dict.fromkeys(note for stage in self.stages.values() for note in stage.notes)),
            "cost": tuple(row.model_dump() for row in self.spent()),
            "latency": tuple(row.model_dump() for row in self.latency()),
        }
        update = {name: part for name, part in found.items() if part}
        return self.record.model_copy(update={"stages": stages, **update})

    @property
    def is_running(self) -> bool:
        """Whether a process is at it, as far as can be told from this host."""
        machine = self.record.machine
        return self.record.status == "RUNNING" and not is_gone(machine.host, machine.pid)

    def reap(self) -> bool:
        """Mark a run as KILLED that says RUNNING although its process is gone from this host; whether it was so."""
        if self.record.status != "RUNNING" or self.is_running:
            return False
        write_run(self.folder, self.record.model_copy(update={"status": "KILLED", "finished": now()}))
        return True

    def sample(self, beginning: str, questions: Path | None = None) -> SampleStory:
        """The whole story of the sample whose id begins so.

        Args:
            beginning: of the id.
            questions: a file of samples of the caller's own, for a run that does not keep what it was asked.

        Raises:
            UserError: none or several do, or the run keeps no question and none was given.
        """
        return tell(self.folder, self.record, self.rounds, beginning, questions)

    def scores(self) -> Iterator[tuple[int, Score]]:
        """Every metric of every round."""
        for round in self.rounds:
            yield from ((round.round, score) for score in round.metrics)

    def scores_at(self, number: int) -> tuple[Score, ...]:
        """Every metric of one round; 0: of a stage used alone."""
        return next((round.metrics for round in self.rounds if round.round == number), self.record.metrics)

    def depends_on(self, benchmark: str, number: int) -> dict[str, str]:
        """What a score depends on, by names that a person knows; arguments and errors as of `grades`.

        Every part of the evaluation's key, what it recorded of prompts, tools, parser and template, the versions of
        packages, and what of the benchmark stood in training.
        """
        stage = read_stage(self.evaluation(benchmark, number))
        parts = {key: _whole(key, part) for key, part in stage.parts.items() if key != "stage"}
        found = {PART_NAMES.get(key, key): _short(value) for key, value in _leaves(parts)}
        found |= {key: _short(value) for key, value in stage.identity.items()}
        found |= {f"version of {name}": str(version) for name, version in self.record.versions.items()}
        held = next((round.contamination for round in self.rounds if round.round == number), self.record.contamination)
        told = [_contamination(one) for one in held if one.get("benchmark") == benchmark]
        return {**found, "contamination": told[0] if told else "not measured"}

    def spent(self) -> list[Cost]:
        """What was asked of endpoints, by role, round and model."""
        prices = self._prices()
        return [Cost(**row.model_dump(), dollars=dollars(row, prices)) for row in self._usage()]

    def costs(self) -> Iterator[tuple[int, Score]]:
        """The same as metrics ``cost/<role>/...`` of rounds (0: before the first, or of a stage used alone).

        n is the number of requests.
        """
        prices, usage = self._prices(), self._usage()
        for role, number in sorted({(row.role, row.round) for row in usage}, key=lambda key: (key[1], key[0])):
            rows = [row for row in usage if (row.role, row.round) == (role, number)]
            sums = {name: sum(getattr(row, name) for row in rows) for name in COUNTS if name != "uncounted"}
            for name, value in {**sums, "dollars": total_dollars(rows, prices)}.items():
                yield number, Score(name=f"cost/{role}/{name}", value=value, n=sums["requests"])

    def latencies(self) -> Iterator[tuple[int, Score]]:
        """How long endpoints took, as metrics ``latency/<role>/p50`` (p90, p99, and ``waited_`` before each) of rounds.

        In seconds; n is the number of requests. See `sloop.models.usage.Latency`.
        """
        for row in self.latency():
            for name, value in row.model_dump(exclude={"role", "round", "requests"}).items():
                yield row.round, Score(name=f"latency/{row.role}/{name}", value=value, n=row.requests)

    def latency(self) -> list[Latency]:
        """The same by role and round."""
        return read_latencies(path) if holds(self.folder, path := self.folder / USAGE_FILE) else []

    def _usage(self) -> list[Spent]:
        return read_usage(path) if holds(self.folder, path := self.folder / USAGE_FILE) else []

    def _prices(self) -> dict[str, Price]:
        try:
            return _PRICES.validate_python(self.record.config.get("prices", {}))
        except ValidationError as error:
            raise UserError(
                f"{self.folder / RUN_FILE}: config.prices is no table of dollars per million tokens by model. The "
                "command that made the run, given again, mends it."
            ) from error

    def benchmark(self) -> str:
        """Name of the first benchmark that the run was evaluated on.

        Raises:
            UserError: it is neither a loop nor an evaluation, or has no complete round.
        """
        if self.record.kind == "eval":
            return self.record.called("benchmark")
        if not self.record.is_loop:
            raise UserError(f"run {self.name} graded nothing: give a loop, or a run of sloop eval.")
        for _, score in self.scores():
            if score.name.startswith("eval/"):
                return score.name.split("/")[1]
        raise UserError(f"run {self.name} has no complete round yet; the same loop command resumes it.")

    def last_round(self) -> int:
        """Number of the last complete round; 0 for a stage used alone.

        Raises:
            UserError: the loop has none.
        """
        if self.record.is_loop and not self.rounds:
            raise UserError(f"run {self.name} has no complete round yet; the same loop command resumes it.")
        return self.rounds[-1].round if self.rounds else 0

    def check_round(self, number: int) -> None:
        """Raises `UserError` where the run has no such complete round."""
        have = [round.round for round in self.rounds]
        if not self.record.is_loop:
            raise UserError(f"run {self.name} is no loop and has no rounds: leave @{number} out.")
        if number not in have:
            raise UserError(f"run {self.name} has no complete round {number}; it has: {have}.")

    def grades(self, benchmark: str, round: int) -> dict[str, Grade]:
        """Grades by sample id; those of several trials by `sloop.records.trial_id`.

        Args:
            benchmark: its name.
            round: of a loop; 0 for a stage used alone.

        Raises:
            UserError: the run has no such round or benchmark.
        """
        path = self.evaluation(benchmark, round) / GRADES
        return {trial_id(grade.sample_id, grade.trial): grade for grade in read_rows(path, Grade)}

    def data_sha256(self, benchmark: str, round: int) -> str:
        """SHA-256 of the benchmark's data that the run was asked; arguments and errors as of `grades`."""
        return read_stage(self.evaluation(benchmark, round)).asked

    def evaluation(self, benchmark: str, round: int) -> Path:
        """Folder of an evaluation.

        Raises:
            UserError: there is none.
        """
        path = self.folder / f"round_{round}" / "evaluate" / benchmark / GRADES
        if self.record.kind == "eval" and self.benchmark() == benchmark:
            path = self.folder / GRADES
        there = holds(self.folder, path)
        if there and not is_done(path.parent):
            raise UserError(
                f"run {self.name}: its evaluation on {benchmark} is not finished; the command that began it goes on."
            )
        if not there:
            have = sorted(str(p.parent.relative_to(self.folder)) for p in self.folder.rglob(GRADES))
            where = f" in round {round}" if self.record.is_loop else ""
            raise UserError(
                f"run {self.name} has no grades of {benchmark}{where}; it has: {', '.join(have) or 'none'}. If it was "
                "interrupted, the command that began it goes on; else name a round, a benchmark or runs that there are."
            )
        return path.parent


PART_NAMES = {"checkpoint": "model"}
"""What the parts of an evaluation's key are called."""


def _whole(name: str, part: Any) -> Any:
    """A part with the settings that came after it was recorded; a student in another (which shows it examples) is told
    of by its own settings.
    """
    if not isinstance(part, Mapping):
        return part
    inner = part.get(name)
    if isinstance(inner, Mapping):
        part = {**{key: value for key, value in part.items() if key != name}, **inner}
    return {**LATER.get(name, {}), **part}


def _leaves(parts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of an evaluation by key; a student's folder is its model, which stands there anyway."""
    for key, value in parts.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        elif not f"{above}{key}".startswith("student.path"):
            yield f"{above}{key}", value


def _contamination(found: Mapping[str, Any]) -> str:
    """How many samples stand in training, as a run records it."""
    try:
        counts = Overlap.model_validate(found).counts[""]
        return f"{sum(counts[how] for how in HOWS)} of {counts['samples']} samples stand in training"
    except (ValidationError, KeyError):
        return "not readable"


def _short(value: Any) -> str:
    """A value in a sentence; of a digest, its beginning."""
    text = str(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{16,}", text) else text if len(text) <= 60 else f"{text[:57]}..."


def _overall(scores: Iterable[Score]) -> tuple[Score, ...]:
    return tuple(score for score in scores if not score.slice)


def failures(folder: Path) -> dict[str, int]:
    """How many answers, and verdicts on them, a finished eval or probe could not have."""
    return read_stage(folder).failed if is_done(folder) else {}


def metric_name(score: Score) -> str:
    """``name`` or ``name/slice``, as columns and MLflow know it."""
    return f"{score.name}/{score.slice}" if score.slice else score.name
