from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.formats import parse
from sloop.environments.domains import make_environment
from sloop.environments.files import Files
from sloop.environments.phonebook import Phonebook
from sloop.measures.metrics import METRICS, grade, pass_hat_scores, scores, worth_showing
from sloop.records import EnvSpec, Grade, Label, Message, Prediction, Sample, Score, Tool, ToolCall, UserError

WEATHER = Tool(
    name="weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
CLOCK = Tool(name="clock", parameters={"type": "object", "properties": {}})


def call(name: str = "weather", /, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


ROME = call(city="Rome")
CLOCK_CALL = call("clock")


def sample(*calls: ToolCall, text: str = "?", group: str = "", slice: str = "") -> Sample:
    messages = (Message(role="user", content=text),)
    return Sample(tools=(WEATHER, CLOCK), messages=messages, label=Label(calls=calls), group=group, slice=slice)


def answer(to: Sample, text: str) -> Prediction:
    parsed = parse("hermes", text)
    return Prediction(sample_id=to.id, text=text, calls=parsed.calls, content=parsed.content, error=parsed.error)


def graded(asked: Sample, *calls: ToolCall, **fields: Any) -> Grade:
    return grade(asked, Prediction(sample_id=asked.id, calls=calls, **fields))


def by_name(grades: list[Grade], slice: str = "") -> dict[str, Score]:
    return {score.name: score for score in scores(grades) if score.slice == slice}


def values(*grades: Grade) -> dict[str, float | None]:
    return {name: score.value for name, score in by_name(list(grades)).items()}


def sizes(*grades: Grade) -> dict[str, int]:
    return {name: score.n for name, score in by_name(list(grades)).items()}


# --- one answer -------------------------------------------------------------------------------------------------


def test_a_right_call() -> None:
    result = graded(sample(ROME), ROME)
    assert result.correct
    assert result.tool_correct
    assert result.schema_valid
    assert result.argument_pairs == (1, 1)
    assert result.reason is None


def test_the_right_tool_with_wrong_arguments() -> None:
    result = graded(sample(ROME), call(city="Bari"))
    assert (result.correct, result.tool_correct, result.argument_pairs) == (False, True, (0, 1))
    assert result.reason == "value:weather.city"


def test_the_wrong_tool_has_no_arguments_to_be_right() -> None:
    result = graded(sample(ROME), call("clock"))
    assert (result.correct, result.tool_correct, result.argument_pairs) == (False, False, (0, 0))


def test_a_call_against_the_schema_is_parsed_and_not_valid() -> None:
    result = graded(sample(ROME), call(city="Rome", mayor="x"))
    assert (result.parsed, result.schema_valid) == (True, False)


def test_no_call_where_none_is_wanted() -> None:
    result = graded(sample(), content="No suitable tool.")
    assert (result.correct, result.attempted, result.schema_valid, result.tool_correct) == (True, False, None, None)


@pytest.mark.parametrize("text", ["<tool_call>", '<tool_call>{"name":', "<tool_call>\n{}\n</tool_call>"])
def test_a_broken_call_is_an_attempt_even_where_no_call_is_wanted(text: str) -> None:
    asked = sample()
    result = grade(asked, answer(asked, text))
    assert (result.attempted, result.parsed, result.correct) == (True, False, False)
    assert values(result)["no_call_accuracy"] == 0
    assert values(result)["format_correctness"] == 0


def test_an_answer_cut_off_in_prose_earns_nothing_either_way() -> None:
    wanted = graded(sample(ROME), text="Well, let me", error="truncated")
    unwanted = graded(sample(), text="Well, let me", error="truncated")
    assert values(wanted)["false_refusal_rate"] == 0
    assert values(wanted)["call_accuracy"] == 0
    assert values(unwanted)["no_call_accuracy"] == 0
    assert sizes(wanted, unwanted)["format_correctness"] == 0


def test_an_answer_cut_off_in_a_call_is_a_failed_attempt() -> None:
    result = graded(sample(ROME), text='<tool_call>{"name": "wea', error="truncated")
    assert values(result)["false_refusal_rate"] == 0
    assert values(result)["format_correctness"] == 0
    assert result.reason == "truncated: the answer was cut off"


def test_no_answer_is_not_wrong() -> None:
    result = graded(sample(ROME), error="model")
    assert (result.correct, result.tool_correct, result.schema_valid) == (None, None, None)


def test_a_sample_without_a_label_cannot_be_graded() -> None:
    asked = sample().model_copy(update={"label": None})
    with pytest.raises(UserError, match="no label"):
        graded(asked)


def test_an_answer_to_another_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="graded against"):
        grade(sample(), Prediction(sample_id="x"))


def test_a_sample_without_a_group_is_its_own_cluster() -> None:
    asked = sample()
    assert graded(asked).cluster == asked.id
    assert graded(sample(group="g")).cluster == "g"


# --- many answers -----------------------------------------------------------------------------------------------


def test_every_metric_over_its_denominator() -> None:
    both = (ROME, call("clock"))
    grades = [
        graded(sample(ROME, text="1"), ROME),
        graded(sample(ROME, text="2"), call(city="Bari")),
        graded(sample(ROME, text="3"), call("clock")),
        graded(sample(ROME, text="4"), content="No suitable tool."),
        graded(sample(*both, text="5"), call("clock"), call(city=1)),
        graded(sample(text="6"), content="Hello."),
        graded(sample(text="7"), ROME),
        graded(sample(ROME, text="8"), text="<tool_call>", error="format"),
        graded(sample(ROME, text="10"), text="[TOOL_CALLS]", error="format", recovered=(call(city="Bari"),)),
        graded(sample(ROME, text="9"), error="model"),
    ]
    assert sizes(*grades) == {
        "call_accuracy": 9,
        "tool_accuracy": 7,
        "argument_accuracy": 4,
        "format_correctness": 7,
        "format_recovered": 7,
        "no_call_accuracy": 2,
        "false_refusal_rate": 7,
        "model_errors": 10,
    }
    assert values(*grades) == pytest.approx(
        {
            "call_accuracy": 2 / 9,
            "tool_accuracy": 3 / 7,
            "argument_accuracy": 2 / 4,
            "format_correctness": 4 / 7,
            "format_recovered": 5 / 7,
            "no_call_accuracy": 1 / 2,
            "false_refusal_rate": 1 / 7,
            "model_errors": 1 / 10,
        }
    )


def test_silence_earns_only_what_asks_for_silence() -> None:
    silent = [graded(sample(ROME, text=str(k))) for k in range(8)] + [graded(sample(text=f"no {k}")) for k in range(2)]
    assert values(*silent) == {
        "call_accuracy": 0.2,
        "tool_accuracy": 0.0,
        "argument_accuracy": None,
        "format_correctness": None,
        "format_recovered": None,
        "no_call_accuracy": 1.0,
        "false_refusal_rate": 1.0,
        "model_errors": 0.0,
    }


def test_what_a_lenient_reading_gets_is_told_beside_the_strict_one_and_earns_nothing_else() -> None:
    strictly = graded(sample(ROME), text="x", error="format")
    leniently = graded(sample(ROME), text="x", error="format", recovered=(ROME,))
    against_its_schema = graded(sample(ROME), text="x", error="format", recovered=(call(city=1),))
    assert [one.recovered for one in (strictly, leniently, against_its_schema)] == [False, True, False]
    assert leniently.model_copy(update={"recovered": False}) == strictly
    told = [score.name for score in worth_showing(scores([leniently]))]
    assert "format_recovered" in told
    assert [score.name for score in worth_showing(scores([strictly]))] == [n for n in told if n != "format_recovered"]


@pytest.mark.parametrize("thinking", [False, True])
def test_a_call_drafted_in_a_thought_that_was_cut_off_is_no_attempt(thinking: bool) -> None:
    text = f"{'' if thinking else '<think>'}I could say [TOOL_CALLS]f[ARGS] or"
    one = graded(sample(ROME), text=text, error="truncated", thinking=thinking)
    assert (one.attempted, one.correct) == (False, False)


def test_a_student_that_never_answers_has_no_accuracy() -> None:
    grades = [graded(sample(text=str(k)), error="model") for k in range(3)]
    assert values(*grades)["call_accuracy"] is None
    assert values(*grades)["no_call_accuracy"] is None
    assert values(*grades)["model_errors"] == 1


def test_slices_are_scored_apart_and_together() -> None:
    grades = [
        graded(sample(ROME, text="1", slice="seen"), ROME),
        graded(sample(ROME, text="2", slice="unseen"), call("clock")),
    ]
    assert by_name(grades)["call_accuracy"].value == 0.5
    assert by_name(grades, "seen")["call_accuracy"].value == 1
    assert by_name(grades, "unseen")["call_accuracy"].value == 0
    assert len(scores(grades)) == 3 * len(METRICS)


def test_contrast_pairs_count_as_clusters() -> None:
    def grades(paired: bool) -> list[Grade]:
        return [
            graded(sample(ROME, text=str(k), group=f"g{k // 2 if paired else k}"), *([ROME] if k < 20 else []))
            for k in range(40)
        ]

    pairs, singles = by_name(grades(True))["call_accuracy"], by_name(grades(False))["call_accuracy"]
    assert pairs.value == singles.value
    assert pairs.high is not None
    assert singles.high is not None
    assert pairs.high > singles.high


def test_nothing_graded_gives_every_metric_without_a_value() -> None:
    assert [(score.value, score.n) for score in scores([])] == [(None, 0)] * len(METRICS)


GRADES = st.builds(
    lambda asked, given_calls, error: graded(asked, *(() if error else given_calls), error=error),
    st.builds(
        lambda calls, text, slice: sample(*calls, text=text, slice=slice),
        st.sampled_from([(), (ROME,), (ROME, ROME)]),
        st.text(max_size=3),
        st.sampled_from(["", "a", "b"]),
    ),
    st.sampled_from([(), (ROME,), (call("clock"),), (call(city=1),)]),
    st.sampled_from([None, None, None, "format", "truncated", "model"]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(GRADES, max_size=12), st.randoms(use_true_random=False))
def test_order_of_grades_changes_nothing_and_shares_are_shares(grades: list[Grade], rng: Any) -> None:
    before = scores(grades)
    for score in before:
        assert (score.value is None) == (score.n == 0)
        assert score.value is None or 0 <= score.value <= 1
    shuffled = list(grades)
    rng.shuffle(shuffled)
    assert scores(shuffled) == before


@settings(deadline=None, max_examples=60)
@given(GRADES)
def test_right_is_tools_and_arguments_right_or_no_call_attempted(one: Grade) -> None:
    if one.correct and one.calls_expected:
        assert one.tool_correct
        assert one.argument_pairs[0] == one.argument_pairs[1] > 0
    if one.correct and not one.calls_expected:
        assert not one.attempted


# --- several answers to a sample ---


def test_pass_hat_is_told_for_every_k_and_slice_and_leaves_out_what_was_not_answered() -> None:
    easy, hard = sample(ROME, text="easy", slice="a"), sample(ROME, text="hard", slice="b")
    grades = [
        *(graded(easy, ROME) for _ in range(3)),
        graded(hard, ROME),
        graded(hard, call(city="Oslo")),
        graded(hard, error="model"),
    ]
    found = {(score.name, score.slice): score for score in pass_hat_scores(grades, 3)}
    assert {name for name, _ in found} == {"flip_rate", "pass_hat_1", "pass_hat_2", "pass_hat_3"}
    assert (found["flip_rate", ""].value, found["flip_rate", "a"].value, found["flip_rate", "b"].value) == (0.5, 0, 1)
    assert [found["pass_hat_1", part].value for part in ("", "a", "b")] == [0.75, 1.0, 0.5]
    assert [found["pass_hat_2", part].value for part in ("", "a", "b")] == [0.5, 1.0, 0.0]
    assert [(found["pass_hat_3", part].value, found["pass_hat_3", part].n) for part in ("", "b")] == [
        (1.0, 1),
        (None, 0),
    ]


def test_the_answers_to_one_sample_are_one_cluster_in_every_metric() -> None:
    samples = [sample(ROME, text=str(number)) for number in range(20)]
    grades = [graded(one, ROME if number < 12 else CLOCK_CALL) for number, one in enumerate(samples)]
    once, thrice = (by_name(grades * times)["call_accuracy"] for times in (1, 3))
    assert (once.value, once.n, thrice.n) == (thrice.value, 20, 60)
    assert once.low is not None
    assert thrice.low is not None
    assert thrice.low <= once.low


# --- calls that are run -------------------------------------------------------------------------------------------

BOOK = EnvSpec(toolkit="phonebook", state={"contacts": {"Ada Lind": "555-0001", "Ben Sato": "555-0002"}, "sent": []})
ADA, BEN, NOBODY = (call("find_number", name=name) for name in ("Ada Lind", "Ben Sato", "Cleo"))
TO_ADA, TO_BEN, TO_NOBODY = (call("send_message", number=f"555-000{k}", text="hi") for k in (1, 2, 3))


def in_a_book(*calls: ToolCall, env: EnvSpec | None = BOOK) -> Sample:
    history = (Message(role="user", content="?"), Message(role="assistant", tool_calls=(TO_BEN,)))
    return Sample(tools=Phonebook.tools, messages=history, label=Label(calls=calls), env=env)


@pytest.mark.parametrize(
    ("calls", "executed"),
    [
        ((ADA, TO_ADA), (2, 2)),
        ((TO_ADA,), (1, 1)),
        ((ADA, TO_BEN), (1, 2)),  # the state is another: the call that changed it is wrong
        ((NOBODY, TO_ADA), (1, 2)),
        ((TO_ADA, TO_NOBODY), (1, 2)),
        ((TO_ADA, TO_ADA), (0, 2)),
        ((ADA,), (1, 1)),
        ((TO_ADA, call("send_message", number=7)), (1, 1)),  # no tool can take it: it is not run
        ((call("no_such_tool"), TO_ADA), (1, 1)),
        ((), (0, 0)),
    ],
)
def test_a_call_that_is_run_is_right_without_an_error_and_by_the_state(calls, executed):
    assert graded(in_a_book(ADA, TO_ADA), *calls).executed == executed
    # of an episode that ends with an answer that cannot be read, what was run before it counts
    assert graded(in_a_book(ADA, TO_ADA), *calls, error="format").executed == executed


def test_where_one_stands_is_no_part_of_the_state_by_which_calls_are_right():
    files = EnvSpec(toolkit="files", state={"root": {"n": {"a": "x"}, "o": {}}})
    changes = {"tools": make_environment(files).tools, "env": files}
    asked = sample(call("move", source="/n/a", target="/o")).model_copy(update=changes)
    told = (call("change_folder", path="/n"), call("move", source="a", target="/o"))
    assert graded(asked, *told).executed == (2, 2)
    assert graded(asked, *told[:1]).executed == (0, 1)


def test_where_one_stands_at_the_end_makes_no_call_wrong():
    env = EnvSpec(toolkit="files", state={"root": {"a": {"x.txt": "one\n"}}, "_folder": "/"})
    whole, near = (call("append_text", path=path, text="two") for path in ("/a/x.txt", "x.txt"))
    asked = Sample(
        tools=Files().tools, messages=(Message(role="user", content="?"),), label=Label(calls=(whole,)), env=env
    )
    assert graded(asked, call("change_folder", path="/a"), near).executed == (2, 2)


def test_execution_success_is_there_only_where_something_was_run():
    run = [graded(in_a_book(ADA, TO_ADA), ADA, TO_BEN), graded(in_a_book(TO_ADA), TO_ADA)]
    found = by_name(run)["execution_success"]
    assert (found.value, found.n, found.low is None) == (2 / 3, 3, False)
    assert "execution_success" not in by_name([graded(sample(ROME), ROME)])
    assert "execution_success" not in by_name([graded(in_a_book(TO_ADA, env=None), TO_ADA)])
    assert "executed" not in graded(sample(ROME), ROME).model_dump()
