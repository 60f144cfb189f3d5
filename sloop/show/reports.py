"""What a paper or a person wants of runs on disk: paired comparisons in several forms, and one sample whole."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.markup import escape
from rich.table import Table

from sloop.benchmarks.base import Benchmark
from sloop.engine.build import build
from sloop.measures.metrics import METRICS
from sloop.measures.overlap import CONTAMINATION, Contaminated
from sloop.measures.stats import Comparison, Outcomes, compare_paired, compare_runs, holm
from sloop.records import Grade, Judgement, Label, Prediction, Record, Ruling, Sample, UserError
from sloop.runs.read import Run, check_same_data, find_round, find_runs, search, split_round
from sloop.runs.track import attach
from sloop.show import pages
from sloop.show.console import console
from sloop.show.figures import forest
from sloop.stages.evaluate import GRADES, JUDGEMENTS
from sloop.stages.optimize.stage import RULINGS
from sloop.stages.probe import PREDICTIONS
from sloop.store import Dataset, read_rows

OFFICIAL = "official_accuracy"
COMPARED = (*(name for name in METRICS if name != "argument_accuracy"), OFFICIAL)
"""Metrics that say right or wrong of one sample."""
FORMS = ("text", "markdown", "latex", "csv")

COMPARE = "compare"
"""Folder of comparisons among a run's artifacts."""
RUN_FORMS = (
    "folder, name, id or MLflow run id (or the beginning of one), or a search such as variant=full,seed=0; "
    "RUN@ROUND for a round of a loop"
)

R = TypeVar("R", bound=Record)


class Row(NamedTuple):
    """One line of a comparison."""

    what: str
    rounds: tuple[int, int]
    """Of A and of B; 0 for an evaluation alone."""
    found: Comparison
    p_adjusted: float | None
    """Holm's, over the lines of the table; None where there is one line, or no p-value."""


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """The arguments that every command on runs has."""
    made = argparse.ArgumentParser(prog=f"sloop {command}", description=description)
    made.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of the runs (default: outputs)")
    return made


# --- compare ------------------------------------------------------------------------------------------------------


def compare(arguments: Sequence[str]) -> None:
    """Print the paired comparison of runs, or of variants over all seeds of a study."""
    made = parser("compare", "Paired comparison on the same sample ids: the metric of A minus that of each other.")
    made.add_argument("a", metavar="A", help=f"run: {RUN_FORMS}; with --study a variant, or a search for several runs")
    made.add_argument("others", metavar="B", nargs="+", help="likewise, one or more")
    made.add_argument("--study", help="compare variants over all seeds of this study")
    made.add_argument("--student", help="with --study: of this student alone")
    made.add_argument("--benchmark", help="(default: the first that A was evaluated on)")
    made.add_argument("--round", type=int, help="where no @ROUND says otherwise (default: the last that all have)")
    made.add_argument("--metric", choices=COMPARED, default="call_accuracy", help="(default: call_accuracy)")
    made.add_argument("--slices", action="store_true", help="a line for each slice, too")
    made.add_argument("--format", choices=FORMS, default="text", help="(default: text)")
    made.add_argument("--figure", type=Path, help="write the figure to this .html, .svg or .png file; log it to MLflow")
    options = made.parse_args(arguments)
    if options.student and not options.study:
        made.error("--student chooses among the loops of a study: give --study as well")
    rows: list[tuple[str, tuple[int, int], Comparison]] = []
    left_out: list[str] = []
    compared: dict[Path, Run] = {}
    benchmark = ""
    for other in options.others:
        for what, numbers, benchmark, pairs in _matches(options, other):
            compared |= {run.folder: run for pair in pairs for run in pair}
            check_same_data((asked for pair in pairs for asked in zip(pair, numbers, strict=True)), benchmark)
            prefix = f"{options.a} - {other}: " if len(options.others) > 1 else ""
            for part in _parts(pairs, benchmark, numbers[0]) if options.slices else [""]:
                outcomes = [_outcomes(a, b, benchmark, numbers, options.metric, part) for a, b in pairs]
                whose = f"{pairs[0][0].student}, " if options.study else ""
                line = f"{prefix}{whose}{part}" if part else f"{prefix}{what}"
                paired, alone = zip(*(_measured(first, second) for first, second, _ in outcomes), strict=True)
                if sum(alone) and not (part and all(paired)):
                    left_out.append(f"{line}: {sum(alone)} samples are left out, as only A or only B has a result")
                if part and not all(paired):
                    continue  # the metric asks nothing of this slice, or nothing on both sides
                found = compare_paired(*outcomes[0]) if options.study is None else compare_runs(outcomes)
                rows.append((line, numbers, found))
    sides, what = f"A = {options.a}, B = {', '.join(options.others)}", f"{options.metric} on {benchmark}"
    lines = adjusted(rows)
    _print(lines, f"{sides}, {what}", options.format)
    _tell(left_out)
    if options.figure:
        _draw(lines, sides, what, options.figure, list(compared.values()))


def _draw(rows: Sequence[Row], sides: str, what: str, path: Path, compared: Sequence[Run]) -> None:
    """Write the figure of a comparison, and log it to the runs that were compared."""
    chances = [row.found.p_value if row.p_adjusted is None else row.p_adjusted for row in rows]
    lines = [(row.what, row.found, chance) for row, chance in zip(rows, chances, strict=True)]
    figure = forest(lines, f"{what}: A - B", sides, "p" if len(rows) == 1 else "p (Holm)")
    pages.save({"comparison": figure}, f"{sides}, {what}", path)
    told = [f"figure: {path}"]
    told += [
        f"logged to MLflow: {run.name}, {COMPARE}/{path.name}"
        for run in compared
        if attach(run, path, COMPARE, pages.page_of)
    ]
    _tell(told)


def _tell(lines: Iterable[str]) -> None:
    """Beside the table, not in it."""
    for line in lines:
        console(stderr=True).print(line, markup=False, soft_wrap=True)


def _matches(
    options: argparse.Namespace, other: str
) -> Iterator[tuple[str, tuple[int, int], str, list[tuple[Run, Run]]]]:
    """What is compared, in which rounds, on which benchmark, and the pairs of runs."""
    if options.study is None:
        (a, at_a), (b, at_b) = (find_round(options.outputs, what) for what in (options.a, other))
        numbers = _numbers([(a, b)], (at_a, at_b), options.round)
        yield "samples, McNemar exact", numbers, options.benchmark or a.benchmark(), [(a, b)]
        return
    runs = [found for found in find_runs(options.outputs / options.study) if found.record["kind"] == "loop"]
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
    """The rounds of both sides: those that were named, else the default, else the last that all loops have."""
    loops = [run for pair in pairs for run in pair if run.record["kind"] == "loop"]
    last = min((run.last_round() for run in loops), default=0) if default is None else default
    a, b = (0 if run.record["kind"] != "loop" else at or last for run, at in zip(pairs[0], named, strict=True))
    return a, b


def _seeds(runs: Sequence[Run], student: str, study: str, variants: tuple[str, str]) -> list[tuple[Run, Run]]:
    """Both variants' runs of each seed; in place of a variant a search may stand."""
    arms: list[dict[int, Run]] = [{}, {}]
    for arm, variant in zip(arms, variants, strict=True):
        chosen = search(runs, variant if "=" in variant else f"variant={variant}")
        for found in (found for found in chosen if found.student == student):
            if (other := arm.setdefault(found.record["seed"], found)) is not found:
                raise UserError(
                    f"study {study} has two runs of {variant} with seed {found.record['seed']}: {other.name} "
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


def _outcomes(
    a: Run, b: Run, benchmark: str, numbers: tuple[int, int], metric: str, part: str
) -> tuple[Outcomes, Outcomes, dict[str, str]]:
    """Right or wrong by sample id, or by sample and trial, in both runs, and each one's cluster.

    Raises:
        UserError: one run asked oftener than the other.
    """
    graded = [
        {key: grade for key, grade in run.grades(benchmark, number).items() if part in ("", grade.slice)}
        for run, number in zip((a, b), numbers, strict=True)
    ]
    trials = [1 + max((grade.trial for grade in found.values()), default=0) for found in graded]
    if trials[0] != trials[1]:
        raise UserError(
            f"run {a.name} has {trials[0]} trials of every sample and run {b.name} has {trials[1]}: these cannot be "
            f"paired. Evaluate one of them again, with trials={max(trials)} and in a folder of its own."
        )
    first, second = ({key: outcome(metric, grade) for key, grade in found.items()} for found in graded)
    return first, second, {key: grade.cluster for key, grade in graded[0].items()}


def _measured(a: Outcomes, b: Outcomes) -> tuple[bool, int]:
    """Whether there are samples measured on both sides, and the number of those that are on one alone."""
    sides = [(a.get(key) is not None, b.get(key) is not None) for key in a.keys() | b.keys()]
    return (True, True) in sides, sum(first != second for first, second in sides)


def outcome(metric: str, grade: Grade) -> bool | None:
    """What one sample adds to a metric; None where the metric does not ask it."""
    if metric == OFFICIAL:
        return grade.official
    right, of = METRICS[metric](grade)
    return bool(right) if of else None


def adjusted(rows: Sequence[tuple[str, tuple[int, int], Comparison]]) -> list[Row]:
    """The lines of a table with their p-values adjusted for their number, where there is more than one."""
    known = {str(k): found.p_value for k, (_, _, found) in enumerate(rows) if found.p_value is not None}
    corrected: Mapping[str, float] = holm(known) if len(rows) > 1 else {}
    return [Row(*row, corrected.get(str(k))) for k, row in enumerate(rows)]


def _print(rows: Sequence[Row], title: str, form: str) -> None:
    head = ["what", "round", "A", "B", "A - B", "95% interval", "p", "n"]
    if len(rows) > 1:
        head.insert(7, "p (Holm)")
    lines = [_cells(row, len(rows) > 1) for row in rows]
    if form != "text":
        writers = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}
        console().print(writers[form](head, lines), markup=False, highlight=False, soft_wrap=True, end="")
        return
    shown = Table(title=escape(title), title_justify="left")
    for name in head:
        shown.add_column(name, justify="left" if name == "what" else "right")
    for line in lines:
        shown.add_row(*map(escape, line))
    console().print(shown)


def _cells(row: Row, many: bool) -> list[str]:
    found = row.found
    rounds = ", ".join(str(number or "-") for number in dict.fromkeys(row.rounds))
    cells = [row.what, rounds, f"{found.a * 100:.1f}", f"{found.b * 100:.1f}"]
    cells += [f"{found.delta * 100:+.1f}", f"{found.low * 100:+.1f} to {found.high * 100:+.1f}"]
    chances = (found.p_value, row.p_adjusted) if many else (found.p_value,)
    return [*cells, *("-" if p is None else f"{p:.2g}" for p in chances), str(found.n)]


def as_markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A GitHub table; numbers to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in (head, rule, *lines)
    )


def as_latex(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A ``tabular`` with the rules of the package booktabs."""
    rows = ["l" + "r" * (len(head) - 1), *(" & ".join(map(_latex, row)) + r" \\" for row in (head, *lines))]
    body = "\n".join(rows[2:])
    return f"\\begin{{tabular}}{{{rows[0]}}}\n\\toprule\n{rows[1]}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _latex(cell: str) -> str:
    special = {**{mark: f"\\{mark}" for mark in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\~{}", "^": r"\^{}"}
    text = "".join(special.get(mark, mark) for mark in cell)
    return f"${text}$" if text[:1] in "+-" and text[1:2].isdigit() and " " not in text else text


def as_csv(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Comma-separated values, quoted where they must be."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *lines])
    return out.getvalue()


# --- show ---------------------------------------------------------------------------------------------------------


def show(arguments: Sequence[str]) -> None:
    """Print one sample of a run: question, label, lineage, and every answer and verdict on it."""
    made = parser("show", "One sample of a run whole: question, label, answers, verdicts, where it comes from.")
    made.add_argument("run", metavar="RUN", help=RUN_FORMS)
    made.add_argument("sample", metavar="SAMPLE", help="the sample's id, or the beginning of it")
    options = made.parse_args(arguments)
    run, number = find_round(options.outputs, options.run)
    sample, where = _sample(run, options.sample)
    out = console()
    for line in (*_question(sample, where), *_history(run, sample.id, number)):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _sample(run: Run, beginning: str) -> tuple[Sample, str]:
    """The sample whose id begins so, and the file that it stands in.

    Raises:
        UserError: none or several do.
    """
    found: dict[str, tuple[Sample, str]] = {}
    for data in _datasets(run):
        for sample_id in data.ids():
            if sample_id.startswith(beginning) and sample_id not in found:
                found[sample_id] = next(data.pick([sample_id])), str(data.path)
    if len(found) == 1:
        return next(iter(found.values()))
    what = f"{len(found)} samples have ids that begin" if found else "no sample has an id that begins"
    raise UserError(
        f"run {run.name}: {what} with {beginning!r}. Ids, 32 hex digits each, stand in its grades.jsonl and "
        "predictions.jsonl."
    )


def _datasets(run: Run) -> Iterator[Dataset]:
    """Whatever samples the run was asked or trained on."""
    config = run.record["config"]
    if run.record["kind"] in ("loop", "eval"):
        benchmark = build(config["benchmark"], "benchmark")
        if isinstance(benchmark, Benchmark):
            yield benchmark.data
    paths = [Path(entry["path"]) for entry in run.record.get("inputs", [])]
    paths += sorted(
        path for name in ("train", "dev", "dataset", "expanded") for path in run.folder.rglob(f"{name}.jsonl")
    )
    yield from (Dataset(path) for path in paths if path.is_file() and path.name != PREDICTIONS)


def _question(sample: Sample, where: str) -> Iterator[str]:
    slice = f", slice {sample.slice}" if sample.slice else ""
    yield f"sample {sample.id}{slice}, kind {sample.kind}, source {sample.source}, in {where}"
    yield f"lineage: {sample.lineage.model_dump_json(exclude_defaults=True)}, group {sample.group}"
    for tool in sample.tools:
        arguments = ", ".join(f"{name}{'' if name in tool.required else '?'}" for name in tool.properties)
        yield f"tool {tool.name}({arguments}): {tool.description}"
    for message in sample.messages:
        yield f"{message.role}: {message.content}"
        yield from (f"  {call.name} {call.arguments}" for call in message.tool_calls)
    yield f"label: {_said(sample.label)}"


def _history(run: Run, sample_id: str, number: int | None) -> Iterator[str]:
    """Answers and verdicts, stage by stage; of one round alone where one is given."""
    top = run.folder if number is None else run.folder / f"round_{number}"
    for path in sorted(top.rglob("*.jsonl")):
        place = path.parent.relative_to(run.folder)
        prefix = "" if str(place) == "." else f"{place}: "
        if path.name == PREDICTIONS:
            for trial, answer in _of(path, Prediction, sample_id):
                perplexity = "" if answer.perplexity is None else f", perplexity {answer.perplexity:.4g}"
                yield f"{prefix}{trial}answer: {answer.error or _said(answer.answer)}{perplexity}"
                yield f"{prefix}{trial}as written: {answer.text}"
        elif path.name == GRADES:
            for trial, grade in _of(path, Grade, sample_id):
                official = "" if grade.official is None else f", officially {_word(grade.official)}"
                reason = f", {grade.reason}" if grade.reason else ""
                yield f"{prefix}{trial}grade: {_word(grade.correct)}{official}{reason}"
        elif path.name == JUDGEMENTS:
            for trial, judgement in _of(path, Judgement, sample_id):
                verdict, rubric = judgement.verdict, judgement.verdict.rubric
                scored = "" if rubric is None else f", rubric {rubric.score:.2f}"
                said = f"{_word(verdict.correct)}{scored}; {'; '.join(verdict.evidence)}"
                yield f"{prefix}{trial}judge: {said}"
        elif path.name == CONTAMINATION:
            for _, match in _of(path, Contaminated, sample_id):
                where = f"{match.train_id} {match.train_request!r}"
                yield f"{prefix}in training ({match.how}, {match.share:.0%} of the request): {where}"
        elif path.name == RULINGS:
            for _, ruling in _of(path, Ruling, sample_id):
                new = "leaves the data" if ruling.new is None else _said(ruling.new)
                yield f"{prefix}ruling: {ruling.outcome}; label was {_said(ruling.old)}, now {new}"


def _of(path: Path, kind: type[R], sample_id: str) -> Iterator[tuple[str, R]]:
    """The sample's records in a file, each after the words that say of which trial it is, where there are several."""
    rows = [row for row in read_rows(path, kind) if getattr(row, "sample_id", None) == sample_id]
    for row in rows:
        yield f"trial {getattr(row, 'trial', 0)}: " if len(rows) > 1 else "", row


def _word(right: bool | None) -> str:
    return "undecided" if right is None else "right" if right else "wrong"


def _said(label: Label | None) -> str:
    """A decision in a line."""
    if label is None:
        return "none"
    calls = "; ".join(f"{call.name} {call.arguments}" for call in label.calls)
    return calls or f"no call: {label.content}"
