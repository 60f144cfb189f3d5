"""The optimize stage: verify what the probe found, expand the failures, compose the next training set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sloop.accept import RULES, Admission, check_verdict
from sloop.build import describe
from sloop.calls.match import strict
from sloop.executor import concurrent
from sloop.gen import slice_dialogue, unit_rng
from sloop.optimize.compose import Quotas, Shares, by_hash, hardest, quotas
from sloop.optimize.expand import order_for, plan_expansions
from sloop.optimize.verify import rule, rule_agreement
from sloop.store import Dataset, Rows, Stage, predictions_at, stage_key
from sloop.teachers.base import Judge, Teacher
from sloop.types import (
    Axis,
    Judgement,
    Prediction,
    Record,
    Rejected,
    Ruling,
    Sample,
    Source,
    Tool,
    Truth,
    UserError,
    digest,
)

DATASET, RULINGS, TRUTH, JUDGEMENTS, REJECTED = (
    "dataset.jsonl",
    "rulings.jsonl",
    "truth.jsonl",
    "judgements.jsonl",
    "rejected.jsonl",
)


def optimize(
    *,
    data: Dataset,
    unseen: Dataset | None,
    predictions: Path,
    judge: Judge,
    teacher: Teacher,
    tools: Sequence[Tool],
    axes: Sequence[Axis],
    shares: Shares,
    budget: int,
    judge_agreements: bool,
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
        axes: along which an error seed is expanded.
        shares: of the next set.
        budget: samples in the next set.
        judge_agreements: ask the judge about samples on which student and label agree, too: a student that has
            learnt a wrong label by heart agrees with it.
        seed: the same seed gives the same bytes.
        round: that ends with this stage.
        out: the stage's folder; ``dataset.jsonl`` is the next set, ``rulings.jsonl`` says what became of the labels.
        forbidden: normalised requests of the benchmarks.
        workers: judgements and orders in flight.
        experiment: where a finished stage with the same key is looked for.
        report: told (step, done, in all).

    Returns:
        The finished stage; ``summary`` holds the counts of every outcome, source and rejection, and any shortfall.
    """
    shares.check()
    if not axes:
        raise UserError("optimize.axes is empty: give at least one of values, phrasing, tools, contrast.")
    key = stage_key(
        "optimize",
        data=[part.sha256 for part in (data, unseen) if part],
        predictions=predictions_at(predictions).sha256,
        judge=describe(judge),
        teacher=describe(teacher),
        tools=[tool.to_openai() for tool in tools],
        axes=list(axes),
        shares=shares.model_dump(),
        budget=budget,
        judge_agreements=judge_agreements,
        seed=seed,
        round=round,
        forbidden=digest(sorted(forbidden)),
    )
    with Stage(out, key, experiment) as stage:
        if stage.done:
            return stage
        datasets = [part for part in (data, unseen) if part]
        answers = predictions_at(predictions)
        rulings = _verify(stage, datasets, answers, judge, judge_agreements, seed, round, workers, report)
        plan = _Plan(rulings, answers, data, unseen, budget, shares, round)
        expanded = _expand(
            stage, plan, datasets, answers, judge, teacher, tools, axes, shares.expansions, seed, round, forbidden,
            workers, report,
        )  # fmt: skip
        _compose(stage, plan, rulings, datasets, expanded)
        stage.finish(plan.summary(expanded))
    return stage


def agrees(sample: Sample, prediction: Prediction) -> bool:
    """True where the student's decision is the label's, by the strict comparator."""
    if prediction.error or sample.label is None:
        return False
    return strict(sample.tools, prediction.calls, sample.label).valid


def _verify(
    stage: Stage,
    datasets: Sequence[Dataset],
    answers: Rows[Prediction],
    judge: Judge,
    judge_agreements: bool,
    seed: int,
    round: int,
    workers: int,
    report: Callable[[str, int, int], None] | None,
) -> Rows[Ruling]:
    """Judge the disagreements (and, if asked, the agreements); one ruling for each judged sample."""

    async def work(sample_id: str) -> Sequence[Record]:
        sample = _pick(datasets, sample_id)
        prediction = next(answers.pick([sample_id]))
        if prediction.error == "model" or sample.label is None:
            return [Rejected(key=sample_id, reason="no_answer" if sample.label else "no_label")]
        rng = unit_rng(seed, "verify", round, sample_id)
        if agrees(sample, prediction):
            if not judge_agreements:
                return []
            return [rule_agreement(sample, (await judge.judge(sample.blind(), [sample.label], rng))[0])]
        label_first = rng.random() < 0.5  # so that a judge with a taste for the first answer favours neither
        pair = [sample.label, prediction.answer] if label_first else [prediction.answer, sample.label]
        verdicts = await judge.judge(sample.blind(), pair, rng)
        on_label, on_prediction = verdicts if label_first else reversed(verdicts)
        return [rule(sample, prediction, on_label, on_prediction)]

    units = {f"v-{sample_id}": sample_id for data in datasets for sample_id in data.ids()}
    judged = stage.map(units, work, concurrent(workers), (Ruling,), _step(report, "verify"))
    with stage.writing(RULINGS, "unjudged.jsonl") as append:
        for _, records in judged:
            for record in records:
                append[RULINGS if isinstance(record, Ruling) else "unjudged.jsonl"](record)
    return Rows(stage.folder / RULINGS, Ruling, lambda ruling: ruling.sample_id)


class _Plan:
    """Columns of the probed samples, and what the quotas make of them."""

    def __init__(
        self,
        rulings: Iterable[Ruling],
        answers: Iterable[Prediction],
        data: Dataset,
        unseen: Dataset | None,
        budget: int,
        shares: Shares,
        round: int,
    ) -> None:
        self.budget = budget
        self.perplexity = {answer.sample_id: answer.perplexity for answer in answers}
        self.outcomes: Counter[str] = Counter()
        leaving: set[str] = set()
        wrong: set[str] = set()
        self.relabelled: set[str] = set()
        for ruling in rulings:
            self.outcomes[ruling.outcome if ruling.verdict_prediction else f"AGREED_{ruling.outcome}"] += 1
            if ruling.new is None:
                leaving.add(ruling.sample_id)
            elif ruling.outcome in ("PRED_WRONG", "LABEL_WRONG"):
                wrong.add(ruling.sample_id)
            if ruling.outcome == "LABEL_WRONG":
                self.relabelled.add(ruling.sample_id)
        self.unseen = [i for i in unseen.ids() if i not in leaving] if unseen else []
        trained = [i for i in data.ids() if i not in leaving]
        salt = f"round {round}"
        self.errors = by_hash([i for i in trained if i in wrong], salt)
        self.seeds = by_hash([i for i in [*trained, *self.unseen] if i in wrong], salt)
        mastered = {i: self.perplexity[i] for i in trained if i not in wrong}
        self.quotas: Quotas = quotas(budget, len(self.unseen), len(self.errors), len(mastered), shares)
        self.mastered = hardest(mastered, len(mastered))
        self.placed = 0
        self.rejected: Counter[str] = Counter()

    def chosen(self, expanded: int) -> dict[str, Source]:
        """What each kept sample stands in the next set for, in the set's order; mastered fill what expansion left."""
        quota = self.quotas
        mastered = self.mastered[: max(0, self.budget - quota.unseen - quota.error - expanded)]
        chosen: dict[str, Source] = dict.fromkeys(self.errors[: quota.error], "error")
        chosen |= dict.fromkeys(self.unseen[: quota.unseen], "unseen")
        chosen |= dict.fromkeys(mastered, "mastered")
        return chosen

    def summary(self, expanded: int) -> dict[str, Any]:
        """Counts for ``stage.json``."""
        chosen = Counter(self.chosen(expanded).values())
        total = chosen.total() + expanded
        return {
            "outcomes": dict(sorted(self.outcomes.items())),
            "composition": {**dict(sorted(chosen.items())), "expanded": expanded},
            "quotas": self.quotas.model_dump(),
            "expansion_orders": self.placed,
            "rejected": dict(sorted(self.rejected.items())),
            "samples": total,
            "shortfall": self.budget - total,
        }


def _expand(
    stage: Stage,
    plan: _Plan,
    datasets: Sequence[Dataset],
    answers: Rows[Prediction],
    judge: Judge,
    teacher: Teacher,
    tools: Sequence[Tool],
    axes: Sequence[Axis],
    expansions: int,
    seed: int,
    round: int,
    forbidden: frozenset[str],
    workers: int,
    report: Callable[[str, int, int], None] | None,
) -> int:
    """Write and admit expansions up to their quota; returns how many were admitted."""
    repaired = {r.sample_id: r.new for r in Rows(stage.folder / RULINGS, Ruling, lambda r: r.sample_id) if r.new}

    async def work(unit: tuple[str, str, Axis]) -> Sequence[Record]:
        order_key, sample_id, axis = unit
        rng = unit_rng(seed, "expand", round, order_key)
        sample = _pick(datasets, sample_id)
        sample = sample.model_copy(update={"label": repaired.get(sample_id, sample.label)})
        order = order_for(order_key, sample, next(answers.pick([sample_id])), axis, tools, rng)
        written = await teacher.write(order, rng)
        if isinstance(written, Rejected):
            return [written]
        records: list[Record] = []
        for new, truth in slice_dialogue(
            written, order, stage="expand", round=round, source="expanded", teacher=teacher
        ):
            verdict = (await judge.judge(new.blind(), [new.label], rng))[0]
            records += [Judgement(sample_id=new.id, verdict=verdict), new, *([truth] if truth else [])]
        return records

    admission = Admission(rules=RULES, forbidden=forbidden)
    for data in datasets:
        for sample in data:
            admission.remember(sample)
    waiting = plan_expansions(plan.seeds, axes, expansions)
    admitted = 0
    with stage.writing("expanded.jsonl", TRUTH, JUDGEMENTS, REJECTED) as append:
        while admitted < plan.quotas.expanded:
            units = {u[0]: u for u in (next(waiting, None) for _ in range(plan.quotas.expanded - admitted)) if u}
            if not units:
                break
            plan.placed += len(units)
            mapped = stage.map(
                units, work, concurrent(workers), (Sample, Truth, Judgement), _step(report, "expand")
            )
            for _, records in mapped:
                admitted += _admit(records, admission, append, plan.rejected)
    return admitted


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
                append["expanded.jsonl"](record)
                admitted.add(record.id)
        elif isinstance(record, Truth) and record.sample_id in admitted:
            append[TRUTH](record)
        if refusal is not None:
            append[REJECTED](refusal)
            rejected[refusal.reason] += 1
    return len(admitted)


def _compose(stage: Stage, plan: _Plan, rulings: Rows[Ruling], datasets: Sequence[Dataset], expanded: int) -> None:
    """Write the next training set: kept samples under their ruled labels, then the expansions."""

    def rows() -> Iterator[Sample]:
        for sample_id, source in plan.chosen(expanded).items():
            sample = _pick(datasets, sample_id)
            label = next(rulings.pick([sample_id])).new if sample_id in plan.relabelled else sample.label
            yield sample.model_copy(update={"label": label, "source": source})
        yield from Dataset(stage.folder / "expanded.jsonl")

    stage.write(DATASET, rows())


def _pick(datasets: Sequence[Dataset], sample_id: str) -> Sample:
    return next(next(data.pick([sample_id])) for data in datasets if sample_id in data)


def _step(
    report: Callable[[str, int, int], None] | None, step: str
) -> Callable[[int, int], None] | None:
    return (lambda done, total: report(step, done, total)) if report else None
