"""Paired comparisons of runs, in the forms that a paper or a person wants."""

from __future__ import annotations

import argparse
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from rich.table import Table

from sloop.measures.constants import HEADLINE, constant_of, said
from sloop.measures.metrics import METRICS
from sloop.measures.stats import Comparison, Kinds, Outcomes, compare_paired, compare_runs, holm
from sloop.records import Grade, UserError
from sloop.records.ranges import Count
from sloop.runs.destination import tracking_uri
from sloop.runs.find import check_same_data, find_round, find_runs, search, split_round
from sloop.runs.read import Run
from sloop.runs.track import attach
from sloop.show import pages
from sloop.show.arguments import RUN_FORMS, of, parser
from sloop.show.console import console, visible
from sloop.show.figures import forest

OFFICIAL = "official_accuracy"
COMPARED = (*(name for name in METRICS if name != "argument_accuracy"), HEADLINE, OFFICIAL)
"""Metrics that say right or wrong of one sample, and the harmonic mean of two such."""
FORMS = ("text", "markdown", "latex", "csv")

FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""What a cell begins with that Excel, or LibreOffice, calculates."""
NUMBERS = re.compile(r"[-+]?[\d.]*(e[-+]\d+)?( to [-+]?[\d.]+)?")
"""Ours: a number, an interval, or the dash for none."""

HEAD_WIDTH, LABEL_WIDTH = 12, 16
"""Characters of a LaTeX table's head, and of its first column, from which a cell takes another line."""
COMPARE = "compare"
"""Folder of comparisons among a run's artifacts."""


class Row(NamedTuple):
    """One line of a comparison."""

    what: str
    rounds: tuple[int | None, int | None]
    """Of A and of B; None for an evaluation alone."""
    found: Comparison
    p_adjusted: float | None
    """Holm's, over the lines of the table; None where there is one line, or no p-value."""


def compare(arguments: Sequence[str]) -> None:
    """Print the paired comparison of runs, or of variants over all seeds of a study."""
    made = parser("compare", "Paired comparison on the same sample ids: the metric of A minus that of each other.")
    made.add_argument("a", metavar="A", help=f"run: {RUN_FORMS}; with --study a variant, or a search for several runs")
    made.add_argument("others", metavar="B", nargs="+", help="likewise, one or more")
    made.add_argument("--study", help="compare variants over all seeds of this study")
    made.add_argument("--student", help="with --study: of this student alone")
    made.add_argument("--benchmark", help="(default: the first that A was evaluated on)")
    made.add_argument(
        "--round", type=of(Count, "round"), help="where no @ROUND says otherwise (default: the last that all have)"
    )
    made.add_argument("--metric", choices=COMPARED, default="call_accuracy", help="(default: call_accuracy)")
    made.add_argument("--slices", action="store_true", help="a line for each slice, too")
    made.add_argument(
        "--samples", type=of(Count, "samples"), default=0, help="name so many samples that one side alone has right"
    )
    made.add_argument("--format", choices=FORMS, default="text", help="(default: text)")
    made.add_argument("--figure", type=Path, help="write the figure to this .html, .svg or .png file; log it to MLflow")
    tracked_at(made)
    options = made.parse_args(arguments)
    if options.student and not options.study:
        made.error("--student chooses among the loops of a study: give --study as well")
    rows: list[tuple[str, tuple[int | None, int | None], Comparison]] = []
    left_out: list[str] = []
    beside: list[str] = []
    compared: dict[Path, Run] = {}
    benchmark = ""
    for other in options.others:
        for what, numbers, benchmark, pairs in _matches(options, other):
            compared |= {run.folder: run for pair in pairs for run in pair}
            check_same_data((asked for pair in pairs for asked in zip(pair, numbers, strict=True)), benchmark)
            prefix = f"{options.a} - {other}: " if len(options.others) > 1 else ""
            for part in _parts(pairs, benchmark, numbers[0]) if options.slices else [""]:
                graded = [_graded(a, b, benchmark, numbers, part) for a, b in pairs]
                outcomes = [_outcomes(*sides, options.metric) for sides in graded]
                whose = f"{pairs[0][0].student}, " if options.study else ""
                line = f"{prefix}{whose}{part}" if part else f"{prefix}{what}"
                kinds = _kinds(graded) if options.metric == HEADLINE else None
                paired, alone = zip(*(_measured(first, second, kinds) for first, second, _ in outcomes), strict=True)
                if sum(alone) and not (part and all(paired)):
                    left_out.append(f"{line}: {sum(alone)} samples are left out, as only A or only B has a result")
                if part and not all(paired):
                    continue  # the metric asks nothing of this slice, or nothing on both sides
                one = options.study is None
                found = compare_paired(*outcomes[0], kinds) if one else compare_runs(outcomes, kinds)
                a, b = (n if run.record.is_loop else None for run, n in zip(pairs[0], numbers, strict=True))
                rows.append((line, (a, b), found))
                if not part:
                    beside += [f"{prefix}{whose}{told}" for told in _beside(pairs, numbers, benchmark, options.metric)]
                    beside += [f"{prefix}{whose}{told}" for told in _named(graded[0], options.metric, options.samples)]
    sides, what = f"A = {options.a}, B = {', '.join(options.others)}", f"{options.metric} on {benchmark}"
    lines = adjusted(rows)
    _print(lines, f"{sides}, {what}", options.format)
    _tell([*left_out, *beside])
    if options.figure:
        told = [f"figure: {_draw(lines, sides, what, options.figure)}"]
        uri, mlruns = tracked_there(options)
        told += [
            f"logged to MLflow: {run.name}, {COMPARE}/{options.figure.name}"
            for run in compared.values()
            if attach(run, options.figure, COMPARE, uri=uri, mlruns=mlruns, page=pages.page_of)
        ]
        _tell(told)


def tracked_at(made: argparse._ActionsContainer) -> None:
    """Let the reader say where runs are logged: a record of a run never says so."""
    made.add_argument("--mlruns", type=Path, help="folder of the database (default: mlruns)")
    made.add_argument(
        "--uri", help="tracking server instead of --mlruns (default: MLFLOW_TRACKING_URI, where it is set)"
    )


def tracked_there(options: argparse.Namespace) -> tuple[str | None, Path]:
    """The tracking server, or None, and the folder of the database, as the reader or MLflow's variable says."""
    return options.uri if options.uri or options.mlruns else tracking_uri(None), options.mlruns or Path("mlruns")


def _draw(rows: Sequence[Row], sides: str, what: str, path: Path) -> Path:
    """Write the figure of a comparison."""
    chances = [row.found.p_value if row.p_adjusted is None else row.p_adjusted for row in rows]
    lines = [(row.what, row.found, chance) for row, chance in zip(rows, chances, strict=True)]
    figure = forest(lines, f"{what}: A - B", sides, "p" if len(rows) == 1 else "p (Holm)")
    pages.save({"comparison": figure}, f"{sides}, {what}", path)
    return path


def _tell(lines: Iterable[str]) -> None:
    """Beside the table, not in it."""
    for line in lines:
        console(stderr=True).say(line)


def _matches(
    options: argparse.Namespace, other: str
) -> Iterator[tuple[str, tuple[int, int], str, list[tuple[Run, Run]]]]:
    """What is compared, in which rounds, on which benchmark, and the pairs of runs."""
    if options.study is None:
        (a, at_a), (b, at_b) = (find_round(options.outputs, what) for what in (options.a, other))
        numbers = _numbers([(a, b)], (at_a, at_b), options.round)
        test = "MOVER" if options.metric == HEADLINE else "McNemar exact"
        yield f"samples, {test}", numbers, options.benchmark or a.benchmark(), [(a, b)]
        return
    runs = [found for found in find_runs(options.outputs / options.study) if found.record.is_loop]
    students = sorted({found.student for found in runs})
    (arm_a, at_a), (arm_b, at_b) = (split_round(what) for what in (options.a, other))
    if not runs:
        raise UserError(f"no loops under {options.outputs / options.study}. See what there is with: sloop runs")
    if options.student not in (None, *students):
        raise UserError(f"study {options.study} has no loops of {options.student}; its students: {students}.")
    for student in students:
        if options.student in (None, student):
            pairs = _seeds(runs, student, options.study, (arm_a, arm_b))
            numbers = _numbers(pairs, (at_a, at_b), options.round)
            yield f"{student}, {len(pairs)} seeds", numbers, options.benchmark or pairs[0][0].benchmark(), pairs


def _numbers(
    pairs: Sequence[tuple[Run, Run]], named: tuple[int | None, int | None], default: int | None
) -> tuple[int, int]:
    """The rounds of both sides: those that were named, else the default, else the last that all loops have; loops that
    train nothing have round 0 alone.
    """
    loops = [run for pair in pairs for run in pair if run.record.is_loop]
    lasts = [run.last_round() for run in loops]
    last = min(filter(None, lasts), default=0) if default is None else default

    def chosen(run: Run, at: int | None) -> int:
        if not run.record.is_loop:
            return 0
        if at is None:
            return min(last, run.last_round()) if default is None else default
        return at

    a, b = map(chosen, pairs[0], named)
    return a, b


def _seeds(runs: Sequence[Run], student: str, study: str, variants: tuple[str, str]) -> list[tuple[Run, Run]]:
    """Both variants' runs of each seed; in place of a variant a search may stand."""
    arms: list[dict[int, Run]] = [{}, {}]
    for arm, variant in zip(arms, variants, strict=True):
        chosen = search(runs, variant if "=" in variant else f"variant={variant}")
        for found in (found for found in chosen if found.student == student):
            if (other := arm.setdefault(found.record.seed, found)) is not found:
                raise UserError(
                    f"study {study} has two runs of {variant} with seed {found.record.seed}: {other.name} "
                    f"and {found.name}. Compare them by name, or move one of them away."
                )
    seeds = sorted(set(arms[0]) & set(arms[1]))
    if not seeds:
        have = sorted({found.variant for found in runs})
        raise UserError(f"study {study} has no seed with both {variants[0]} and {variants[1]}; variants: {have}.")
    return [(arms[0][seed], arms[1][seed]) for seed in seeds]


def _parts(pairs: Sequence[tuple[Run, Run]], benchmark: str, number: int) -> list[str]:
    """All samples, then each slice."""
    grades = pairs[0][0].grades(benchmark, number).values()
    return ["", *sorted({grade.slice for grade in grades} - {""})]


def _graded(
    a: Run, b: Run, benchmark: str, numbers: tuple[int, int], part: str
) -> tuple[dict[str, Grade], dict[str, Grade]]:
    """The grades of both runs by sample id, or by sample and trial.

    Raises:
        UserError: one run asked oftener than the other.
    """
    first, second = (
        {key: grade for key, grade in run.grades(benchmark, number).items() if part in ("", grade.slice)}
        for run, number in zip((a, b), numbers, strict=True)
    )
    trials = [1 + max((grade.trial for grade in found.values()), default=0) for found in (first, second)]
    if trials[0] != trials[1]:
        raise UserError(
            f"run {a.name} has {trials[0]} trials of every sample and run {b.name} has {trials[1]}: these cannot be "
            f"paired. Evaluate one of them again, with trials={max(trials)} and in a folder of its own."
        )
    return first, second


def _outcomes(a: Mapping[str, Grade], b: Mapping[str, Grade], metric: str) -> tuple[Outcomes, Outcomes, dict[str, str]]:
    """Right or wrong in both runs, and each sample's cluster."""
    first, second = ({key: outcome(metric, grade) for key, grade in side.items()} for side in (a, b))
    return first, second, {key: grade.cluster for key, grade in a.items()}


def _kinds(graded: Iterable[tuple[Mapping[str, Grade], Mapping[str, Grade]]]) -> Kinds:
    """Whether the label of each sample calls."""
    return {key: grade.calls_expected for side, _ in graded for key, grade in side.items()}


def _measured(a: Outcomes, b: Outcomes, kinds: Kinds | None) -> tuple[bool, int]:
    """Whether there are samples measured on both sides, of both kinds where there are some, and the number of those
    that are on one side alone.
    """
    sides = {key: (a.get(key) is not None, b.get(key) is not None) for key in a.keys() | b.keys()}
    paired = {kinds is None or kinds[key] for key, measured in sides.items() if all(measured)}
    return len(paired) == (1 if kinds is None else 2), sum(first != second for first, second in sides.values())


def _beside(pairs: Sequence[tuple[Run, Run]], numbers: tuple[int, int], benchmark: str, metric: str) -> Iterator[str]:
    """What a reader of a difference must know: in what else the sides differ, what answers that read no question get
    on the same samples, and how often answers to the same question differ.
    """
    sides = [[run.depends_on(benchmark, number) for run, number in zip(pair, numbers, strict=True)] for pair in pairs]
    apart = sorted({name for a, b in sides for name in a.keys() | b.keys() if a.get(name) != b.get(name)})
    if apart:
        first, second = ([side.get(name, "not recorded") for name in apart] for side in sides[0])
        values = (n if x == y else f"{n} ({x}, {y})" for n, x, y in zip(apart, first, second, strict=True))
        yield f"differ in: {'; '.join(values)}"
    scores = [
        {score.name: score.value for score in run.scores_at(number) if not score.slice and score.value is not None}
        for run, number in zip(pairs[0], numbers, strict=True)
    ]
    wanted = f"eval/{benchmark}/{metric}"
    beside = [(told, value) for name, value in scores[0].items() if (told := constant_of(name)) and told[1] == wanted]
    if beside:
        shares = ", ".join(f"{said(answer)} {value * 100:.1f}" for (answer, _), value in beside)
        yield f"answers that read no question, on the same samples: {shares}"
    flips = [found.get(f"eval/{benchmark}/flip_rate") for found in scores]
    if flipped := [f"{side} {value * 100:.1f}" for side, value in zip("AB", flips, strict=True) if value is not None]:
        yield f"of two answers to a sample one is right and one wrong, per cent: {', '.join(flipped)}"


def _named(graded: tuple[dict[str, Grade], dict[str, Grade]], metric: str, number: int) -> Iterator[str]:
    """The first samples that one side alone has right, and why the other has not."""
    a, b = graded
    for side, right, wrong in (("A", a, b), ("B", b, a)):
        alone = [key for key in right if outcome(metric, right[key]) and outcome(metric, wrong[key]) is False]
        for key in alone[:number]:
            yield f"right in {side} alone: {key} {wrong[key].reason or ''}".rstrip()
        if 0 < number < len(alone):
            yield f"right in {side} alone: {len(alone) - number} more"


def outcome(metric: str, grade: Grade) -> bool | None:
    """What one sample adds to a metric; None where the metric does not ask it."""
    if metric == OFFICIAL:
        return grade.official
    right, of = METRICS["call_accuracy" if metric == HEADLINE else metric](grade)
    return bool(right) if of else None


def adjusted(rows: Sequence[tuple[str, tuple[int | None, int | None], Comparison]]) -> list[Row]:
    """The lines of a table with their p-values adjusted for their number, where there is more than one."""
    known = {str(k): found.p_value for k, (_, _, found) in enumerate(rows) if found.p_value is not None}
    corrected: Mapping[str, float] = holm(known) if len(rows) > 1 else {}
    return [Row(*row, corrected.get(str(k))) for k, row in enumerate(rows)]


def _print(rows: Sequence[Row], title: str, form: str) -> None:
    head = ["what", "round", "A", "B", "A - B", "95% interval", "shown from", "p", "n"]
    if len(rows) > 1:
        head.insert(8, "p (Holm)")
    lines = [_cells(row, len(rows) > 1) for row in rows]
    if form != "text":
        console().print(WRITERS[form](head, lines), soft_wrap=True, end="")
        return
    shown = Table(title=title, title_justify="left", caption_justify="left")
    shown.caption = "shown from: the smallest true difference that these samples show in 80 of 100 cases"
    for name in head:
        shown.add_column(name, justify="left" if name == "what" else "right")
    for line in lines:
        shown.add_row(*line)
    console().print(shown)


def _cells(row: Row, many: bool) -> list[str]:
    found = row.found
    rounds = ", ".join("-" if number is None else str(number) for number in dict.fromkeys(row.rounds))
    cells = [row.what, rounds, f"{found.a * 100:.1f}", f"{found.b * 100:.1f}"]
    cells += [f"{found.delta * 100:+.1f}", f"{found.low * 100:+.1f} to {found.high * 100:+.1f}"]
    cells.append("-" if found.detectable is None else f"{found.detectable * 100:.1f}")
    chances = (found.p_value, row.p_adjusted) if many else (found.p_value,)
    return [*cells, *("-" if p is None else f"{p:.2g}" for p in chances), str(found.n)]


def as_markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A GitHub table; numbers to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    rows = [list(map(_markdown, row)) for row in (head, *lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], rule, *rows[1:]))


def _markdown(cell: str) -> str:
    """A cell that reads as it is spelled: no code, link, picture, emphasis or HTML, and one cell.

    An underscore between letters, as in names, means nothing; neither does an address whose colon is escaped.
    """
    text = re.sub(r"&(?=#?\w+;)", "&amp;", visible(cell, keep="")).replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*\[\]|~!]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.", r"\\\g<0>", text)


def as_latex(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A ``tabular`` with the rules of the package booktabs. Long heads, and intervals in brackets, take lines of their
    own: on one, ten columns would be as wide as two pages.
    """
    top = [_stacked(_wrapped(name, HEAD_WIDTH), "rl"[not at]) for at, name in enumerate(head)]
    body = (
        [_stacked(_wrapped(label, LABEL_WIDTH), "l"), *(_stacked(re.split(r" (?=\[)", cell), "r") for cell in cells)]
        for label, *cells in lines
    )
    first, *rest = (" & ".join(row) + r" \\" for row in (top, *body))
    columns, rows = "@{}l" + "r" * (len(head) - 1) + "@{}", "\n".join(rest)
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{first}\n\\midrule\n{rows}\n\\bottomrule\n\\end{{tabular}}\n"


def _wrapped(text: str, width: int) -> list[str]:
    """A text in lines, in which a minus stays with what is taken away."""
    parts = wrap(text.replace("- ", "-\xa0"), width, break_on_hyphens=False, break_long_words=False)
    return [part.replace("-\xa0", "- ") for part in parts] or [text]


def _stacked(parts: Sequence[str], side: str) -> str:
    """A cell of so many lines."""
    told = r" \\ ".join(map(_latex, parts))
    return told if len(parts) == 1 else f"\\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{told}\\end{{tabular}}"


def _latex(cell: str) -> str:
    special = {**{mark: f"\\{mark}" for mark in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\~{}", "^": r"\^{}"}
    # LaTeX's own encoding of fonts has other marks in their places
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    text = "".join(special.get(mark, mark) for mark in visible(cell, keep=""))
    if text[:1] in "+-" and text[1:2].isdigit() and " " not in text:
        return f"${text}$"
    text = re.sub(r"(?<!\w)-(?=\d|\s\w)", "$-$", text)  # a minus, where a hyphen would be set
    return f"{{{text[0]}}}{text[1:]}" if text[:1] in ("[", "*") else text  # behind the end of a row: its arguments


def as_csv(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Comma-separated values, quoted where they must be; what a table would calculate is a text to it."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([list(map(_csv, row)) for row in (head, *lines)])
    return out.getvalue()


def _csv(cell: str) -> str:
    """A cell that is no formula: an apostrophe before it says so, as people say it to a table."""
    formula = cell[:1] in FORMULA and not NUMBERS.fullmatch(cell)
    return visible(f"'{cell}" if formula else cell)


WRITERS = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}
"""Tables as text, by format."""
