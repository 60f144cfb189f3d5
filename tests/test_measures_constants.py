"""Answers that read no question, by every benchmark's own grader, and the headline that none of them wins."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from kinds.scores import KINDS, Asked
from phonebook_student import two_step

from sloop.benchmarks.base import SampleBenchmark, SampleEpisode
from sloop.measures.constants import HEADLINE, constant_grades, constant_of, headline_scores, named
from sloop.measures.metrics import METRICS, grade, scores
from sloop.records import Grade, Label, Message, Prediction, Sample, Score, Tool, ToolCall


def samples(asked: Sequence[Asked]) -> list[Sample]:
    """Questions of a set: the tools on offer and the call that is right, if any."""
    return [
        Sample(
            tools=tuple(Tool(name=name, description="", parameters={"type": "object"}) for name in offered),
            messages=(Message(role="user", content=f"request {number}"),),
            label=Label(calls=tuple(ToolCall(name=name, arguments=arguments) for name, arguments in wanted)),
        )
        for number, (offered, wanted) in enumerate(asked)
    ]


def accuracies(given: Sequence[Sample]) -> dict[str, tuple[float, float | None]]:
    """Call accuracy and headline of each constant answer, per cent."""

    found = {}
    for answer, grades in constant_grades(lambda: map(episode, given))[1].items():
        values = {s.name: s.value for s in [*headline_scores(grades), *scores(grades)] if not s.slice}
        call, headline = (values[name] for name in ("call_accuracy", HEADLINE))
        found[answer] = round((call or 0.0) * 100, 1), None if headline is None else round(headline * 100, 1)
    return found


def episode(sample: Sample) -> SampleEpisode:
    """A question that is asked alone."""
    return SampleEpisode((sample,), grade)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_constant_answers_get(kind) -> None:
    assert accuracies(samples(kind.given)) == kind.comes


def test_always_refusing_gets_a_third_of_the_shipped_set_and_nothing_of_the_headline() -> None:
    benchmark = SampleBenchmark(name="bench", path="sloop_bench/dev.jsonl.gz")
    _, graded = constant_grades(benchmark.episodes)
    found = {
        (answer, score.name): score.value
        for answer, grades in graded.items()
        for score in [*headline_scores(grades), *benchmark.score(grades)]
        if not score.slice
    }
    assert found["always_refuse", "call_accuracy"] == pytest.approx(1 / 3)
    assert found["always_refuse", "no_call_accuracy"] == 1.0
    assert found["most_frequent_tool", "call_accuracy"] < 0.05
    assert found["most_frequent_tool", "tool_accuracy"] > 0.3
    assert found["always_refuse", HEADLINE] == found["most_frequent_tool", HEADLINE] == 0.0


def test_episodes_of_several_steps_are_played_to_their_end(tmp_path) -> None:
    benchmark = two_step(tmp_path, num_tasks=6)
    asked, graded = constant_grades(benchmark.episodes)
    assert {answer: [g.correct for g in grades] for answer, grades in graded.items()} == {
        "always_refuse": [False] * 6,
        "most_frequent_tool": [False] * 6,
    }
    assert asked.called.most_common(1)[0][0] == "find_number"


def test_what_is_asked_is_known_by_its_prompts_and_its_tools() -> None:
    def known(given: Sequence[Sample]) -> dict[str, str]:
        return constant_grades(lambda: map(episode, given))[0].identity()

    first = samples([(["a", "b"], [("a", {})]), (["b"], [])])
    told = Message(role="system", content="Be kind.")
    prompted = [sample.model_copy(update={"messages": (told, *sample.messages)}) for sample in first]
    more = [
        sample.model_copy(update={"tools": (*sample.tools, Tool(name="z", description="", parameters={}))})
        for sample in first
    ]
    before = known(first)
    assert known(first) == before
    for changed, differs in ((prompted, {"prompt"}), (more, {"tools"})):
        assert {name for name, value in known(changed).items() if value != before[name]} == differs


def test_answers_that_could_not_be_had_are_in_no_headline() -> None:
    given = samples([(["a"], [("a", {})]), (["a"], []), (["a"], [])])
    grades: list[Grade] = [
        grade(given[0], Prediction(sample_id=given[0].id, calls=given[0].label.calls if given[0].label else ())),
        grade(given[1], Prediction(sample_id=given[1].id)),
        grade(given[2], Prediction(sample_id=given[2].id, error="model")),
    ]
    (found,) = headline_scores(grades)
    assert (found.value, found.n) == (1.0, 2)


def test_slices_have_a_headline_where_they_hold_both_kinds() -> None:
    given = [
        sample.model_copy(update={"slice": part})
        for part, sample in zip("mmc", samples([(["a"], [("a", {})]), (["a"], []), (["a"], [("a", {})])]), strict=True)
    ]
    grades = [grade(sample, Prediction(sample_id=sample.id)) for sample in given]
    assert [(score.slice, score.value) for score in headline_scores(grades)] == [("", 0.0), ("m", 0.0)]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("eval/dev/baseline/always_refuse/call_accuracy", ("always_refuse", "eval/dev/call_accuracy")),
        ("baseline/always_refuse/call_accuracy", ("always_refuse", "call_accuracy")),
        ("eval/baseline/baseline/x/official/y", ("x", "eval/baseline/official/y")),
        ("eval/baseline/call_accuracy", None),
        ("eval/dev/call_accuracy", None),
    ],
)
def test_the_name_of_a_constant_answers_score_is_taken_apart(name: str, told: tuple[str, str] | None) -> None:
    assert constant_of(name) == told


def test_a_score_is_named_after_its_answer() -> None:
    for metric in METRICS:
        assert constant_of(named("always_refuse", Score(name=metric, value=None, n=0)).name) == (
            "always_refuse",
            metric,
        )
