"""What a benchmark shares with training data: exactly, nearly, by its tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sloop.calls.wording import request_key
from sloop.measures.metrics import grade
from sloop.measures.overlap import (
    CONTAMINATION,
    Contaminated,
    Contamination,
    OverlapSettings,
    forbidden_requests,
    request_words,
    schema_key,
    write_evidence,
)
from sloop.records import Label, Message, Prediction, Sample, Tool, ToolCall, UserError
from sloop.records.ranges import checked
from sloop.store import read_rows

SETTINGS = OverlapSettings(words=4, share=0.5, examples=3)
LONG = "Please tell me the weather in Rome for tomorrow"


def tool(name: str, *parameters: str, **extra: Any) -> Tool:
    properties = {key: {"type": "string", "description": f"{name}'s {key}", **extra} for key in parameters}
    return Tool(name=name, parameters={"type": "object", "properties": properties, "required": list(parameters)})


CLOCK = tool("clock")


def ask(text: str, *tools: Tool, slice: str = "", calls: tuple[str, ...] = ()) -> Sample:
    label = Label(calls=tuple(ToolCall(name=name, arguments={}) for name in calls))
    return Sample(tools=tools, messages=(Message(role="user", content=text),), label=label, slice=slice)


def held(bench: list[Sample], *trains: list[Sample], settings: OverlapSettings = SETTINGS) -> Contamination:
    found = Contamination("b", "0" * 64, bench, settings)
    for train in trains:
        found.add(train)
    return found


def counts(bench: list[Sample], *trains: list[Sample]) -> tuple[int, int, int]:
    part = held(bench, *trains).overlap().counts[""]
    return part["sample"], part["request"], part["near"]


def near(asked: str, *trained: str) -> float:
    """Share of the words of a request that stand in training; 0 below the least that is told."""
    every = SETTINGS.model_copy(update={"share": 0.01})
    found = held([ask(asked)], [ask(text) for text in trained], settings=every).contaminated()
    return found[0].share if found else 0.0


# --- exactly ------------------------------------------------------------------------------------------------------


def test_disjoint_sets_share_nothing() -> None:
    bench = [ask("Weather in Rome?"), ask("Add 5 and 3.")]
    assert counts(bench, [ask("What time is it?")]) == (0, 0, 0)
    assert held(bench, [ask("What time is it?")]).contaminated() == []


def test_the_same_sample_is_told_from_the_same_request() -> None:
    same, other = ask("What time is it?"), ask("what time  is it", CLOCK)
    assert counts([same], [same]) == (1, 0, 0)
    assert counts([same], [other]) == (0, 1, 0)
    (found,) = held([same], [other]).contaminated()
    assert (found.how, found.share, found.sample_id, found.train_id) == ("request", 1.0, same.id, other.id)
    assert (found.request, found.train_request) == ("What time is it?", "what time  is it")


def test_another_value_is_another_request() -> None:
    assert counts([ask("Add 5 and 3.")], [ask("Add 5 and 4.")]) == (0, 0, 0)


def test_small_talk_is_not_exempt() -> None:
    assert counts([ask("hello")], [ask("Hello!"), ask("HELLO", CLOCK)]) == (0, 1, 0)


def test_samples_without_a_request_are_told_apart_by_id_alone() -> None:
    silent = Sample(tools=(), messages=(Message(role="system", content="Be brief."),))
    other = Sample(tools=(), messages=(Message(role="system", content="Be kind."),))
    assert counts([silent], [other]) == (0, 0, 0)
    assert counts([silent], [silent]) == (1, 0, 0)


def test_the_samples_that_repeat_a_benchmark_are_handed_back() -> None:
    bench = [ask(f"Number {k}") for k in range(9)]
    found = held(bench)
    assert found.add([ask("Letter a")]) == []
    assert found.add([ask("Letter b"), *bench]) == bench[:3]


def test_forbidden_requests_are_what_is_looked_for() -> None:
    bench = [ask("What time is it?"), ask("")]
    forbidden = forbidden_requests(bench)
    assert forbidden == {request_key("what time is it")}
    clean = [row for row in (ask("WHAT TIME IS IT"), ask("Bye")) if request_key(row.request) not in forbidden]
    assert counts(bench, clean) == (0, 0, 0)


# --- nearly -------------------------------------------------------------------------------------------------------


def test_the_share_is_of_words_in_runs_that_were_seen() -> None:
    assert near("one two three four five six seven eight", "one two three four") == 0.5
    assert near("one two three four five six seven eight", "zero one two three four five nine") == 0.625
    assert near("one two three four five six seven eight", "one two three, five six seven") == 0.0


def test_runs_may_lie_in_several_training_requests() -> None:
    assert near("one two three four five six seven eight", "one two three four", "five six seven eight") == 1.0
    assert near("one two three four five six", "one two three four", "three four five six") == 1.0


def test_case_spacing_and_symbols_do_not_hide_a_run() -> None:
    assert near("Set 2 + 2, then: CALL home", "set 2 - 2 then call  home!") == 1.0


def test_a_date_is_three_words_and_no_run_by_itself() -> None:
    assert near("remind me about it on 2025-04-29", "what happened on 2025-04-29") == pytest.approx(4 / 8)
    assert near("remind me about it by 2025-04-29", "what happened on 2025-04-29") == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't 2025-04-29, $5", ("don", "t", "2025", "04", "29", "5")),
        ("明天北京的天气", tuple("明天北京的天气")),
        ("Tokyo東京へ3日", ("tokyo", "東", "京", "へ", "3", "日")),
        ("서울 날씨 알려줘", ("서울", "날씨", "알려줘")),
        ("كَيْفَ الطَّقْسُ في القاهرة", ("كيف", "الطقس", "في", "القاهرة")),
        ("दिल्ली का मौसम", ("दलल", "क", "मसम")),
        ("Cafe\u0301 ｶﾌｪ", ("café", "カ", "フ", "ェ")),
        ("?! 🙂", ()),
    ],
)
def test_words_are_counted_in_any_script(text: str, words: tuple[str, ...]) -> None:
    assert request_words(text) == words


def test_near_requests_are_found_in_a_script_without_spaces() -> None:
    assert near("请告诉我明天上海的天气", "请告诉我明天北京的天气") == pytest.approx(6 / 11, abs=1e-4)


def test_evidence_is_written_anew_only_where_it_differs(tmp_path: Path) -> None:
    rows = [ask("What time is it?")]
    write_evidence(tmp_path, [held(rows, rows)])
    path = tmp_path / CONTAMINATION
    before = path.stat()
    (overlap,) = write_evidence(tmp_path, [held(rows, rows)])
    assert (overlap.counts[""]["sample"], path.stat().st_ino) == (1, before.st_ino)
    path.write_text("of another version\n")
    write_evidence(tmp_path, [held(rows, rows)])
    assert [found.how for found in read_rows(path, Contaminated)] == ["sample"]


def test_a_request_counts_from_the_threshold_on() -> None:
    bench = [ask("one two three four five six seven eight"), ask("one two three four five six seven eight nine")]
    found = held(bench, [ask("one two three four")])
    assert [match.sample_id for match in found.contaminated()] == [bench[0].id]
    assert found.contaminated()[0].how == "near"


def test_short_requests_are_compared_whole_and_counted() -> None:
    bench = [ask("what time is"), ask("one two three four")]
    found = held(bench, [ask("what time is it in Rome now")]).overlap()
    assert (found.short, found.counts[""]["near"]) == (1, 0)


def test_the_evidence_names_the_training_sample_that_holds_most() -> None:
    trained = [ask("tell me the weather"), ask("the weather in Rome for tomorrow")]
    (found,) = held([ask(LONG, slice="seen")], trained).contaminated()
    assert (found.train_id, found.train_request) == (trained[1].id, trained[1].request)
    assert (found.slice, found.benchmark) == ("seen", "b")


def test_counts_go_slice_by_slice_and_the_worst_come_first() -> None:
    bench = [
        ask(LONG + " and after", slice="one"),
        ask("What time is it?", slice="two"),
        ask("Who are you?", slice="two"),
        ask("Where am I just now?", slice="one"),
    ]
    trained = [ask(LONG), ask("what time is it"), bench[3]]
    found = held(bench, trained).overlap()
    assert found.counts["one"] == {"samples": 2, "sample": 1, "request": 0, "near": 1}
    assert found.counts["two"] == {"samples": 2, "sample": 0, "request": 1, "near": 0}
    assert found.counts[""] == {"samples": 4, "sample": 1, "request": 1, "near": 1}
    assert [match.how for match in found.worst] == ["sample", "request", "near"]
    scores = {(score.name, score.slice): score for score in found.scores()}
    assert scores["contamination/b/near_requests", "one"].value == 0.5
    assert scores["contamination/b/same_requests", ""].value == 0.25
    assert scores["contamination/b/near_requests", ""].low is None, "everything was counted: no doubt"


def test_few_examples_are_kept_and_all_evidence() -> None:
    rows = [ask(f"Number {k}") for k in range(9)]
    found = held(rows, rows)
    assert (len(found.overlap().worst), len(found.contaminated())) == (SETTINGS.examples, 9)


def test_later_training_sets_add_to_earlier_ones_and_no_sample_counts_twice() -> None:
    bench = [ask("one two three four five six seven eight")]
    first, second = [ask("one two three four x")], [ask("five six seven eight x"), ask("one two three four x")]
    assert held(bench, first, second).contaminated()[0].share == 1.0
    assert held(bench, first, second, first).overlap().train == 2


def test_the_order_of_training_samples_changes_no_count() -> None:
    bench = [ask(LONG), ask("What time is it?")]
    trained = [ask("tell me the weather in Rome"), ask("what time is it"), ask("weather in Rome for tomorrow")]
    assert counts(bench, trained) == counts(bench, trained[::-1]) == (0, 1, 1)


# --- tools --------------------------------------------------------------------------------------------------------

WEATHER, FORECAST = tool("weather", "city", "day"), tool("forecast", "city", "day")


def tools_of(bench: list[Sample], *offered: Tool) -> tuple[int, int, int, int]:
    found = held(bench, [ask("Another request", *offered)]).overlap()
    return found.tool_names, found.tool_schemas, found.samples_by_tool_name, found.samples_by_tool_schema


def test_tools_are_shared_by_name_or_by_schema() -> None:
    bench = [ask("Rain?", WEATHER)]
    assert tools_of(bench, WEATHER) == (1, 1, 1, 1)
    assert tools_of(bench, FORECAST) == (0, 1, 0, 1)
    assert tools_of(bench, tool("weather", "place", "day")) == (1, 0, 1, 0)
    assert tools_of(bench, CLOCK) == (0, 0, 0, 0)


def test_words_about_a_schema_are_no_part_of_it_and_constraints_are() -> None:
    plain = schema_key(tool("weather", "city", "title"))
    assert schema_key(tool("weather", "city", "title", title="City", examples=["Rome"])) == plain
    assert schema_key(tool("weather", "title", "city")) == plain
    assert schema_key(tool("weather", "city", "title", enum=["Rome"])) != plain
    assert schema_key(tool("weather", "city", "description")) != plain


def test_what_closes_an_object_that_is_closed_is_no_difference() -> None:
    properties = {"city": {"type": "string"}, "day": {"type": "string", "format": "date"}}
    plain = Tool(name="a", parameters={"type": "object", "properties": properties, "required": []})
    closed = Tool(name="b", parameters={"type": "object", "properties": properties, "additionalProperties": False})
    opened = Tool(name="c", parameters={"type": "object", "properties": properties, "additionalProperties": True})
    assert schema_key(plain) == schema_key(closed) != schema_key(opened)


def test_a_schema_of_one_parameter_says_too_little_without_its_name() -> None:
    bench = [ask("Rain?", tool("find_song", "query"), CLOCK)]
    assert tools_of(bench, tool("find_book", "query"), tool("ping")) == (0, 0, 0, 0)
    assert tools_of(bench, tool("find_song", "query"), CLOCK) == (2, 2, 1, 1)


def test_a_sample_counts_by_the_tools_that_it_calls_or_else_by_those_on_offer() -> None:
    called, offered = ask("Rain?", WEATHER, CLOCK, calls=("weather",)), ask("Joke?", WEATHER, CLOCK)
    assert tools_of([called, offered], CLOCK) == (1, 1, 1, 1)
    assert tools_of([called, offered], WEATHER) == (1, 1, 2, 2)
    assert held([called], [ask("Another request", CLOCK)]).overlap().shared_tools == ("clock",)


# --- scores -------------------------------------------------------------------------------------------------------


def test_accuracy_is_given_on_the_clean_and_on_the_contaminated_part() -> None:
    bench = [ask(LONG), ask("What time is it?"), ask("Who are you?")]
    silent, wrong = Prediction(sample_id=bench[0].id), ToolCall(name="clock", arguments={})
    answers = [silent, Prediction(sample_id=bench[1].id, calls=(wrong,)), Prediction(sample_id=bench[2].id)]
    grades = [grade(sample, answer) for sample, answer in zip(bench, answers, strict=True)]
    clean, contaminated = held(bench, [ask(LONG + " please")]).split(grades)
    assert (clean.name, clean.value, clean.n) == ("call_accuracy_clean", 0.5, 2)
    assert (contaminated.name, contaminated.value, contaminated.n) == ("call_accuracy_contaminated", 1.0, 1)
    _, nothing = held(bench).split(grades)
    assert (nothing.value, nothing.n) == (None, 0)


@pytest.mark.parametrize("change", [{"words": 0}, {"share": 0.0}, {"share": 1.1}, {"examples": -1}])
def test_settings_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UserError, match=rf"overlap\.{next(iter(change))}={next(iter(change.values()))}"):
        checked(OverlapSettings, SETTINGS.model_dump() | change, "overlap")
