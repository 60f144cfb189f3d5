"""One sample of a run whole, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path

from sloop.benchmarks.base import packaged
from sloop.intake import open_dataset
from sloop.measures.overlap import Contaminated
from sloop.records import Grade, Judgement, Label, Prediction, Ruling, Sample
from sloop.runs.find import find_round
from sloop.runs.story import SampleStory, Told
from sloop.show.arguments import RUN_FORMS, parser
from sloop.show.console import console

Row = Prediction | Grade | Judgement | Ruling | Contaminated


def show(arguments: Sequence[str]) -> None:
    """Print one sample of a run: question, label, lineage, and every answer and verdict on it."""
    made = parser("show", "One sample of a run whole: question, label, answers, verdicts, where it comes from.")
    made.add_argument("run", metavar="RUN", help=RUN_FORMS)
    made.add_argument("sample", metavar="SAMPLE", help="the sample's id, or the beginning of it")
    made.add_argument("--questions", help="a file that holds the sample, or the name of a packaged set, for older runs")
    options = made.parse_args(arguments)
    run, number = find_round(options.outputs, options.run)
    story = run.sample(options.sample, _given(options.questions, options.outputs) if options.questions else None)
    out = console()
    for line in (*_question(story), *_kin(story), *_labels(story, number), *_history(story, number)):
        # What a model or a person wrote may have lines of its own: they stand apart from those that tell of it.
        out.print(line.replace("\n", "\n    "), soft_wrap=True)


def _given(what: str, outputs: Path) -> Path:
    """The file of samples that the reader names, in any form that is read as data."""
    return open_dataset(packaged(what), form="auto", chosen="all", cache=outputs / ".cache" / "datasets").path


def _question(story: SampleStory) -> Iterator[str]:
    sample = story.sample
    slice = f", slice {sample.slice}" if sample.slice else ""
    yield f"sample {story.id}{slice}, kind {sample.kind}, source {sample.source}, in {story.where}"
    yield f"lineage: {sample.lineage.model_dump_json(exclude_defaults=True)}, group {sample.group}"
    for tool in sample.tools:
        arguments = ", ".join(f"{name}{'' if name in tool.required else '?'}" for name in tool.properties)
        yield f"tool {tool.name}({arguments}): {tool.description}"
    for message in sample.messages:
        yield f"{message.role}: {message.content}"
        yield from (f"  {call.name} {call.arguments}" for call in message.tool_calls)
    yield f"label: {_said(sample.label)}"


def _kin(story: SampleStory) -> Iterator[str]:
    for what, samples in (("parent", story.parents), ("child", story.children)):
        yield from (f"{what} {sample.id}{_made(sample)}: {sample.request}" for sample in samples)


def _made(sample: Sample) -> str:
    return f" ({sample.lineage.axis}, round {sample.lineage.round})" if sample.lineage.axis else ""


def _labels(story: SampleStory, number: int | None) -> Iterator[str]:
    """The label in the training sets: of one round alone where one is given."""
    for round, label in story.labels.items():
        if number in (None, round):
            yield f"round_{round}: trained on: {_said(label)}"


def _history(story: SampleStory, number: int | None) -> Iterator[str]:
    """Answers and verdicts, stage by stage; of one round alone where one is given."""
    told: chain[Told[Prediction] | Told[Grade] | Told[Judgement] | Told[Ruling] | Told[Contaminated]] = chain(
        story.answers, story.grades, story.judgements, story.rulings, story.matches
    )
    for file, lines in groupby(sorted(told, key=lambda line: Path(line.file).parts), key=lambda line: line.file):
        place, *_ = parts = Path(file).parts
        if number is not None and place != f"round_{number}":
            continue
        prefix = f"{'/'.join(parts[:-1])}: " if len(parts) > 1 else ""
        rows = [line.row for line in lines]
        for row in rows:
            trial = f"trial {getattr(row, 'trial', 0)}: " if len(rows) > 1 else ""
            yield from (f"{prefix}{trial}{words}" for words in _words(row))


def _words(row: Row) -> list[str]:
    """A line of a file in words."""
    match row:
        case Prediction():
            perplexity = "" if row.perplexity is None else f", perplexity {row.perplexity:.4g}"
            return [f"answer: {row.error or _said(row.answer)}{perplexity}", f"as written: {row.text}"]
        case Grade():
            official = "" if row.official is None else f", officially {_word(row.official)}"
            return [f"grade: {_word(row.correct)}{official}{f', {row.reason}' if row.reason else ''}"]
        case Judgement(verdict=verdict):
            scored = "" if verdict.rubric is None else f", rubric {verdict.rubric.score:.2f}"
            return [f"judge: {_word(verdict.correct)}{scored}; {'; '.join(verdict.evidence)}"]
        case Contaminated():
            where = f"{row.train_id} {row.train_request!r}"
            return [f"in training ({row.how}, {row.share:.0%} of the request): {where}"]
        case Ruling():
            new = "leaves the data" if row.new is None else _said(row.new)
            return [f"ruling: {row.outcome}; label was {_said(row.old)}, now {new}"]


def _word(right: bool | None) -> str:
    return "undecided" if right is None else "right" if right else "wrong"


def _said(label: Label | None) -> str:
    """A decision in a line."""
    if label is None:
        return "none"
    calls = "; ".join(f"{call.name} {call.arguments}" for call in label.calls)
    return calls or f"no call: {label.content}"
