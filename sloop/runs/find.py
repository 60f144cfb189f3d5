"""Runs under a folder: found by what they are called or have, and laid out as a table of rounds x metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sloop.records import RUN_FILE, Tracked, UserError
from sloop.runs.files import is_run
from sloop.runs.read import FIELDS, Run, metric_name

if TYPE_CHECKING:
    import pandas


def find_runs(root: Path) -> list[Run]:
    """Every run under a folder, by path."""
    return [Run.at(path.parent) for path in sorted(root.rglob(RUN_FILE)) if is_run(path.parent)]


def find_run(root: Path, what: str) -> Run:
    """One run under ``root``, by any of its names.

    Args:
        root: folder of the runs.
        what: a run's folder; its name, ``<study>/<name>``, name in MLflow, id or MLflow run id, or the beginning of
            one of them; or a search of comma-separated ``field=value`` (see `Run.field`), such as
            ``variant=full,seed=0``.

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
    names = [(run.name, run.label, _full_name(run), run.record.id, _mlflow_id(run.record.mlflow)) for run in known]
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
