"""Runs as they stand on disk: found, read, laid out as a table of rounds x metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
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
    Tracked,
    UserError,
    trial_id,
)
from sloop.runs.cite import is_gone
from sloop.runs.files import holds, is_done, is_run, read_round, read_run, read_stage, write_run
from sloop.runs.story import SampleStory, tell
from sloop.stages.evaluate import GRADES
from sloop.store import now, read_rows

if TYPE_CHECKING:
    import pandas

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
        interval; what endpoints cost, by role, round and model, and how long they took.
        """
        stages = {
            place: StageFiles(key=stage.key, seed=stage.seed, files=stage.files) for place, stage in self.stages.items()
        }
        found = {
            "rounds": tuple(RoundSummary(round=r.round, data=r.data, metrics=_overall(r.metrics)) for r in self.rounds),
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
        stage = read_stage(self._evaluation(benchmark, number))
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
        path = self._evaluation(benchmark, round) / GRADES
        return {trial_id(grade.sample_id, grade.trial): grade for grade in read_rows(path, Grade)}

    def data_sha256(self, benchmark: str, round: int) -> str:
        """SHA-256 of the benchmark's data that the run was asked; arguments and errors as of `grades`."""
        return read_stage(self._evaluation(benchmark, round)).asked

    def _evaluation(self, benchmark: str, round: int) -> Path:
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
            raise UserError(f"run {self.name} has no grades of {benchmark}{where}; it has: {have}.")
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


def find_runs(root: Path) -> list[Run]:
    """Every run under a folder, by path."""
    return [Run.at(path.parent) for path in sorted(root.rglob(RUN_FILE)) if is_run(path.parent)]


def find_run(root: Path, what: str) -> Run:
    """One run under ``root``, by any of its names.

    Args:
        root: folder of the runs.
        what: a run's folder; its name, ``<study>/<name>``, id or MLflow run id, or the beginning of one of them; or a
            search of comma-separated ``field=value`` (see `Run.field`), such as ``variant=full,seed=0``.

    Raises:
        UserError: none or several match; names them.
    """
    if is_run(Path(what)):
        return Run.at(Path(what))
    known = find_runs(root)
    found = search(known, what) if "=" in what else _called(known, what)
    if len(found) == 1:
        return found[0]
    if not known:
        raise UserError(f"no run matches {what!r}: there are none under {root}. Make one: sloop loop experiment=smoke")
    names = ", ".join(sorted(_full_name(run) for run in (found or known)))
    problem = "several runs match" if found else "no run matches"
    raise UserError(f"{problem} {what!r} under {root}. Name one of: {names}.")


def _full_name(run: Run) -> str:
    return f"{run.record.study}/{run.name}"


def _called(known: Sequence[Run], what: str) -> list[Run]:
    """Those that are called so, else those with a name or id that begins so."""
    names = [(run.name, _full_name(run), run.record.id, _mlflow_id(run.record.mlflow)) for run in known]
    exact = [run for run, called in zip(known, names, strict=True) if what in called]
    return exact or [
        run for run, called in zip(known, names, strict=True) if any(name.startswith(what) for name in called)
    ]


def _mlflow_id(logged: Tracked | None) -> str:
    return logged.run_id if logged else ""


def search(known: Sequence[Run], what: str) -> list[Run]:
    """The runs that meet every ``field=value`` of a comma-separated list.

    Raises:
        UserError: a part is not of that form, or no run has such a field.
    """
    found = list(known)
    for part in what.split(","):
        name, equals, value = part.partition("=")
        if not equals or (known and all(run.field(name) is None for run in known)):
            raise UserError(
                f"{part!r} of {what!r} is no field=value of the runs here. Fields: {', '.join(FIELDS)}, and any key "
                "of the configuration, such as loop.rounds=3."
            )
        found = [run for run in found if run.field(name) == value]
    return found


def split_round(what: str) -> tuple[str, int | None]:
    """``RUN@ROUND`` taken apart; None where it names no round."""
    name, at, number = what.rpartition("@")
    return (name, int(number)) if at and number.isdecimal() else (what, None)


def find_round(root: Path, what: str) -> tuple[Run, int | None]:
    """A run as `find_run` finds it, or ``RUN@ROUND``: that round of it.

    Raises:
        UserError: there is no such run, or it has no such round.
    """
    if is_run(Path(what)):
        return Run.at(Path(what)), None
    name, number = split_round(what)
    run = find_run(root, name)
    if number is not None:
        run.check_round(number)
    return run, number


def check_same_data(asked: Iterable[tuple[Run, int]], benchmark: str) -> None:
    """Refuse runs, each with its round, that were asked different data under one name: such scores are never mixed.

    Raises:
        UserError: as said.
    """
    known: dict[str, Run] = {}
    for run, number in asked:
        known.setdefault(run.data_sha256(benchmark, number), run)
    if len(known) > 1:
        told = "; ".join(f"{run.name}: sha256 {sha256[:16]}" for sha256, run in known.items())
        raise UserError(
            f"the runs were asked different data under the name {benchmark} ({told}), and scores on different data are "
            "not compared. Evaluate both on the same version, or give versions names of their own: benchmark.name=NAME"
        )


def rounds(root: Path | str = "outputs") -> pandas.DataFrame:
    """Rounds x metrics of every loop under a folder.

    Returns:
        One row a round, with columns ``run, study, student, variant, seed, round`` and one for each metric; for a
        metric with an interval also ``<metric>:low`` and ``<metric>:high``, and ``<metric>:n``.
    """
    import pandas

    rows: list[dict[str, Any]] = []
    for run in find_runs(Path(root)):
        by_round: dict[int, dict[str, Any]] = {}
        rounds = list(run.scores())
        shown = {number for number, _ in rounds}
        for number, score in [*rounds, *(row for row in chain(run.costs(), run.latencies()) if row[0] in shown)]:
            row = by_round.setdefault(
                number,
                {
                    "run": run.name,
                    "study": run.record.study,
                    "student": run.student,
                    "variant": run.variant,
                    "seed": run.record.seed,
                    "round": number,
                },
            )
            name = metric_name(score)
            row[name] = score.value
            row[f"{name}:n"] = score.n
            if score.low is not None:
                row[f"{name}:low"], row[f"{name}:high"] = score.low, score.high
        rows += by_round.values()
    return pandas.DataFrame(rows)


def metric_name(score: Score) -> str:
    """``name`` or ``name/slice``, as columns and MLflow know it."""
    return f"{score.name}/{score.slice}" if score.slice else score.name
