"""Runs as they stand on disk: found, read, laid out as a table of rounds x metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sloop.engine.folder import STAGE_FILE
from sloop.loop import ROUND_FILE
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
from sloop.records import Grade, Score, UserError, trial_id
from sloop.runs.cite import is_gone
from sloop.stages.evaluate import GRADES
from sloop.store import now, read_json, read_rows, write_json

if TYPE_CHECKING:
    import pandas

RUN_FILE = "run.json"
FIELDS = ("variant", "student", "seed", "study", "benchmark", "kind", "status", "name", "id")
"""What a search for runs may name, beside the keys of their configuration."""


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path
    record: dict[str, Any]
    """``run.json``"""

    @property
    def name(self) -> str:
        """As shown."""
        return str(self.record["name"])

    @property
    def variant(self) -> str:
        """Of the loop; empty for a stage used alone."""
        return str(self.record["config"]["variant"]["name"]) if self.record["kind"] == "loop" else ""

    @property
    def student(self) -> str:
        """Name of the student."""
        return str(self.record["config"]["student"]["name"])

    def field(self, name: str) -> str | None:
        """One of `FIELDS`, or a key of the configuration such as ``loop.rounds``, as text; None: it has no such key."""
        if name == "variant":
            return self.variant
        value: Any = self.record["config"]
        for part in {"student": "student.name", "benchmark": "benchmark.name"}.get(name, name).split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if name in FIELDS and name in self.record:
            value = self.record[name]
        if value is None or isinstance(value, Mapping):
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The complete rounds, in order."""
        paths = sorted(self.folder.glob(f"round_*/{ROUND_FILE}"), key=lambda p: int(p.parent.name.split("_")[1]))
        return [read_json(path) for path in paths]

    def results(self) -> dict[str, Any]:
        """What the folder holds so far, for the run's record.

        Returns:
            ``stages``: by place in the folder, each finished stage's key, seed and every file's rows, bytes and
            sha256 (of a checkpoint that is weights, tokenizer and chat template). For a loop also ``rounds``: each
            round's training data, and its metrics over all samples with n and interval. Where endpoints were asked
            also ``cost``: by role, round and model, and ``latency``: by role and round.
        """
        manifests = {str(path.parent.relative_to(self.folder)): read_json(path) for path in self._manifests()}
        stages = {
            place: {"key": manifest["key"], "seed": manifest["parts"].get("seed"), "files": manifest["files"]}
            for place, manifest in manifests.items()
        }
        rounds = [
            {
                "round": content["round"],
                "data": content["data"],
                "metrics": [score for score in content["metrics"] if not score["slice"]],
            }
            for content in self.rounds
        ]
        latency = [row.model_dump() for row in self.latency()]
        found = {"stages": stages, "rounds": rounds, "cost": self.spent(), "latency": latency}
        return {name: part for name, part in found.items() if part or name == "stages"}

    @property
    def ended(self) -> str | None:
        """When it ended, or its failures were last asked for again."""
        times = [self.record["finished"], *(retry["finished"] for retry in self.record.get("retried", ()))]
        return max(filter(None, times), default=None)

    def failed(self) -> dict[str, int]:
        """How many answers, and verdicts on them, a finished eval or probe could not have."""
        path = self.folder / STAGE_FILE
        return dict(read_json(path)["summary"].get("failed", {})) if path.is_file() else {}

    def _manifests(self) -> list[Path]:
        if self.record["kind"] != "loop":
            return [path for path in [self.folder / STAGE_FILE] if path.is_file()]
        return sorted(path for top in self.folder.glob("*/") for path in top.rglob(STAGE_FILE))

    def reap(self) -> bool:
        """Mark a run as KILLED that says RUNNING although its process is gone from this host; whether it was so."""
        machine = self.record["machine"]
        if self.record["status"] != "RUNNING" or not is_gone(machine["host"], machine["pid"]):
            return False
        self.record.update(status="KILLED", finished=now())
        write_json(self.folder / RUN_FILE, self.record)
        return True

    def scores(self) -> Iterator[tuple[int, Score]]:
        """Every metric of every round."""
        for content in self.rounds:
            for row in content["metrics"]:
                yield content["round"], Score.model_validate(row)

    def spent(self) -> list[dict[str, Any]]:
        """What was asked of endpoints, by role, round and model: the counts of `Spent`, and ``dollars``."""
        prices = self._prices()
        return [{**row.model_dump(), "dollars": dollars(row, prices)} for row in self._usage()]

    def costs(self) -> Iterator[tuple[int, Score]]:
        """The same as metrics ``cost/<role>/...`` of rounds (0: before the first, or of a stage used alone).

        n is the number of requests. Dollars that are not known are None, never 0.
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
        return read_latencies(self.folder / USAGE_FILE)

    def _usage(self) -> list[Spent]:
        return read_usage(self.folder / USAGE_FILE)

    def _prices(self) -> dict[str, Price]:
        return {name: Price.model_validate(price) for name, price in self.record["config"].get("prices", {}).items()}

    def benchmark(self) -> str:
        """Name of the first benchmark that the run was evaluated on.

        Raises:
            UserError: it is neither a loop nor an evaluation, or has no complete round.
        """
        if self.record["kind"] == "eval":
            return str(self.record["config"]["benchmark"]["name"])
        if self.record["kind"] != "loop":
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
        if self.record["kind"] == "loop" and not self.rounds:
            raise UserError(f"run {self.name} has no complete round yet; the same loop command resumes it.")
        return len(self.rounds)

    def check_round(self, number: int) -> None:
        """Raises `UserError` where the run has no such complete round."""
        have = [content["round"] for content in self.rounds]
        if self.record["kind"] != "loop":
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
        (sha256,) = read_json(self._evaluation(benchmark, round) / STAGE_FILE)["parts"]["data"]
        return str(sha256)

    def _evaluation(self, benchmark: str, round: int) -> Path:
        """Folder of an evaluation.

        Raises:
            UserError: there is none.
        """
        path = self.folder / f"round_{round}" / "evaluate" / benchmark / GRADES
        if self.record["kind"] == "eval" and self.benchmark() == benchmark:
            path = self.folder / GRADES
        unfinished = path.is_file() and not (path.parent / STAGE_FILE).is_file()
        if unfinished:
            raise UserError(
                f"run {self.name}: its evaluation on {benchmark} is not finished; the command that began it goes on."
            )
        if not path.is_file():
            have = sorted(str(p.parent.relative_to(self.folder)) for p in self.folder.rglob(GRADES))
            where = f" in round {round}" if self.record["kind"] == "loop" else ""
            raise UserError(f"run {self.name} has no grades of {benchmark}{where}; it has: {have}.")
        return path.parent


def read_record(path: Path) -> dict[str, Any]:
    """The content of a ``run.json``.

    Raises:
        UserError: it is not the record of a run.
    """
    try:
        record = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: broken JSON ({error}). Delete the run's folder to make the run anew.") from error
    if not isinstance(record, dict) or "kind" not in record:
        raise UserError(f"{path}: not the record of a run of sloop. Move it away, or choose another folder.")
    return record


def find_runs(root: Path) -> list[Run]:
    """Every run under a folder, by path."""
    return [Run(path.parent, read_record(path)) for path in sorted(root.rglob(RUN_FILE))]


def find_run(root: Path, what: str) -> Run:
    """One run under ``root``, by any of its names.

    Args:
        root: folder of the runs.
        what: a run's folder; its name, ``<study>/<name>``, id or MLflow run id, or the beginning of one of them; or a
            search of comma-separated ``field=value`` (see `Run.field`), such as ``variant=full,seed=0``.

    Raises:
        UserError: none or several match; names them.
    """
    if (Path(what) / RUN_FILE).is_file():
        return Run(Path(what), read_record(Path(what) / RUN_FILE))
    known = find_runs(root)
    found = search(known, what) if "=" in what else _called(known, what)
    if len(found) == 1:
        return found[0]
    if not known:
        raise UserError(f"no run matches {what!r}: there are none under {root}. Make one: sloop loop experiment=smoke")
    names = ", ".join(sorted(f"{run.record['study']}/{run.name}" for run in (found or known)))
    problem = "several runs match" if found else "no run matches"
    raise UserError(f"{problem} {what!r} under {root}. Name one of: {names}.")


def _called(known: Sequence[Run], what: str) -> list[Run]:
    """Those that are called so, else those with a name or id that begins so."""
    names = [
        (
            run.name,
            f"{run.record['study']}/{run.name}",
            run.record["id"],
            run.record.get("mlflow", {}).get("run_id", ""),
        )
        for run in known
    ]
    exact = [run for run, called in zip(known, names, strict=True) if what in called]
    return exact or [
        run for run, called in zip(known, names, strict=True) if any(name.startswith(what) for name in called)
    ]


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
    if (Path(what) / RUN_FILE).is_file():
        return find_run(root, what), None
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
                    "study": run.record["study"],
                    "student": run.student,
                    "variant": run.variant,
                    "seed": run.record["seed"],
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
