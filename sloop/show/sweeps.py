"""A sweep for a paper: each student and variant over seeds, beside the variant that it is compared with."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.table import Table

from sloop.measures.constants import HEADLINE, constant_of, said
from sloop.measures.seeds import Mean, over_seeds
from sloop.measures.stats import Comparison, compare_runs, holm
from sloop.records import UserError
from sloop.records.ranges import Count
from sloop.runs.loops import Loop, arms, in_mlflow, on_disk
from sloop.show.arguments import of
from sloop.show.compare import COMPARED, FORMS, WRITERS, outcome, tracked_at, tracked_there
from sloop.show.console import console

METRICS = ("call_accuracy", HEADLINE, "tool_accuracy", "no_call_accuracy")
"""Shown where nobody chooses."""
AGAINST = "static"
"""The variant that others are compared with, where there is one and nobody says otherwise."""
FEW = 5
"""Seeds below which an interval over them rests on so few values that it is told."""

Arms = Mapping[tuple[str, str], Mapping[int, Loop]]


class Line(NamedTuple):
    """An arm in one round."""

    student: str
    variant: str
    round: int
    means: Mapping[str, Mean | None]
    """By metric."""
    against: Comparison | None
    """How much more of the first metric it has than the arm that it is compared with, paired by sample over the seeds
    that both have."""


class Sweep(NamedTuple):
    """What a study shows of one benchmark."""

    benchmark: str
    arms: Arms
    constants: Mapping[tuple[str, str], float]
    """What answers that read no question get, by answer and metric."""


def source(made: argparse._ActionsContainer) -> None:
    """Let the reader choose what is read: disk or MLflow, which benchmark and metrics."""
    made.add_argument("--from", dest="source", choices=("disk", "mlflow"), default="disk", help="(default: disk)")
    tracked_at(made)
    made.add_argument("--benchmark", help="(default: the first that was asked)")
    made.add_argument(
        "--metric", action="append", metavar="METRIC", help=f"again for more (default: {' '.join(METRICS)})"
    )
    made.add_argument("--variant", action="append", help="this one alone, or again for more (default: all)")


def read(options: argparse.Namespace) -> Sweep:
    """The sweep that the options name.

    Raises:
        UserError: there is none, or it was not asked this benchmark.
    """
    if options.source == "mlflow":
        if not options.study:
            raise UserError("MLflow keeps runs by study: name one, as in: sloop table demo --sweep --from mlflow")
        loops, where = in_mlflow(options.study, *tracked_there(options)), "in MLflow"
    else:
        where = f"under {options.outputs / options.study}"
        loops = on_disk(options.outputs / options.study)
    chosen = [loop for loop in loops if not options.variant or loop.arm[1] in options.variant]
    if not chosen:
        there = f"; variants there: {sorted({loop.arm[1] for loop in loops})}" if loops else ""
        raise UserError(f"no loops with a complete round {where}{there}. Make some with: sloop loop -m experiment=demo")
    names = [score.name for loop in chosen for found in loop.record.rounds for score in found.metrics]
    asked = list(dict.fromkeys(name.split("/")[1] for name in names if name.startswith("eval/")))
    if not asked or options.benchmark not in (None, *asked):
        raise UserError(f"benchmark {options.benchmark}: the loops {where} were asked: {', '.join(asked) or 'none'}")
    benchmark = options.benchmark or asked[0]
    return Sweep(benchmark, arms(chosen), _constants(chosen, benchmark))


def metrics(options: argparse.Namespace, sweep: Sweep) -> list[str]:
    """The metrics to show, as chosen or as usual.

    Raises:
        UserError: one was not measured.
    """
    before = f"eval/{sweep.benchmark}/"
    loops = (loop for seeds in sweep.arms.values() for loop in seeds.values())
    names = {score.name for loop in loops for found in loop.record.rounds for score in found.metrics}
    known = sorted(name.removeprefix(before) for name in names if name.startswith(before) and not constant_of(name))
    if unknown := [name for name in options.metric or () if name not in known]:
        raise UserError(f"--metric {unknown[0]}: not measured on {sweep.benchmark}; there are: {', '.join(known)}")
    return list(options.metric or (name for name in METRICS if name in known))


def lines(sweep: Sweep, metrics: Sequence[str], rounds: Sequence[int] | None, against: str | None) -> Iterator[Line]:
    """A line for each arm and round; ``rounds`` None: all. An arm that trains nothing has its round 0 beside any."""
    for (student, variant), seeds in sweep.arms.items():
        numbers = sorted({found.round for loop in seeds.values() for found in loop.record.rounds})
        other = sweep.arms.get((student, against or ""), {})
        for number in numbers if rounds is None else rounds:
            if (here := _at(seeds, number)) not in numbers:
                continue
            means = {name: mean(seeds.values(), sweep.benchmark, here, name) for name in metrics}
            paired = variant != against and metrics[0] in COMPARED
            places = here, _at(other, number)
            found = _paired(seeds, other, sweep.benchmark, places, metrics[0]) if paired else None
            yield Line(student, variant, here, means, found)


def _at(seeds: Mapping[int, Loop], number: int) -> int:
    """The round of an arm that stands beside a round of others."""
    return number if any(loop.trains for loop in seeds.values()) else 0


def mean(loops: Iterable[Loop], benchmark: str, round: int, metric: str) -> Mean | None:
    """A metric over the loops that have it in a round."""
    return over_seeds([score for loop in loops if (score := loop.score(benchmark, round, metric))])


def _paired(
    seeds: Mapping[int, Loop], others: Mapping[int, Loop], benchmark: str, rounds: tuple[int, int], metric: str
) -> Comparison | None:
    """As `sloop compare` has it, of the seeds under which both have the round."""
    both = [tuple(zip((seeds[seed], others[seed]), rounds, strict=True)) for seed in sorted(seeds.keys() & others)]
    pairs = [
        tuple(loop.grades(benchmark, number) for loop, number in sides)
        for sides in both
        if all(loop.score(benchmark, number, metric) for loop, number in sides)
    ]
    if not pairs:
        return None
    kinds = {key: grade.calls_expected for pair in pairs for side in pair for key, grade in side.items()}
    outcomes = []
    for pair in pairs:
        first, second = ({key: outcome(metric, grade) for key, grade in side.items()} for side in pair)
        outcomes.append((first, second, {key: grade.cluster for key, grade in pair[0].items()}))
    return compare_runs(outcomes, kinds if metric == HEADLINE else None)


def _constants(loops: Sequence[Loop], benchmark: str) -> dict[tuple[str, str], float]:
    before = f"eval/{benchmark}/"
    return {
        (said(told[0]), told[1].removeprefix(before)): score.value
        for loop in loops
        for found in loop.record.rounds
        for score in found.metrics
        if score.name.startswith(before) and score.value is not None and (told := constant_of(score.name))
    }


def cells(
    sweep: Sweep, found: Sequence[Line], metrics: Sequence[str], against: str | None
) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table: rates in per cent, with their 95% interval in brackets."""
    known = {str(k): line.against.p_value for k, line in enumerate(found) if line.against}
    chances = {k: p for k, p in known.items() if p is not None}
    adjusted = holm(chances) if len(known) > 1 else chances
    names = [name.replace("_", " ") for name in metrics]
    head = ["student, variant", "round", "n", "interval over", *names]
    head += [f"{names[0]} - {against}", "p (Holm)" if len(known) > 1 else "p"] if known else []
    rows = []
    for k, line in enumerate(found):
        size = line.means[metrics[0]]
        row = [f"{line.student}, {line.variant}", str(line.round), *((str(size.n), size.over) if size else ("-", "-"))]
        row += [_cell(line.means[name]) for name in metrics]
        rows.append(row + ([_difference(line.against), _chance(adjusted.get(str(k)))] if known else []))
    for answer in dict.fromkeys(answer for answer, _ in sweep.constants):
        values = (sweep.constants.get((answer, name)) for name in metrics)
        theirs = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        rows.append([answer, "-", "-", "-", *theirs, *(["-", "-"] if known else [])])
    return head, rows


def notes(found: Sequence[Line], against: str | None) -> Iterator[str]:
    """What a reader of the table must know."""
    yield "Per cent; in brackets 95% intervals. n: questions of all seeds, of the first metric."
    yield from of_seeds(mean for line in found for mean in line.means.values() if mean)
    if any(line.against for line in found):
        yield f"Differences to {against}, in points: paired by question over seeds, as by sloop compare."


def of_seeds(means: Iterable[Mean]) -> Iterator[str]:
    """What the intervals of means over seeds are."""
    over = {mean.seeds for mean in means}
    if over - {1}:
        yield "Over seeds: Student's interval on the means of the seeds, cut off at 0 and 100."
    if few := sorted(number for number in over if 1 < number < FEW):
        yield f"Few seeds ({', '.join(map(str, few))}): such an interval is wide, and rests on the seeds being alike."
    if 1 in over:
        yield "Of one seed, or seeds that are all the same, the interval is over questions; of others it says nothing."


def _cell(mean: Mean | None) -> str:
    if mean is None:
        return "-"
    doubt = "" if mean.low is None or mean.high is None else f" [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"
    return f"{100 * mean.value:.1f}{doubt}"


def _difference(found: Comparison | None) -> str:
    return f"{100 * found.delta:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]" if found else "-"


def _chance(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"


def last_round(sweep: Sweep) -> int:
    """The last round that every arm has; one that trains nothing keeps no other back."""
    ends = (
        max(found.round for loop in seeds.values() for found in loop.record.rounds)
        for seeds in sweep.arms.values()
        if any(loop.trains for loop in seeds.values())
    )
    return min(ends, default=0)


def _chosen(sweep: Sweep, options: argparse.Namespace) -> tuple[list[int] | None, str | None]:
    """The rounds to show and the variant to compare with.

    Raises:
        UserError: there is no such variant.
    """
    variants = {variant for _, variant in sweep.arms}
    if options.against not in (None, *variants):
        raise UserError(f"--against {options.against}: no such variant; there are: {', '.join(sorted(variants))}")
    against = options.against or (AGAINST if AGAINST in variants and len(variants) > 1 else None)
    if options.all_rounds:
        return None, against
    return [last_round(sweep) if options.round is None else options.round], against


def asked(made: argparse._ActionsContainer) -> None:
    """What the table of a sweep can be asked for."""
    source(made)
    made.add_argument("--against", metavar="VARIANT", help=f"compare with it (default: {AGAINST}, where there is one)")
    made.add_argument("--round", type=of(Count, "round"), help="(default: the last that all have)")
    made.add_argument("--all-rounds", action="store_true", help="a line for each round")
    made.add_argument("--format", choices=FORMS, default="text", help="(default: text)")


def print_table(options: argparse.Namespace) -> None:
    """Print the table of a sweep; what must be known of it stands below, in LaTeX as comments above."""
    sweep = read(options)
    names = metrics(options, sweep)
    rounds, against = _chosen(sweep, options)
    found = list(lines(sweep, names, rounds, against))
    head, rows = cells(sweep, found, names, against)
    told = list(notes(found, against))
    out = console()
    if options.format == "text":
        shown = Table(title=f"{options.study or 'all studies'}: {sweep.benchmark}", caption=" ".join(told))
        shown.title_justify = shown.caption_justify = "left"
        for place, name in enumerate(head):
            shown.add_column(name, justify="right" if place else "left")
        for row in rows:
            shown.add_row(*row)
        out.print(shown)
        return
    body = WRITERS[options.format](head, rows)
    before = "".join(f"% {note}\n" for note in told) if options.format == "latex" else ""
    after = f"\n{' '.join(told)}\n" if options.format == "markdown" else ""
    out.print(f"{before}{body}{after}", soft_wrap=True, end="")
    for note in told if options.format == "csv" else ():
        console(stderr=True).say(note)
