"""How right are the labels, the judge and the repairs? The only code that reads truths, and it decides nothing.

A truth is known where a simulated annotator wrote a row of ``truth.jsonl`` for the sample, or can be derived: an
expansion along ``tools`` or ``contrast`` repeats its parent's request with other tools on offer, so the right calls are
the parent's, if every tool that they name is on offer, and none otherwise. Its own row would not do: the teacher that
wrote it knew the parent's label, which may be wrong. Where a truth is unknown, the sample is in no denominator.

Samples are streamed; of each, only its truth, its parent and references to shared tools are kept.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sloop.calls.match.strict import strict
from sloop.measures.stats import rate
from sloop.records import Axis, Label, Outcome, Prediction, Ruling, Sample, Score, Tool, ToolCall, Truth
from sloop.store import read_rows

SAMPLE_FILES = ("train.jsonl", "dev.jsonl", "expanded.jsonl")
"""Files that a stage writes beside ``truth.jsonl``, with the samples that the truths are about."""
SAME_REQUEST: tuple[Axis, ...] = ("tools", "contrast")
CLASSES: tuple[Outcome, ...] = tuple(outcome for outcome in get_args(Outcome) if outcome != "ABSTAIN")


@dataclass(frozen=True, slots=True)
class _Known:
    tools: tuple[Tool, ...]
    group: str
    parent: str | None
    """Whose request it repeats."""


class Truths:
    """The right labels that are known, by sample id."""

    def __init__(self) -> None:
        self._rows: dict[str, str] = {}  # labels as JSON: a tenth of the size of the records
        self._known: dict[str, _Known] = {}
        self._tools: dict[str, Tool] = {}

    def add(self, rows: Iterable[Truth]) -> None:
        """Take in rows of ``truth.jsonl``."""
        for row in rows:
            self._rows.setdefault(row.sample_id, row.label.model_dump_json())

    def learn(self, samples: Iterable[Sample]) -> None:
        """Take in what samples say of themselves: tools, group and, where a truth follows from it, the parent."""
        for sample in samples:
            if sample.id not in self._known:
                lineage = sample.lineage
                parent = lineage.parents[0] if lineage.parents and lineage.axis in SAME_REQUEST else None
                tools = tuple(map(self._shared, sample.tools))
                self._known[sample.id] = _Known(tools, sample.group or sample.id, parent)

    def of(self, sample_id: str) -> Label | None:
        """The right label; None where it is unknown."""
        known = self._known.get(sample_id)
        if known is None or known.parent is None:
            return self._row(sample_id)
        wish = self._row(self._root(sample_id))
        if wish is None:
            return self._row(sample_id)
        offered = {tool.name for tool in known.tools}
        return wish if offered.issuperset(call.name for call in wish.calls) else Label()

    def right(self, sample_id: str, calls: Sequence[ToolCall] | None) -> bool | None:
        """Whether these calls (None: unreadable) are the right ones; None where that is unknown."""
        truth, known = self.of(sample_id), self._known.get(sample_id)
        if truth is None or known is None:
            return None
        return strict(known.tools, calls, truth).valid

    def group(self, sample_id: str) -> str:
        """Cluster of a sample."""
        known = self._known.get(sample_id)
        return known.group if known else sample_id

    def _row(self, sample_id: str) -> Label | None:
        row = self._rows.get(sample_id)
        return None if row is None else Label.model_validate_json(row)

    def _root(self, sample_id: str) -> str:
        """The sample that the request was written for, however often it has been repeated since."""
        seen = {sample_id}
        while (known := self._known.get(sample_id)) is not None and known.parent not in {None, *seen}:
            sample_id = str(known.parent)
            seen.add(sample_id)
        return sample_id

    def _shared(self, tool: Tool) -> Tool:
        found = self._tools.setdefault(tool.name, tool)
        return found if found == tool else tool


def load_truths(paths: Iterable[Path]) -> Truths:
    """Read truth files, and the samples that their stages wrote beside them."""
    truths = Truths()
    for path in paths:
        truths.add(read_rows(path, Truth))
        for name in SAMPLE_FILES:
            if (path.parent / name).is_file():
                truths.learn(read_rows(path.parent / name, Sample))
    return truths


def audit_dataset(data: Iterable[Sample], truths: Sequence[Path]) -> list[Score]:
    """Label noise of a dataset (iterated twice), from truth files."""
    known = load_truths(truths)
    known.learn(data)
    return label_noise(data, known)


def audit_rulings(
    rulings: Iterable[Ruling], answers: Iterable[Prediction], unjudged: Container[str], truths: Sequence[Path]
) -> list[Score]:
    """`judge_quality` and `repairs`, from truth files; ``answers`` (iterated twice) are to everything probed."""
    known, by_id = load_truths(truths), {ruling.sample_id: ruling for ruling in rulings}
    return [*judge_quality(by_id.values(), answers, known), *repairs(by_id.values(), answers, unjudged, known)]


def label_noise(samples: Iterable[Sample], truths: Truths) -> list[Score]:
    """``data/label_noise``: share of the labels that are not the truth by the strict comparator.

    Over labelled samples whose truth is known; overall, and for each source as a slice.
    """
    rows = []
    for sample in samples:
        right = truths.right(sample.id, sample.label.calls) if sample.label else None
        if right is not None:
            rows.append((sample.source, sample.group or sample.id, int(not right)))
    overall = rate("data/label_noise", ((group, wrong, 1) for _, group, wrong in rows))
    parts = sorted({source for source, _, _ in rows})
    return [
        overall,
        *(rate("data/label_noise", ((g, w, 1) for source, g, w in rows if source == part), part) for part in parts),
    ]


def judge_quality(rulings: Iterable[Ruling], answers: Iterable[Prediction], truths: Truths) -> list[Score]:
    """How often the judge's class is the true one.

    Disagreements of student and label are reported as ``judge/<class>/...``, agreements (which can only be right or
    wrong together) as ``judge/AGREED_<class>/...``:

    - ``count``: rulings of the class; n = rulings that were judged.
    - ``precision``: of the rulings of the class, those that are right. ``recall``: of the samples truly of the class,
      those that were ruled so. Both over judged samples whose truth is known; where the judge could not tell it has
      decided nothing, and the sample is in neither.
    - ``judge/ABSTAIN/count`` and ``/share`` (of the judged): it could not tell.
    """
    judged = {ruling.sample_id: ruling for ruling in rulings if _was_judged(ruling)}
    rows: dict[bool, list[_Judged]] = {False: [], True: []}
    for answer in answers:
        ruling = judged.get(answer.sample_id)
        if ruling is None:
            continue
        agreed = ruling.verdict_prediction is None and ruling.verdict_label is not None
        rows[agreed].append(_judged(ruling, answer, truths, agreed))
    return [
        *_class_scores(rows[False], CLASSES, "judge/"),
        *_class_scores(rows[True], ("BOTH_CORRECT", "BOTH_WRONG"), "judge/AGREED_"),
    ]


def repairs(
    rulings: Iterable[Ruling], answers: Iterable[Prediction], unjudged: Container[str], truths: Truths
) -> list[Score]:
    """What became of wrong and of clean labels, as shares of them.

    - ``repairs/wrong/<fate>``: repaired (replaced by the truth), dropped (the sample left), kept (still wrong).
    - ``repairs/clean/<fate>``: damaged (replaced by something wrong), dropped, kept (still right).

    Over the labels that were judged; ``<fate>_of_all``: over all that were probed. Truths must be known. A sample that
    was probed and not ruled on is one on which student and label agree, so its answer tells what its label is; one
    that got no answer, or is among the ``unjudged`` as no verdict on it could be had, is left out.
    """
    by_id = {ruling.sample_id: ruling for ruling in rulings}
    fates: list[tuple[str, str, str, bool]] = []
    for answer in answers:
        ruling = by_id.get(answer.sample_id)
        before = after = _answer_right(answer, truths)
        if ruling is not None:
            before = truths.right(answer.sample_id, ruling.old.calls)
            after = None if ruling.new is None else truths.right(answer.sample_id, ruling.new.calls)
        elif answer.error is not None or answer.sample_id in unjudged:
            continue
        if before is None:
            continue
        side = "clean" if before else "wrong"
        fate = "dropped" if after is None else FATES[before, after]
        fates.append((truths.group(answer.sample_id), side, fate, ruling is not None and _was_judged(ruling)))
    return list(_fate_scores(fates))


FATES = {(False, True): "repaired", (False, False): "kept", (True, False): "damaged", (True, True): "kept"}
"""By whether the label was right before and is right after."""


@dataclass(frozen=True, slots=True)
class _Judged:
    group: str
    ruled: Outcome | None
    """None: the judge could not tell."""
    true: Outcome | None


def _was_judged(ruling: Ruling) -> bool:
    verdicts = (ruling.verdict_label, ruling.verdict_prediction)
    return ruling.outcome == "ABSTAIN" or any(verdict is not None for verdict in verdicts)


def _answer_right(answer: Prediction, truths: Truths) -> bool | None:
    return truths.right(answer.sample_id, None if answer.error else answer.calls)


def _judged(ruling: Ruling, answer: Prediction, truths: Truths, agreed: bool) -> _Judged:
    label = truths.right(ruling.sample_id, ruling.old.calls)
    prediction = label if agreed else _answer_right(answer, truths)
    true: Outcome | None = None
    if label is not None:
        if label:
            true = "BOTH_CORRECT" if prediction else "PRED_WRONG"
        else:
            true = "LABEL_WRONG" if prediction else "BOTH_WRONG"
    told = ruling.outcome != "ABSTAIN"
    return _Judged(truths.group(ruling.sample_id), ruling.outcome if told else None, true)


def _class_scores(rows: Sequence[_Judged], classes: Sequence[Outcome], prefix: str) -> Iterator[Score]:
    known = [row for row in rows if row.ruled is not None and row.true is not None]
    for name in classes:
        count = sum(row.ruled == name for row in rows)
        yield Score(name=f"{prefix}{name}/count", value=count, n=len(rows))
        hits = [(row.group, int(row.ruled == row.true), row.ruled == name, row.true == name) for row in known]
        yield rate(f"{prefix}{name}/precision", ((g, hit, int(ruled)) for g, hit, ruled, _ in hits))
        yield rate(f"{prefix}{name}/recall", ((g, hit, int(true)) for g, hit, _, true in hits))
    yield Score(name=f"{prefix}ABSTAIN/count", value=sum(row.ruled is None for row in rows), n=len(rows))
    yield rate(f"{prefix}ABSTAIN/share", ((row.group, int(row.ruled is None), 1) for row in rows))


def _fate_scores(rows: Sequence[tuple[str, str, str, bool]]) -> Iterator[Score]:
    for side, fates in (("wrong", ("repaired", "dropped", "kept")), ("clean", ("damaged", "dropped", "kept"))):
        here = [(group, fate, judged) for group, row_side, fate, judged in rows if row_side == side]
        for name in fates:
            yield rate(f"repairs/{side}/{name}", ((g, int(fate == name), int(judged)) for g, fate, judged in here))
            yield rate(f"repairs/{side}/{name}_of_all", ((g, int(fate == name), 1) for g, fate, _ in here))
