from pathlib import Path
from typing import Any

import pytest

from sloop.measures.audit import Truths, audit_dataset, audit_rulings, judge_quality, label_noise, load_truths, repairs
from sloop.records import (
    Axis,
    Label,
    Lineage,
    Message,
    Prediction,
    Ruling,
    Sample,
    Score,
    Source,
    Tool,
    ToolCall,
    Truth,
    Verdict,
)
from sloop.stages.optimize.verify import rule, rule_agreement
from sloop.store import Dataset, predictions_at, write_rows


def tool(name: str) -> Tool:
    return Tool(name=name, parameters={"type": "object", "properties": {"x": {"type": "integer", "default": 0}}})


A, B, C = tool("a"), tool("b"), tool("c")


def call(name: str = "a", **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def label(*calls: ToolCall) -> Label:
    return Label(calls=calls)


def sample(
    text: str,
    given: Label,
    tools: tuple[Tool, ...] = (A, B),
    parent: Sample | None = None,
    axis: Axis | None = None,
    source: Source = "seed",
    group: str = "",
) -> Sample:
    return Sample(
        tools=tools,
        messages=(Message(role="user", content=text),),
        label=given,
        group=group,
        source=source,
        lineage=Lineage(parents=(parent.id,) if parent else (), axis=axis),
    )


def truths(*known: tuple[Sample, Label | None]) -> Truths:
    result = Truths()
    result.learn(s for s, _ in known)
    result.add(Truth(sample_id=s.id, label=right) for s, right in known if right)
    return result


def answer(to: Sample, *calls: ToolCall, error: Any = None) -> Prediction:
    return Prediction(sample_id=to.id, calls=calls, error=error)


def value(found: list[Score], name: str, slice: str = "") -> tuple[float | None, int]:
    (score,) = (score for score in found if score.name == name and score.slice == slice)
    return score.value, score.n


# --- truths -----------------------------------------------------------------------------------------------------


def test_a_row_is_the_truth() -> None:
    one = sample("1", label(call(x=2)))
    known = truths((one, label(call(x=1))))
    assert known.of(one.id) == label(call(x=1))
    assert known.right(one.id, (call(x=1),)) is True
    assert known.right(one.id, (call(x=2),)) is False
    assert known.right(one.id, None) is False


def test_without_a_row_nothing_is_known() -> None:
    one = sample("1", label())
    assert truths((one, None)).right(one.id, ()) is None
    assert Truths().right(one.id, ()) is None


def test_right_is_decided_by_the_tools_schema() -> None:
    one = sample("1", label())
    assert truths((one, label(call(x=0)))).right(one.id, (call(),)) is True


def test_other_tools_on_offer_keep_the_parents_truth_and_not_its_label() -> None:
    parent = sample("1", label(call(x=2)))
    child = sample("1", label(call(x=2)), (A, C), parent, "tools")
    known = truths((parent, label(call(x=1))), (child, label(call(x=2))))
    assert known.of(child.id) == label(call(x=1))


def test_a_contrast_without_the_true_tool_has_no_call() -> None:
    parent = sample("1", label(call("b")))
    child = sample("1", label(), (B, C), parent, "contrast")
    assert truths((parent, label(call("a"))), (child, None)).of(child.id) == label()


def test_a_contrast_to_a_wrong_label_may_still_offer_the_true_tool() -> None:
    parent = sample("1", label(call("b")))
    child = sample("1", label(), (A, C), parent, "contrast")
    known = truths((parent, label(call("a"))), (child, None))
    assert known.of(child.id) == label(call("a"))
    assert known.right(child.id, ()) is False


def test_one_missing_tool_of_two_leaves_no_call() -> None:
    parent = sample("1", label())
    child = sample("1", label(), (A, C), parent, "tools")
    assert truths((parent, label(call("a"), call("b"))), (child, None)).of(child.id) == label()


def test_a_tool_that_comes_back_brings_its_call_back() -> None:
    first = sample("1", label(call("a")))
    without = sample("1", label(), (B, C), first, "contrast")
    again = sample("1", label(), (A, C), without, "tools")
    known = truths((first, label(call("a", x=3))), (without, label()), (again, None))
    assert known.of(without.id) == label()
    assert known.of(again.id) == label(call("a", x=3))


@pytest.mark.parametrize("axis", ["values", "phrasing"])
def test_a_new_request_has_its_own_truth_or_none(axis: Axis) -> None:
    parent = sample("1", label(call()))
    child = sample("2", label(call(x=5)), parent=parent, axis=axis)
    assert truths((parent, label(call())), (child, label(call(x=5)))).of(child.id) == label(call(x=5))
    assert truths((parent, label(call())), (child, None)).of(child.id) is None


def test_a_parent_that_is_unknown_leaves_the_samples_own_row() -> None:
    parent = sample("1", label(call()))
    child = sample("1", label(), (B,), parent, "contrast")
    assert truths((child, label())).of(child.id) == label()
    assert truths((child, None)).of(child.id) is None


def test_samples_that_are_each_others_parent_end() -> None:
    one, other = sample("1", label()), sample("2", label())
    one = one.model_copy(update={"lineage": Lineage(parents=(other.id,), axis="tools")})
    other = other.model_copy(update={"lineage": Lineage(parents=(one.id,), axis="tools")})
    assert truths((one, None), (other, None)).of(one.id) is None


# --- label noise ------------------------------------------------------------------------------------------------


def test_label_noise_is_a_share_of_the_known() -> None:
    rows = [sample(str(k), label(call(x=k)), source="error" if k < 4 else "unseen") for k in range(6)]
    rows.append(sample("unknown", label()))
    rows.append(sample("unlabelled", label()).model_copy(update={"label": None}))
    known = truths(*((row, label(call(x=0 if k < 3 else k))) for k, row in enumerate(rows[:6])), (rows[6], None))
    found = label_noise(rows, known)
    assert value(found, "data/label_noise") == (pytest.approx(2 / 6), 6)
    assert value(found, "data/label_noise", "error") == (0.5, 4)
    assert value(found, "data/label_noise", "unseen") == (0, 2)


def test_label_noise_of_the_unknown_has_no_value() -> None:
    rows = [sample("1", label())]
    assert value(label_noise(rows, truths((rows[0], None))), "data/label_noise") == (None, 0)


# --- the judge --------------------------------------------------------------------------------------------------

RIGHT, WRONG, UNSURE = Verdict(correct=True), Verdict(correct=False), Verdict(correct=None)
CASES = {  # true class: label, prediction (the truth is a call with x=1)
    "PRED_WRONG": (label(call(x=1)), (call(x=2),)),
    "LABEL_WRONG": (label(call(x=2)), (call(x=1),)),
    "BOTH_WRONG": (label(call(x=2)), (call(x=3),)),
}


def case(true: str, number: int) -> tuple[Sample, Prediction]:
    given, calls = CASES[true]
    one = sample(f"{true} {number}", given)
    return one, answer(one, *calls)


def judged(pairs: list[tuple[str, Verdict, Verdict]]) -> tuple[list[Ruling], list[Prediction], Truths]:
    rulings, answers, known = [], [], []
    for number, (true, on_label, on_prediction) in enumerate(pairs):
        one, given = case(true, number)
        rulings.append(rule(one, given, on_label, on_prediction))
        answers.append(given)
        known.append((one, label(call(x=1))))
    return rulings, answers, truths(*known)


def test_a_perfect_judge_is_always_right() -> None:
    found = judge_quality(
        *judged([("PRED_WRONG", RIGHT, WRONG), ("LABEL_WRONG", WRONG, RIGHT), ("BOTH_WRONG", WRONG, WRONG)])
    )
    for name in CASES:
        assert value(found, f"judge/{name}/count") == (1, 3)
        assert value(found, f"judge/{name}/precision") == (1, 1)
        assert value(found, f"judge/{name}/recall") == (1, 1)
    assert value(found, "judge/BOTH_CORRECT/recall") == (None, 0)
    assert value(found, "judge/ABSTAIN/share") == (0, 3)


def test_precision_and_recall_of_a_judge_that_errs() -> None:
    found = judge_quality(
        *judged(
            [
                ("LABEL_WRONG", WRONG, RIGHT),
                ("LABEL_WRONG", RIGHT, WRONG),
                ("PRED_WRONG", WRONG, RIGHT),
                ("PRED_WRONG", RIGHT, WRONG),
                ("PRED_WRONG", RIGHT, WRONG),
            ]
        )
    )
    assert value(found, "judge/LABEL_WRONG/precision") == (0.5, 2)
    assert value(found, "judge/LABEL_WRONG/recall") == (0.5, 2)
    assert value(found, "judge/PRED_WRONG/precision") == (pytest.approx(2 / 3), 3)
    assert value(found, "judge/PRED_WRONG/recall") == (pytest.approx(2 / 3), 3)


def test_an_abstention_is_counted_apart_and_decides_nothing() -> None:
    found = judge_quality(*judged([("PRED_WRONG", RIGHT, UNSURE), ("PRED_WRONG", RIGHT, WRONG)]))
    assert value(found, "judge/ABSTAIN/count") == (1, 2)
    assert value(found, "judge/ABSTAIN/share") == (0.5, 2)
    assert value(found, "judge/PRED_WRONG/recall") == (1, 1)


def test_an_unknown_truth_is_in_counts_alone() -> None:
    rulings, answers, _ = judged([("PRED_WRONG", RIGHT, WRONG)])
    found = judge_quality(rulings, answers, Truths())
    assert value(found, "judge/PRED_WRONG/count") == (1, 1)
    assert value(found, "judge/PRED_WRONG/precision") == (None, 0)


def test_both_may_be_right_and_differ() -> None:
    one = sample("1", label(call(x=1)))
    ordered = truths((one, Label(calls=(call(x=1), call(x=2)))))
    one = one.model_copy(update={"label": Label(calls=(call(x=1), call(x=2)), ordered=True)})
    given = answer(one, call(x=2), call(x=1))
    found = judge_quality([rule(one, given, RIGHT, RIGHT)], [given], ordered)
    assert value(found, "judge/BOTH_CORRECT/precision") == (1, 1)


def test_agreements_are_reported_apart() -> None:
    wrong, clean, unsure = (sample(str(k), label(call(x=k))) for k in (2, 1, 3))
    known = truths(*((one, label(call(x=1))) for one in (wrong, clean, unsure)))
    rulings = [rule_agreement(wrong, WRONG), rule_agreement(clean, RIGHT), rule_agreement(unsure, UNSURE)]
    answers = [answer(wrong, call(x=2)), answer(clean, call(x=1)), answer(unsure, call(x=3))]
    found = judge_quality(rulings, answers, known)
    assert value(found, "judge/AGREED_BOTH_WRONG/count") == (1, 3)
    assert value(found, "judge/AGREED_BOTH_WRONG/precision") == (1, 1)
    assert value(found, "judge/AGREED_BOTH_WRONG/recall") == (1, 1)
    assert value(found, "judge/AGREED_ABSTAIN/count") == (1, 3)
    assert value(found, "judge/BOTH_WRONG/count") == (0, 0)


def test_what_nobody_judged_is_no_ruling_of_the_judge() -> None:
    one, given = case("PRED_WRONG", 0)
    unasked = Ruling(
        sample_id=one.id,
        outcome="PRED_WRONG",
        old=label(call(x=1)),
        new=label(call(x=1)),
        verdict_label=None,
        verdict_prediction=None,
    )
    found = judge_quality([unasked], [given], truths((one, label(call(x=1)))))
    assert value(found, "judge/PRED_WRONG/count") == (0, 0)


# --- repairs ----------------------------------------------------------------------------------------------------


def test_what_became_of_labels() -> None:
    rulings, answers, known = judged(
        [
            ("LABEL_WRONG", WRONG, RIGHT),  # repaired
            ("BOTH_WRONG", WRONG, RIGHT),  # replaced by something just as wrong
            ("BOTH_WRONG", RIGHT, WRONG),  # kept
            ("LABEL_WRONG", WRONG, WRONG),  # dropped
            ("PRED_WRONG", RIGHT, WRONG),  # clean, kept
            ("PRED_WRONG", WRONG, RIGHT),  # clean, damaged
            ("PRED_WRONG", UNSURE, WRONG),  # clean, dropped
        ]
    )
    unjudged = [sample("clean", label(call(x=1))), sample("wrong", label(call(x=2)))]
    known.learn(unjudged)
    known.add(Truth(sample_id=one.id, label=label(call(x=1))) for one in unjudged)
    answers += [answer(unjudged[0], call(x=1)), answer(unjudged[1], call(x=2))]
    answers.append(answer(sample("no answer", label()), error="model"))
    failed = sample("the judge failed", label(call(x=2)))  # its label is wrong and the answer right: no agreement
    known.learn([failed])
    known.add([Truth(sample_id=failed.id, label=label(call(x=1)))])
    answers.append(answer(failed, call(x=1)))
    found = repairs(rulings, answers, {failed.id}, known)
    assert {score.name: (score.value, score.n) for score in found} == {
        "repairs/wrong/repaired": (pytest.approx(1 / 4), 4),
        "repairs/wrong/repaired_of_all": (pytest.approx(1 / 5), 5),
        "repairs/wrong/dropped": (pytest.approx(1 / 4), 4),
        "repairs/wrong/dropped_of_all": (pytest.approx(1 / 5), 5),
        "repairs/wrong/kept": (pytest.approx(2 / 4), 4),
        "repairs/wrong/kept_of_all": (pytest.approx(3 / 5), 5),
        "repairs/clean/damaged": (pytest.approx(1 / 3), 3),
        "repairs/clean/damaged_of_all": (pytest.approx(1 / 4), 4),
        "repairs/clean/dropped": (pytest.approx(1 / 3), 3),
        "repairs/clean/dropped_of_all": (pytest.approx(1 / 4), 4),
        "repairs/clean/kept": (pytest.approx(1 / 3), 3),
        "repairs/clean/kept_of_all": (pytest.approx(2 / 4), 4),
    }


def test_repairs_without_truths_have_no_value() -> None:
    rulings, answers, _ = judged([("LABEL_WRONG", WRONG, RIGHT)])
    assert {(score.value, score.n) for score in repairs(rulings, answers, (), Truths())} == {(None, 0)}


# --- files ------------------------------------------------------------------------------------------------------


def test_files_of_the_stages_are_read_together(tmp_path: Path) -> None:
    seed = sample("1", label(call(x=2)), group="g")
    expanded = sample("1", label(call(x=2)), (A, C), seed, "tools", source="expanded", group="g")
    write_rows(tmp_path / "seed" / "train.jsonl", [seed])
    write_rows(tmp_path / "seed" / "truth.jsonl", [Truth(sample_id=seed.id, label=label(call(x=1)), noise="value")])
    write_rows(tmp_path / "next" / "expanded.jsonl", [expanded])
    write_rows(tmp_path / "next" / "truth.jsonl", [])
    write_rows(tmp_path / "next" / "dataset.jsonl", [expanded])
    paths = [tmp_path / "seed" / "truth.jsonl", tmp_path / "next" / "truth.jsonl"]
    assert load_truths(paths).of(expanded.id) == label(call(x=1))
    assert value(audit_dataset(Dataset(tmp_path / "next" / "dataset.jsonl"), paths), "data/label_noise") == (1, 1)
    given = answer(expanded, call(x=1))
    write_rows(tmp_path / "predictions.jsonl", [given])
    found = audit_rulings(
        [rule(expanded, given, WRONG, RIGHT)], predictions_at(tmp_path / "predictions.jsonl"), (), paths
    )
    assert value(found, "judge/LABEL_WRONG/precision") == (1, 1)
    assert value(found, "repairs/wrong/repaired") == (1, 1)


def test_samples_of_one_dialogue_are_one_cluster() -> None:
    def noise(shared: bool) -> Score:
        rows = [sample(str(k), label(call(x=int(k < 10))), group=f"g{k // 2 if shared else k}") for k in range(40)]
        return label_noise(rows, truths(*((row, label(call(x=0))) for row in rows)))[0]

    together, apart = noise(True), noise(False)
    assert together.value == apart.value == 0.25
    assert together.high is not None
    assert apart.high is not None
    assert together.high > apart.high
