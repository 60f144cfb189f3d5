"""The optimize stage: verify what the probe found, expand the failures, compose the next training set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import AfterValidator

from sloop.calls.match.strict import strict
from sloop.engine.executor import Worker
from sloop.engine.identity import unit_rng
from sloop.engine.stage import Desk
from sloop.environments.checks import can_run
from sloop.judges.base import Judge
from sloop.records import (
    Axis,
    Judgement,
    Prediction,
    Record,
    Rejected,
    Ruling,
    Sample,
    Tool,
    Truth,
    UserError,
)
from sloop.records.ranges import Share, refused
from sloop.stages.accept import JUDGEMENTS, REJECTED, RULES, TRUTH, Admission, Door
from sloop.stages.accept import MODULES as DOOR_MODULES
from sloop.stages.evidence import compare, verdicts, weigh
from sloop.stages.optimize.compose import Plan, Quotas, Shares, balanced
from sloop.stages.optimize.expand import order_for, plan_expansions, plan_replacements, replacement_for
from sloop.stages.optimize.pairs import RULED_WRONG, PreferencePair, pair_of_expansion, pair_of_ruling
from sloop.stages.optimize.verify import rule, rule_agreement
from sloop.stages.slices import written_samples
from sloop.store import Dataset, Rows, predictions_at, read_rows
from sloop.teachers.base import Teacher

DATASET = "dataset.jsonl"
RULINGS = "rulings.jsonl"
UNJUDGED = "unjudged.jsonl"
EXPANDED = "expanded.jsonl"
PAIRS = "pairs.jsonl"


def _some(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    if not axes:
        raise refused(f"give at least one of {', '.join(get_args(Axis))}")
    return axes


class OptimizeSettings(Record):
    """How the next training set is made; section ``optimize`` of the configuration."""

    judge_agreements: bool
    """Ask the judge about samples on which student and label agree, too: a student that has learnt a wrong label by
    heart agrees with it."""
    similarity: Share
    """Jaccard similarity, 0 to 1, from which an expansion repeats a sample that is there."""
    axes: Annotated[tuple[Axis, ...], AfterValidator(_some)]
    """Along which an error seed is expanded."""
    shares: Shares


class OptimizeSummary(Record):
    """What an optimize stage made."""

    outcomes: dict[str, int]
    """Rulings of each outcome; ``AGREED_`` before it where student and label agree."""
    composition: dict[str, int]
    """Samples of the next set by why they stand in it."""
    mastered_by_id: int
    """Mastered samples without a perplexity: taken last, in the order of their ids, which is as good as at random."""
    held_back: dict[str, int]
    """Samples without a call that were candidates, by source, and are none: more than `Shares.no_call` allows."""
    quotas: Quotas
    expansion_orders: int
    rejected: dict[str, int]
    """Expansions by reason."""
    samples: int
    """In the next set."""
    shortfall: int
    unjudged: int
    pairs: dict[str, int]
    """Preference pairs by origin."""


@dataclass(frozen=True, kw_only=True)
class Optimize:
    """Make the training set of the next round.

    ``dataset.jsonl`` is the next set, ``rulings.jsonl`` says what became of the labels, ``pairs.jsonl`` holds wrong
    answers beside what was ruled to be right.
    """

    name: ClassVar[str] = "optimize"
    MODULES: ClassVar[tuple[str, ...]] = (
        *DOOR_MODULES,
        "sloop.calls.match.normalise",
        "sloop.calls.match.strict",
        "sloop.stages.optimize",
        "sloop.stages.slices",
        "sloop.teachers.base",
    )
    summary_type: ClassVar[type[OptimizeSummary]] = OptimizeSummary

    data: Dataset
    """What the student was trained on."""
    unseen: Dataset | None = None
    """Seed data that may join, which the student has answered but not been trained on."""
    predictions: Path
    """The student's answers to both."""
    judge: Any
    """Decides, where student and label disagree, who is wrong."""
    teacher: Any
    """Writes the expansions."""
    tools: Sequence[Tool]
    """That expansions may offer."""
    settings: OptimizeSettings
    budget: int
    """Samples in the next set."""
    seed: int
    """The same seed gives the same bytes."""
    round: int
    """That ends with this stage."""
    forbidden: frozenset[str] = frozenset()
    """Normalised requests of the benchmarks."""

    def __post_init__(self) -> None:
        """Raise a `UserError` for a sample without an answer."""
        answers = predictions_at(self.predictions)
        if unanswered := [i for part in self.datasets for i in part.ids() if i not in answers]:
            also = f" unseen={self.unseen.path}" if self.unseen else ""
            raise UserError(
                f"{self.predictions} has no answer to {len(unanswered)} of the samples, such as {unanswered[0]}. Probe "
                f"the very files that are optimized: sloop probe data={self.data.path}{also}"
            )

    @property
    def datasets(self) -> list[Dataset]:
        """Both parts of the data."""
        return [part for part in (self.data, self.unseen) if part is not None]

    def make(self, desk: Desk) -> OptimizeSummary:
        """Verify, expand, compose."""
        width = desk.executor.width(desk.part(self.judge, Judge, "judge"), desk.part(self.teacher, Teacher, "teacher"))
        unjudged = verify(self, desk, width)
        rulings = rulings_at(desk.folder)
        plan = plan_next(self, rulings, unjudged)
        expanded = expand(self, desk, plan, width)
        sources = _Sources.of(self)
        kept = _kept(sources, plan, rulings, expanded)
        desk.write(DATASET, chain(kept, Dataset(desk.folder / EXPANDED)))
        pairs: Counter[str] = Counter()
        desk.write(PAIRS, _pairs(sources, rulings, Dataset(desk.folder / EXPANDED), pairs))
        return OptimizeSummary(**plan.summary(expanded), unjudged=len(unjudged), pairs=dict(pairs))


@dataclass(frozen=True)
class _Sources:
    """The samples and the answers, picked by id."""

    datasets: list[Dataset]
    answers: Rows[Prediction]

    @classmethod
    def of(cls, stage: Optimize) -> _Sources:
        return cls(stage.datasets, predictions_at(stage.predictions))

    def sample(self, sample_id: str) -> Sample:
        return next(next(data.pick([sample_id])) for data in self.datasets if sample_id in data)

    def answer(self, sample_id: str) -> Prediction:
        return next(self.answers.pick([sample_id]))


def rulings_at(folder: Path) -> Rows[Ruling]:
    """The rulings of an optimize stage, by sample id."""
    return Rows(folder / RULINGS, Ruling, _sample_of)


def unjudged_at(folder: Path) -> frozenset[str]:
    """The ids of the samples on which an optimize stage has no ruling because something is missing or failed."""
    return frozenset(rejected.key for rejected in read_rows(folder / UNJUDGED, Rejected))


def _sample_of(ruling: Ruling) -> str:
    return ruling.sample_id


# --- verify -------------------------------------------------------------------------------------------------------


def verify(stage: Optimize, desk: Desk, width: int) -> set[str]:
    """Run and judge the disagreements and, if asked, the agreements (`sloop.stages.evidence`): writes the rulings;
    returns the samples that got none because something is missing or failed.
    """
    units = {f"v-{sample_id}": sample_id for data in stage.datasets for sample_id in data.ids()}
    unjudged: set[str] = set()
    with desk.writing(RULINGS, UNJUDGED) as append:
        for unit, records in desk.map([units], judge_answer, stage, (Ruling,), width=width, what="verify"):
            for record in records:
                if isinstance(record, Rejected):
                    append[UNJUDGED](record.model_copy(update={"key": units[unit]}))
                    unjudged.add(units[unit])
                else:
                    append[RULINGS](record)
    return unjudged


async def judge_answer(task: Optimize, worker: Worker, sample_id: str) -> Sequence[Record]:
    """The ruling on one sample."""
    sources = worker.opened("sources", lambda: _Sources.of(task))
    sample, prediction = sources.sample(sample_id), sources.answer(sample_id)
    if prediction.error == "model" or sample.label is None:
        return [Rejected(key=sample_id, reason="no_answer" if sample.label else "no_label")]
    judge = worker.part(task.judge, Judge, "judge")
    rng = unit_rng(task.seed, "verify", task.round, sample_id)
    alike, told = agrees(sample, prediction), tuple[str, ...]()
    if not alike:
        alike, told = compare(sample, sample.label, prediction.answer)
    if alike:
        if not task.settings.judge_agreements and not (can_run(sample) and weigh(sample, sample.label).is_wrong):
            return []
        return [rule_agreement(sample, (await verdicts(judge, sample, [sample.label], rng, told))[0])]
    label_first = rng.random() < 0.5  # so that a judge with a taste for the first answer favours neither
    pair = [sample.label, prediction.answer] if label_first else [prediction.answer, sample.label]
    given = await verdicts(judge, sample, pair, rng, told)
    on_label, on_prediction = given if label_first else reversed(given)
    return [rule(sample, prediction, on_label, on_prediction)]


def agrees(sample: Sample, prediction: Prediction) -> bool:
    """True where the student's decision is the label's, by the strict comparator."""
    if prediction.error or sample.label is None:
        return False
    return strict(sample.tools, prediction.calls, sample.label).valid


# --- expand -------------------------------------------------------------------------------------------------------


def plan_next(stage: Optimize, rulings: Iterable[Ruling], unjudged: set[str]) -> Plan:
    """Quotas and candidates from the rulings and perplexities; what was not judged leaves: nothing is known of it."""
    perplexity = {answer.sample_id: answer.perplexity for answer in predictions_at(stage.predictions)}
    trained = [i for i in stage.data.ids() if i not in unjudged]
    unseen = [i for i in stage.unseen.ids() if i not in unjudged] if stage.unseen else []
    no_call = {s.id for data in stage.datasets for s in data if s.label and not s.label.calls}
    salt = f"round {stage.round}"
    return Plan(rulings, perplexity, trained, unseen, no_call, stage.budget, stage.settings.shares, salt)


def expand(stage: Optimize, desk: Desk, plan: Plan, width: int) -> int:
    """Write and admit expansions up to their quota; returns how many were admitted."""
    admission = Admission(rules=RULES, forbidden=stage.forbidden, similarity=stage.settings.similarity)
    for data in stage.datasets:
        for sample in data:
            admission.remember(sample)
    quota = plan.quotas.expanded
    door = Door(admission, quota)

    def orders() -> Iterator[dict[str, tuple[str, str, Axis | None]]]:
        shares = stage.settings.shares
        targeted = balanced(
            plan_expansions(plan.seeds, stage.settings.axes, shares.expansions),
            lambda order: order[2] == "contrast" or order[1] in plan.no_call,
            shares.no_call,
        )
        waiting = chain(targeted, plan_replacements(plan.lost, shares.expansions))
        while (made := door.kinds.total()) < quota and (some := list(islice(waiting, quota - made))):
            plan.placed += len(some)
            yield {order[0]: order for order in some}

    kinds = (Sample, Truth, Judgement)
    with desk.writing(EXPANDED, TRUTH, JUDGEMENTS, REJECTED) as append:
        for _, records in desk.map(orders(), write_expansion, stage, kinds, width=width, what="expand"):
            door.take(records, append, lambda _: EXPANDED)
    plan.rejected.update(door.rejected)
    return door.kinds.total()


async def write_expansion(task: Optimize, worker: Worker, unit: tuple[str, str, Axis | None]) -> Sequence[Record]:
    """What the teacher writes for one order, each sample behind its judgement.

    ``unit`` is its key, the seed's id, and the axis; None: the sample of that id has left, and another takes its place.
    """
    order_key, sample_id, axis = unit
    sources = worker.opened("sources", lambda: _Sources.of(task))
    teacher = worker.part(task.teacher, Teacher, "teacher")
    judge = worker.part(task.judge, Judge, "judge")
    rng = unit_rng(task.seed, "expand", task.round, order_key)
    seed = sources.sample(sample_id)
    if axis is None:
        like = sources.sample(rng.choice(worker.opened("ids", task.data.ids)))
        order = replacement_for(order_key, seed, like, rng)
    else:
        rulings = worker.opened("rulings", lambda: rulings_at(worker.folder))
        repaired = seed.model_copy(update={"label": next(rulings.pick([sample_id])).new})
        order = order_for(order_key, repaired, sources.answer(sample_id), axis, task.tools, rng)
    return await written_samples(
        order,
        stage="expand",
        round=task.round,
        source="expanded",
        teacher=teacher,
        rng=rng,
        judge=judge,
        judge_rng=lambda: rng,
    )


# --- compose ------------------------------------------------------------------------------------------------------


def _kept(sources: _Sources, plan: Plan, rulings: Rows[Ruling], expanded: int) -> Iterator[Sample]:
    """The kept samples of the next set, under their ruled labels."""
    for sample_id, source in plan.chosen(expanded).items():
        sample = sources.sample(sample_id)
        if sample_id in plan.relabelled:
            sample = sample.model_copy(update={"label": next(rulings.pick([sample_id])).new})
        yield sample.model_copy(update={"source": source})


def _pairs(
    sources: _Sources, rulings: Iterable[Ruling], expanded: Iterable[Sample], counts: Counter[str]
) -> Iterator[PreferencePair]:
    """A pair for every ruling that says of two answers which is right, then one an expansion; counted by origin."""
    ruled = (
        pair_of_ruling(sources.sample(r.sample_id), sources.answer(r.sample_id), r)
        for r in rulings
        if r.outcome in RULED_WRONG
    )
    grown = (pair_of_expansion(s, sources.answer(s.lineage.parents[0])) for s in expanded if s.lineage.parents)
    for pair in filter(None, chain(ruled, grown)):
        counts[pair.origin] += 1
        yield pair
