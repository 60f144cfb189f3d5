"""The optimize stage: verify what the probe found, expand the failures, compose the next training set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sloop.calls.match import strict
from sloop.engine.build import describe
from sloop.engine.executor import Executor, concurrent, units_in_flight
from sloop.engine.folder import Stage, stage_key
from sloop.engine.identity import unit_rng
from sloop.judges.base import Judge
from sloop.records import Axis, Judgement, Prediction, Record, Rejected, Ruling, Sample, Tool, Truth, UserError, digest
from sloop.stages.accept import RULES, Admission, check_verdict
from sloop.stages.gen import slice_dialogue
from sloop.stages.optimize.compose import Plan, Shares, balanced
from sloop.stages.optimize.expand import order_for, plan_expansions
from sloop.stages.optimize.verify import rule, rule_agreement
from sloop.store import Dataset, Rows, predictions_at
from sloop.teachers.base import Teacher

DATASET = "dataset.jsonl"
RULINGS = "rulings.jsonl"
UNJUDGED = "unjudged.jsonl"
EXPANDED = "expanded.jsonl"
TRUTH = "truth.jsonl"
JUDGEMENTS = "judgements.jsonl"
REJECTED = "rejected.jsonl"


class OptimizeSettings(Record):
    """How the next training set is made; section ``optimize`` of the configuration."""

    judge_agreements: bool
    """Ask the judge about samples on which student and label agree, too: a student that has learnt a wrong label by
    heart agrees with it."""
    similarity: float
    """Jaccard similarity, 0 to 1, from which an expansion repeats a sample that is there."""
    axes: tuple[Axis, ...]
    """Along which an error seed is expanded."""
    shares: Shares


def optimize(
    *,
    data: Dataset,
    unseen: Dataset | None,
    predictions: Path,
    judge: Judge,
    teacher: Teacher,
    tools: Sequence[Tool],
    settings: OptimizeSettings,
    budget: int,
    seed: int,
    round: int,
    out: Path,
    forbidden: frozenset[str] = frozenset(),
    workers: int = 1,
    experiment: Path | None = None,
    report: Callable[[str, int, int], None] | None = None,
) -> Stage:
    """Make the training set of the next round.

    Args:
        data: what the student was trained on.
        unseen: seed data that may join, which the student has answered but not been trained on.
        predictions: the student's answers to both.
        judge: decides, where student and label disagree, who is wrong.
        teacher: writes the expansions.
        tools: that expansions may offer.
        settings: see `OptimizeSettings`.
        budget: samples in the next set.
        seed: the same seed gives the same bytes.
        round: that ends with this stage.
        out: the stage's folder; ``dataset.jsonl`` is the next set, ``rulings.jsonl`` says what became of the labels.
        forbidden: normalised requests of the benchmarks.
        workers: judgements and orders in flight, more where judge or teacher wait for a network.
        experiment: where a finished stage with the same key is looked for.
        report: told (step, done, in all).

    Returns:
        The finished stage; ``summary`` holds the counts of every outcome, source and rejection, and any shortfall.

    Raises:
        UserError: shares that cannot be met, no axes, or a sample without an answer.
    """
    settings.shares.check()
    if not settings.axes:
        raise UserError("optimize.axes is empty: give at least one of values, phrasing, tools, contrast.")
    work = _Round(
        data=data,
        unseen=unseen,
        answers=predictions_at(predictions),
        judge=judge,
        teacher=teacher,
        tools=tools,
        settings=settings,
        budget=budget,
        seed=seed,
        number=round,
        forbidden=forbidden,
        run=concurrent(units_in_flight(workers, judge, teacher)),
        report=report or (lambda step, done, total: None),
    )
    if unanswered := [i for part in work.datasets for i in part.ids() if i not in work.answers]:
        raise UserError(
            f"{predictions} has no answer to {len(unanswered)} of the samples, such as {unanswered[0]}. Probe the very "
            f"file that is optimized: sloop probe data={data.path}"
        )
    with Stage(out, work.key(), experiment) as stage:
        if not stage.done:
            rulings, unjudged = work.verify(stage)
            plan = work.plan(rulings, unjudged)
            expanded = work.expand(stage, plan, rulings)
            work.compose(stage, plan, rulings, expanded)
            stage.finish({**plan.summary(expanded), "unjudged": len(unjudged)})
    return stage


def agrees(sample: Sample, prediction: Prediction) -> bool:
    """True where the student's decision is the label's, by the strict comparator."""
    if prediction.error or sample.label is None:
        return False
    return strict(sample.tools, prediction.calls, sample.label).valid


@dataclass(frozen=True, kw_only=True)
class _Round:
    """The three steps of one optimize stage, and what they share."""

    data: Dataset
    unseen: Dataset | None
    answers: Rows[Prediction]
    judge: Judge
    teacher: Teacher
    tools: Sequence[Tool]
    settings: OptimizeSettings
    budget: int
    seed: int
    number: int
    forbidden: frozenset[str]
    run: Executor
    report: Callable[[str, int, int], None]

    @property
    def datasets(self) -> list[Dataset]:
        return [part for part in (self.data, self.unseen) if part is not None]

    def key(self) -> dict[str, Any]:
        return stage_key(
            "optimize",
            data=[part.sha256 for part in self.datasets],
            predictions=self.answers.sha256,
            judge=describe(self.judge),
            teacher=describe(self.teacher),
            tools=[tool.to_openai() for tool in self.tools],
            settings=self.settings.model_dump(),
            budget=self.budget,
            seed=self.seed,
            round=self.number,
            forbidden=digest(sorted(self.forbidden)),
        )

    def sample(self, sample_id: str) -> Sample:
        return next(next(data.pick([sample_id])) for data in self.datasets if sample_id in data)

    def answer(self, sample_id: str) -> Prediction:
        return next(self.answers.pick([sample_id]))

    # --- verify ---

    def verify(self, stage: Stage) -> tuple[Rows[Ruling], set[str]]:
        """Judge the disagreements (and, if asked, the agreements): the rulings, and the samples that got none because
        something is missing or failed.
        """
        units = {f"v-{sample_id}": sample_id for data in self.datasets for sample_id in data.ids()}
        judged = stage.map(units, self._judge, self.run, (Ruling,), partial(self.report, "verify"))
        unjudged: set[str] = set()
        with stage.writing(RULINGS, UNJUDGED) as append:
            for unit, records in judged:
                for record in records:
                    append[RULINGS if isinstance(record, Ruling) else UNJUDGED](record)
                    if isinstance(record, Rejected):
                        unjudged.add(units[unit])
        return Rows(stage.folder / RULINGS, Ruling, lambda ruling: ruling.sample_id), unjudged

    async def _judge(self, sample_id: str) -> Sequence[Record]:
        sample, prediction = self.sample(sample_id), self.answer(sample_id)
        if prediction.error == "model" or sample.label is None:
            return [Rejected(key=sample_id, reason="no_answer" if sample.label else "no_label")]
        rng = unit_rng(self.seed, "verify", self.number, sample_id)
        question = sample.blind()
        if agrees(sample, prediction):
            if not self.settings.judge_agreements:
                return []
            return [rule_agreement(sample, (await self.judge.judge(question, [sample.label], rng))[0])]
        label_first = rng.random() < 0.5  # so that a judge with a taste for the first answer favours neither
        pair = [sample.label, prediction.answer] if label_first else [prediction.answer, sample.label]
        verdicts = await self.judge.judge(question, pair, rng)
        on_label, on_prediction = verdicts if label_first else reversed(verdicts)
        return [rule(sample, prediction, on_label, on_prediction)]

    # --- expand ---

    def plan(self, rulings: Iterable[Ruling], unjudged: set[str]) -> Plan:
        """Quotas and candidates from the rulings and the perplexities; of what could not be judged nothing is known,
        so that it leaves.
        """
        perplexity = {answer.sample_id: answer.perplexity for answer in self.answers}
        trained = [i for i in self.data.ids() if i not in unjudged]
        unseen = [i for i in self.unseen.ids() if i not in unjudged] if self.unseen else []
        return Plan(rulings, perplexity, trained, unseen, self.budget, self.settings.shares, f"round {self.number}")

    def expand(self, stage: Stage, plan: Plan, rulings: Rows[Ruling]) -> int:
        """Write and admit expansions up to their quota; returns how many were admitted."""
        admission = Admission(rules=RULES, forbidden=self.forbidden, similarity=self.settings.similarity)
        for data in self.datasets:
            for sample in data:
                admission.remember(sample)
        work = partial(self._write, rulings)
        shares = self.settings.shares
        waiting = balanced(
            plan_expansions(plan.seeds, self.settings.axes, shares.expansions),
            lambda order: order[2] == "contrast" or order[1] in plan.no_call,
            shares.no_call,
        )
        quota, admitted = plan.quotas.expanded, 0
        with stage.writing(EXPANDED, TRUTH, JUDGEMENTS, REJECTED) as append:
            while admitted < quota and (orders := list(islice(waiting, quota - admitted))):
                units = {order[0]: order for order in orders}
                plan.placed += len(units)
                kinds = (Sample, Truth, Judgement)
                for _, records in stage.map(units, work, self.run, kinds, partial(self.report, "expand")):
                    admitted += _admit(records, admission, append, plan.rejected)
        return admitted

    async def _write(self, rulings: Rows[Ruling], unit: tuple[str, str, Axis]) -> Sequence[Record]:
        order_key, sample_id, axis = unit
        rng = unit_rng(self.seed, "expand", self.number, order_key)
        seed = self.sample(sample_id).model_copy(update={"label": next(rulings.pick([sample_id])).new})
        order = order_for(order_key, seed, self.answer(sample_id), axis, self.tools, rng)
        written = await self.teacher.write(order, rng)
        if isinstance(written, Rejected):
            return [written]
        records: list[Record] = []
        pairs = slice_dialogue(
            written, order, stage="expand", round=self.number, source="expanded", teacher=self.teacher
        )
        for sample, truth in pairs:
            verdict = (await self.judge.judge(sample.blind(), [sample.label], rng))[0]
            records += [Judgement(sample_id=sample.id, verdict=verdict), sample, *([truth] if truth else [])]
        return records

    # --- compose ---

    def compose(self, stage: Stage, plan: Plan, rulings: Rows[Ruling], expanded: int) -> None:
        """Write the next training set: kept samples under their ruled labels, then the expansions."""
        stage.write(DATASET, chain(self._kept(plan, rulings, expanded), Dataset(stage.folder / EXPANDED)))

    def _kept(self, plan: Plan, rulings: Rows[Ruling], expanded: int) -> Iterator[Sample]:
        for sample_id, source in plan.chosen(expanded).items():
            sample = self.sample(sample_id)
            if sample_id in plan.relabelled:
                sample = sample.model_copy(update={"label": next(rulings.pick([sample_id])).new})
            yield sample.model_copy(update={"source": source})


def _admit(
    records: Sequence[Record],
    admission: Admission,
    append: Mapping[str, Callable[[Record], None]],
    rejected: Counter[str],
) -> int:
    """Let the expansions of one order in, or write down why not; returns how many came in."""
    verdicts = {r.sample_id: r.verdict for r in records if isinstance(r, Judgement)}
    admitted: set[str] = set()
    for record in records:
        refusal: Rejected | None = record if isinstance(record, Rejected) else None
        if isinstance(record, Judgement):
            append[JUDGEMENTS](record)
        elif isinstance(record, Sample):
            refusal = check_verdict(record, verdicts[record.id]) or admission.admit(record)
            if refusal is None:
                append[EXPANDED](record)
                admitted.add(record.id)
        elif isinstance(record, Truth) and record.sample_id in admitted:
            append[TRUTH](record)
        if refusal is not None:
            append[REJECTED](refusal)
            rejected[refusal.reason] += 1
    return len(admitted)
