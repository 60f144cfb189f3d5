"""The optimize stage from end to end, with a stranger's teacher, judge and student."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from acme_tools import CountingTrainer, EchoTeacher, LookupStudent, StrictJudge

from sloop.calls.wording import request_key
from sloop.engine.build import Components
from sloop.engine.executor import Local
from sloop.engine.stage import Place, run_stage
from sloop.records import (
    Decode,
    Judgement,
    Label,
    Prediction,
    Rejected,
    Ruling,
    ToolCall,
    Truth,
    UserError,
    Verdict,
)
from sloop.records.ranges import checked
from sloop.stages.gen import Gen, GenSettings
from sloop.stages.optimize.compose import Shares
from sloop.stages.optimize.stage import (
    DATASET,
    EXPANDED,
    JUDGEMENTS,
    REJECTED,
    RULINGS,
    TRUTH,
    UNJUDGED,
    Optimize,
    OptimizeSettings,
    agrees,
    unjudged_at,
)
from sloop.stages.probe import PREDICTIONS, Probe
from sloop.stages.samplers import RandomSampler
from sloop.stages.train import Start, Train, checkpoint_of
from sloop.store import Dataset, line_of, predictions_at, read_rows, write_rows
from sloop.tools.sources import load_tools

TOOLS = load_tools(Path(__file__).parent / "plugin" / "acme_tools.json")
AXES = ("values", "phrasing", "tools", "contrast")
SHARES = Shares(unseen=0.3, unseen_decay=0.5, error=0.2, expanded=0.4, expansions=4, no_call=0.4)
SETTINGS = OptimizeSettings(judge_agreements=True, similarity=0.8, axes=AXES, shares=SHARES)
FILES = (DATASET, RULINGS, UNJUDGED, EXPANDED, TRUTH, JUDGEMENTS, REJECTED, "stage.json")
BUDGET = 100


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """A trained-on dataset, an unseen one, and a half-skilled student's answers to both."""
    root = tmp_path_factory.mktemp("probed")
    wanted = Gen(
        tools=TOOLS,
        teacher=EchoTeacher(error_rate=0.25),
        sampler=RandomSampler(),
        settings=GenSettings(kinds={"single": 0.6, "irrelevant": 0.3, "incomplete": 0.1}, offered=(2, 4), contrast=0.5),
        num_samples=130,
        seed=3,
        train_split=0.75,
    )
    pool = run_stage(wanted, Place(root / "pool"))
    data, unseen = pool.dataset("train.jsonl"), pool.dataset("dev.jsonl")
    student = LookupStudent(name="lookup", skill=0.3)
    first = checkpoint_of(run_stage(Start(student=student, data=data, seed=1), Place(root / "start")))
    training = Train(trainer=CountingTrainer(gain=0.2), start=first, data=data, steps=2, seed=1)
    trained = checkpoint_of(run_stage(training, Place(root / "train")))
    asked = Probe(data=[data, unseen], student=student, checkpoint=trained, decode=Decode(), batch_size=16)
    answered = run_stage(asked, Place(root / "probe"))
    path = answered.folder / PREDICTIONS
    return SimpleNamespace(
        data=data,
        unseen=unseen,
        predictions=path,
        samples={s.id: s for part in (data, unseen) for s in part},
        answers={a.sample_id: a for a in predictions_at(path)},
        truths={t.sample_id: t for t in read_rows(pool.folder / "truth.jsonl", Truth)},
    )


def _optimize(out, probed, *, settings=SETTINGS, judge=None, teacher=None, seed=1, workers=1, report=None, **changes):
    arguments = {
        "data": probed.data,
        "unseen": probed.unseen,
        "predictions": probed.predictions,
        "judge": judge or StrictJudge(abstain=0.1),
        "teacher": teacher or EchoTeacher(error_rate=0.25),
        "tools": TOOLS,
        "settings": settings,
        "budget": BUDGET,
        "seed": seed,
        "round": 1,
    }
    executor = Local(Components(), workers)
    return run_stage(Optimize(**{**arguments, **changes}), Place(out, executor=executor, report=report))


@pytest.fixture(scope="module")
def made(probed, tmp_path_factory):
    """One optimize stage, read by most tests."""
    return _optimize(tmp_path_factory.mktemp("made"), probed)


def _rulings(stage):
    return {r.sample_id: r for r in read_rows(stage.folder / RULINGS, Ruling)}


def _set(stage):
    return {s.id: s for s in Dataset(stage.folder / DATASET)}


def _bytes(stage):
    return {name: (stage.folder / name).read_bytes() for name in FILES}


# --- verify -------------------------------------------------------------------------------------------------------


def test_every_judged_sample_has_one_ruling_and_every_outcome_occurs(probed, made):
    rulings = _rulings(made)
    assert set(rulings) == set(probed.samples)
    assert {r.outcome for r in rulings.values()} >= {"PRED_WRONG", "LABEL_WRONG", "BOTH_WRONG", "ABSTAIN"}


def test_agreements_are_judged_only_where_that_is_asked_for(tmp_path, probed):
    settings = SETTINGS.model_copy(update={"judge_agreements": False})
    rulings = _rulings(_optimize(tmp_path, probed, settings=settings))
    disagreed = {i for i, sample in probed.samples.items() if not agrees(sample, probed.answers[i])}
    assert set(rulings) == disagreed
    assert all(r.verdict_prediction is not None for r in rulings.values())


def test_verdicts_stand_by_the_answer_that_they_are_about(probed, made):
    """Whichever of the two was shown first: this judge never errs where it does not abstain."""
    told = [r for r in _rulings(made).values() if r.outcome in ("PRED_WRONG", "LABEL_WRONG")]
    for ruling in told:
        label_is_right = probed.truths[ruling.sample_id].noise is None
        assert ruling.verdict_label.correct is label_is_right is not ruling.verdict_prediction.correct
    assert len(told) > 30


def test_a_repaired_label_is_the_students_answer_and_a_kept_one_the_old(probed, made):
    for ruling in _rulings(made).values():
        answer = probed.answers[ruling.sample_id].answer
        expected = {"LABEL_WRONG": answer, "BOTH_WRONG": None, "ABSTAIN": None}.get(ruling.outcome, ruling.old)
        assert ruling.new == expected
        assert ruling.old == probed.samples[ruling.sample_id].label


def test_the_label_is_not_always_shown_in_the_same_place(tmp_path, probed):
    class Spy(StrictJudge):
        async def judge(self, sample, answers, rng):
            assert sample == sample.blind()
            if len(answers) == 2:
                first.append(answers[0] == probed.samples[sample.id].label)
            return await super().judge(sample, answers, rng)

    first = []
    _optimize(tmp_path, probed, judge=Spy(abstain=0.0))
    assert {True, False} == set(first)


def test_a_sample_that_the_student_could_not_be_asked_is_not_judged_and_leaves(tmp_path, probed):
    lost = probed.data.ids()[0]
    answers = [
        Prediction(sample_id=lost, error="model") if a.sample_id == lost else a
        for a in predictions_at(probed.predictions)
    ]
    write_rows(tmp_path / "predictions.jsonl", answers)
    stage = _optimize(tmp_path / "out", probed, predictions=tmp_path / "predictions.jsonl", budget=1000)
    assert lost not in _rulings(stage)
    assert lost not in _set(stage)
    assert [r.reason for r in read_rows(stage.folder / UNJUDGED, Rejected)] == ["no_answer"]


# --- the next set -------------------------------------------------------------------------------------------------


def test_relabelled_samples_carry_the_students_answer(probed, made):
    rulings, samples = _rulings(made), _set(made)
    relabelled = [i for i, r in rulings.items() if r.outcome == "LABEL_WRONG" and i in samples]
    assert relabelled
    for sample_id in relabelled:
        assert samples[sample_id].label == probed.answers[sample_id].answer != probed.samples[sample_id].label


def test_samples_that_were_kept_carry_their_old_label(probed, made):
    rulings = _rulings(made)
    kept = [s for i, s in _set(made).items() if i in rulings and rulings[i].outcome in ("PRED_WRONG", "BOTH_CORRECT")]
    assert kept
    assert all(s.label == probed.samples[s.id].label for s in kept)


def test_undecided_and_doubly_wrong_samples_leave(made):
    gone = {i for i, r in _rulings(made).items() if r.outcome in ("ABSTAIN", "BOTH_WRONG")}
    assert gone
    assert not gone & set(_set(made))


def test_sources_say_why_a_sample_is_there(probed, made):
    rulings, trained = _rulings(made), set(probed.data.ids())
    for sample_id, sample in _set(made).items():
        if sample.source == "expanded":
            assert sample_id not in probed.samples
        elif sample.source == "unseen":
            assert sample_id not in trained
        else:
            failed = rulings[sample_id].outcome in ("PRED_WRONG", "LABEL_WRONG")
            assert sample.source == ("error" if failed else "mastered")


def test_the_summary_adds_up(probed, made):
    summary, samples = made.summary, _set(made)
    outcomes = Counter(
        f"AGREED_{r.outcome}" if r.verdict_prediction is None else r.outcome for r in _rulings(made).values()
    )
    assert summary.outcomes == outcomes
    assert outcomes.total() == len(probed.samples)
    assert {k: v for k, v in summary.composition.items() if v} == Counter(s.source for s in samples.values())
    assert summary.samples == len(samples)
    assert summary.samples + summary.shortfall == BUDGET
    rejected = Counter(r.reason for r in read_rows(made.folder / REJECTED, Rejected))
    assert summary.rejected == rejected
    assert summary.expansion_orders >= summary.composition["expanded"] + rejected.total()


def test_too_few_samples_are_a_shortfall_that_is_reported(tmp_path, probed):
    stage = _optimize(tmp_path, probed, budget=1000)
    assert stage.summary.shortfall == 1000 - len(_set(stage)) > 0


# --- expansions ---------------------------------------------------------------------------------------------------


def test_expansions_are_let_in_only_where_the_judge_accepts_them(made):
    verdicts = {j.sample_id: j.verdict for j in read_rows(made.folder / JUDGEMENTS, Judgement)}
    expanded = list(Dataset(made.folder / EXPANDED))
    assert expanded
    assert all(verdicts[s.id].correct for s in expanded)
    assert made.summary.rejected["judged_wrong"] > 0


def test_a_judge_that_accepts_nothing_lets_no_expansion_in(tmp_path, probed):
    class Stern(StrictJudge):
        async def judge(self, sample, answers, rng):
            if len(answers) == 1:
                return [Verdict(correct=False)]
            return await super().judge(sample, answers, rng)

    stage = _optimize(tmp_path, probed, judge=Stern(abstain=0.0))
    assert stage.summary.composition["expanded"] == 0
    assert set(stage.summary.rejected) == {"judged_wrong"}
    assert stage.summary.expansion_orders > 0


def test_where_student_and_label_are_wrong_all_over_the_set_is_written_anew(tmp_path, probed):
    """As where labels are of an older schema: nothing can be repaired, and no failure can be expanded."""
    nowhere = (ToolCall(name="nowhere", arguments={}),)
    write_rows(tmp_path / "data.jsonl", [s.model_copy(update={"label": Label(calls=nowhere)}) for s in probed.data])
    answers = [Prediction(sample_id=s.id, calls=nowhere) for s in probed.data]
    write_rows(tmp_path / "answers.jsonl", answers)
    stage = _optimize(
        tmp_path / "out", probed, data=Dataset(tmp_path / "data.jsonl"), unseen=None,
        predictions=tmp_path / "answers.jsonl", judge=StrictJudge(abstain=0.0), teacher=EchoTeacher(error_rate=0.0),
    )  # fmt: skip
    assert stage.summary.outcomes == {"AGREED_BOTH_WRONG": len(answers)}
    assert stage.summary.composition == {"expanded": BUDGET}
    assert {s.kind for s in Dataset(stage.folder / DATASET)} == {s.kind for s in probed.data}
    assert all(not s.lineage.parents and s.lineage.axis is None for s in Dataset(stage.folder / DATASET))


def test_every_axis_is_used(made):
    assert {s.lineage.axis for s in Dataset(made.folder / EXPANDED)} == set(AXES)


def test_one_axis_alone_is_used_alone(tmp_path, probed):
    stage = _optimize(tmp_path, probed, settings=SETTINGS.model_copy(update={"axes": ("phrasing",)}))
    assert {s.lineage.axis for s in Dataset(stage.folder / EXPANDED)} == {"phrasing"}


def test_an_expansion_stays_in_the_group_of_its_seed_and_names_it(probed, made):
    rulings = _rulings(made)
    for sample in Dataset(made.folder / EXPANDED):
        (parent,) = sample.lineage.parents
        assert rulings[parent].outcome in ("PRED_WRONG", "LABEL_WRONG")
        assert sample.group == probed.samples[parent].group
        assert (sample.source, sample.lineage.stage, sample.lineage.round) == ("expanded", "expand", 1)


def test_expansions_without_a_call_are_never_more_than_their_share_of_the_orders(tmp_path, probed):
    shares = SHARES.model_copy(update={"no_call": 0.0})
    stage = _optimize(tmp_path, probed, settings=SETTINGS.model_copy(update={"shares": shares}))
    assert all(s.label.calls for s in Dataset(stage.folder / EXPANDED))
    assert all(s.label.calls for s in _set(stage).values() if s.source == "error")


def test_an_expansion_repeats_no_request_of_the_benchmark(tmp_path, probed, made):
    forbidden = frozenset(request_key(s.request) for s in Dataset(made.folder / EXPANDED) if s.lineage.axis == "tools")
    assert forbidden
    stage = _optimize(tmp_path, probed, forbidden=forbidden)
    assert not {request_key(s.request) for s in Dataset(stage.folder / EXPANDED)} & forbidden
    assert stage.summary.rejected["in_benchmark"] > 0


def test_the_truth_is_written_of_the_admitted_expansions_alone(made):
    truths = [t.sample_id for t in read_rows(made.folder / TRUTH, Truth)]
    assert truths == Dataset(made.folder / EXPANDED).ids()


def test_seeds_are_handed_over_under_their_repaired_label_with_the_mistake(tmp_path, probed):
    orders = []

    class Spy(EchoTeacher):
        async def write(self, order, rng):
            orders.append(order)
            return await super().write(order, rng)

    rulings = _rulings(_optimize(tmp_path, probed, teacher=Spy(error_rate=0.0)))
    assert orders
    for order in orders:
        assert order.seed.label == rulings[order.seed.id].new
        assert order.mistake == probed.answers[order.seed.id]


# --- bytes and mistakes -------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path, probed, made):
    assert _bytes(_optimize(tmp_path / "a", probed)) == _bytes(made)
    assert _bytes(_optimize(tmp_path / "b", probed, workers=8)) == _bytes(made)


def test_another_seed_gives_another_set(tmp_path, probed, made):
    assert set(_set(_optimize(tmp_path, probed, seed=2))) != set(_set(made))


@pytest.mark.parametrize("after", [20, 140, 180])
def test_an_interrupted_stage_ends_with_the_same_bytes(tmp_path, probed, made, after):
    judge = StrictJudge(abstain=0.1)
    asked = []

    async def killed(sample, answers, rng):
        asked.append(sample.id)
        if len(asked) == after:
            raise KeyboardInterrupt
        return await StrictJudge.judge(judge, sample, answers, rng)

    judge.judge = killed
    with pytest.raises(KeyboardInterrupt):
        _optimize(tmp_path, probed, judge=judge)
    assert _bytes(_optimize(tmp_path, probed)) == _bytes(made)


def test_without_unseen_data_the_set_is_made_of_the_rest(tmp_path, probed):
    stage = _optimize(tmp_path, probed, unseen=None)
    assert "unseen" not in stage.summary.composition
    assert stage.summary.quotas.unseen == 0


def test_axes_must_be_given():
    with pytest.raises(UserError, match=r"optimize\.axes"):
        checked(OptimizeSettings, SETTINGS.model_dump() | {"axes": ()}, "optimize")


def test_predictions_that_lack_a_sample_are_a_mistake_of_the_readers(tmp_path, probed):
    first, *rest = predictions_at(probed.predictions)
    write_rows(tmp_path / "predictions.jsonl", rest)
    with pytest.raises(UserError, match=first.sample_id):
        _optimize(tmp_path / "out", probed, predictions=tmp_path / "predictions.jsonl")


def test_an_answer_agrees_by_the_strict_comparator(probed):
    sample = next(s for s in probed.samples.values() if s.label.calls)
    same = Prediction(sample_id=sample.id, calls=sample.label.calls, content="other words")
    assert agrees(sample, same)
    assert not agrees(sample, same.model_copy(update={"error": "truncated"}))
    assert not agrees(sample, Prediction(sample_id=sample.id))
    assert not agrees(sample.model_copy(update={"label": None}), same)


def test_a_sample_without_a_label_is_not_judged_and_leaves(tmp_path, probed):
    rows = [json.loads(line_of(s)) for s in probed.data]
    rows[0]["label"] = None
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = _optimize(tmp_path / "out", probed, data=Dataset(tmp_path / "x.jsonl"), budget=1000)
    assert [r.reason for r in read_rows(stage.folder / UNJUDGED, Rejected)] == ["no_label"]
    assert rows[0]["id"] not in _set(stage)
    assert stage.summary.unjudged == 1


def test_a_sample_at_which_the_judge_failed_leaves(tmp_path, probed):
    lost = probed.data.ids()[0]

    class Failing(StrictJudge):
        async def judge(self, sample, answers, rng):
            if sample.id == lost:
                raise ConnectionError("gone")
            return await super().judge(sample, answers, rng)

    stage = _optimize(tmp_path / "out", probed, judge=Failing(abstain=0.0), budget=1000)
    assert [r.reason for r in read_rows(stage.folder / UNJUDGED, Rejected)] == ["failed:ConnectionError"]
    assert unjudged_at(stage.folder) == {lost}
    assert lost not in _set(stage)
