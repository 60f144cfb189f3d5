"""OpenAI's fine-tuning form, read as samples: what is a decision, what is counted, what is an error."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sloop.intake import LEFT_OUT, Converted, Decisions, Form, Source, form_in, open_dataset
from sloop.records import Label, Message, Sample, ToolCall, UserError
from sloop.store import Dataset, write_rows

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "strict": True,
    },
}
PING = {"type": "function", "function": {"name": "ping"}}
ASK = {"role": "user", "content": "Weather in Rome?"}
CALLED = ToolCall(name="weather", arguments={"city": "Rome"})


def call(name: str = "weather", arguments: Any = '{"city": "Rome"}', known_as: str = "call_x9") -> dict[str, Any]:
    return {"id": known_as, "type": "function", "function": {"name": name, "arguments": arguments}}


def says(text: Any, **extra: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **extra}


CALLS = says(None, tool_calls=[call()])
ANSWER = {"role": "tool", "tool_call_id": "call_x9", "content": "Sunny."}


def line(*messages: Any, tools: Any = (WEATHER, PING), **extra: Any) -> dict[str, Any]:
    return {"messages": list(messages), "tools": list(tools), **extra}


def opened(
    folder: Path, *lines: Any, chosen: Decisions = "all", form: Form = "openai", max_left_out: float = 0.1
) -> Dataset:
    path = folder / "given.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in lines) + "\n")
    return open_dataset(path, form=form, chosen=chosen, cache=folder / "cache", max_left_out=max_left_out)


def converted(folder: Path, *lines: Any, chosen: Decisions = "all") -> Converted:
    data = opened(folder, *lines, chosen=chosen, max_left_out=1)
    assert isinstance(data, Converted)
    return data


def left_out(folder: Path, *lines: Any) -> dict[str, int]:
    return converted(folder, *lines, line({"role": "user", "content": "One that counts"}, says("Yes."))).intake.left_out


# --- decisions ----------------------------------------------------------------------------------------------------


def test_every_assistant_message_is_a_decision(tmp_path: Path) -> None:
    data = converted(tmp_path, line(ASK, CALLS, ANSWER, says("Sunny in Rome."), parallel_tool_calls=False))
    first, second = data
    assert first.label == Label(calls=(CALLED,))
    assert [tool.name for tool in first.tools] == ["weather", "ping"]
    assert [message.role for message in second.messages] == ["user", "assistant", "tool"]
    assert second.messages[2].tool_call_id == "call_0", "a call is known by its position"
    assert second.label == Label(content="Sunny in Rome.")
    assert (first.group, second.group, second.turn) == ("line-1", "line-1", 1)
    assert (data.intake.lines, data.intake.samples, data.intake.silent, data.intake.left_out) == (1, 2, 0, {})


def test_or_the_last_one_alone(tmp_path: Path) -> None:
    rows = (line(ASK, CALLS, ANSWER, says("Sunny.")), line(ASK, CALLS, ANSWER, says("No.", weight=0)))
    data = converted(tmp_path, *rows, chosen="last")
    assert [sample.label for sample in data] == [Label(content="Sunny."), Label(calls=(CALLED,))]


def test_a_message_of_weight_0_is_no_decision_and_stays_in_the_dialogue(tmp_path: Path) -> None:
    data = converted(tmp_path, line(ASK, says("Which one?", weight=0), ASK, says("That one.", weight=1)))
    (sample,) = data
    assert sample.label == Label(content="That one.")
    assert [message.content for message in sample.messages] == [ASK["content"], "Which one?", ASK["content"]]
    assert data.intake.left_out == {"weight_0": 1}


def test_a_last_message_that_is_not_the_assistants_is_no_decision(tmp_path: Path) -> None:
    data = converted(tmp_path, line(ASK, CALLS, ANSWER), line(ASK, CALLS, ANSWER, says("Sunny."), ASK))
    assert [bool(sample.label and sample.label.calls) for sample in data] == [True, False]


def test_the_older_form_reads_the_same(tmp_path: Path) -> None:
    older = {
        "messages": [
            ASK,
            says(None, function_call={"name": "weather", "arguments": '{"city": "Rome"}'}),
            {"role": "function", "name": "weather", "content": "Sunny."},
            says("Sunny in Rome."),
        ],
        "functions": [WEATHER["function"], PING["function"]],
    }
    newer = line(ASK, CALLS, ANSWER, says("Sunny in Rome."))
    (tmp_path / "older").mkdir()
    assert list(converted(tmp_path, older)) == list(converted(tmp_path / "older", newer))


def test_calls_are_read_in_every_form(tmp_path: Path) -> None:
    calls = [call(), call("ping", "", "call_x10"), call("weather", {"city": "Oslo"}, "call_x11")]
    answers = [{"role": "tool", "tool_call_id": one["id"], "content": "Done."} for one in reversed(calls)]
    first, second = converted(tmp_path, line(ASK, says("", tool_calls=calls), *answers, says("All done.")))
    oslo = ToolCall(name="weather", arguments={"city": "Oslo"})
    assert first.label == Label(calls=(CALLED, ToolCall(name="ping", arguments={}), oslo))
    assert [message.tool_call_id for message in second.messages[2:]] == ["call_2", "call_1", "call_0"]


def test_content_may_be_parts_of_text_null_or_a_refusal(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Weather "}, {"type": "text", "text": "in Rome?"}]
    rows = (
        line({"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}, CALLS),
        line(ASK, says(None, refusal="I must not.")),
    )
    first, second = converted(tmp_path, *rows)
    assert first.messages == (Message(role="system", content="Be brief."), Message(role="user", content=ASK["content"]))
    assert second.label == Label(content="I must not.")


def test_unknown_keys_are_passed_over_and_tools_may_be_missing(tmp_path: Path) -> None:
    row = {"messages": [{**ASK, "name": "ann"}, says("Hi.", audio=None)], "id": 7, "source": "mine", "tools": None}
    (sample,) = converted(tmp_path, row)
    assert (sample.tools, sample.label) == ((), Label(content="Hi."))


# --- what makes no sample -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        ("no_decision", line(ASK)),
        ("not_text", line({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, says("A cat."))),
        ("weight_0", line(ASK, says("No.", weight=0))),
        ("no_request", line({"role": "system", "content": "Be brief."}, says("How can I help?"))),
        ("empty", line(ASK, says(None))),
        ("not_offered", line(ASK, says(None, tool_calls=[call("rain")]))),
    ],
)
def test_what_makes_no_sample_is_counted(reason: str, row: Any, tmp_path: Path) -> None:
    assert left_out(tmp_path, row) == {reason: 1}


def test_a_decision_that_comes_twice_counts_once(tmp_path: Path) -> None:
    rows = (line(ASK, CALLS), line(ASK, CALLS), line(ASK, says("No idea.")))
    assert left_out(tmp_path, *rows) == {"repeated": 1, "contradicted": 1}


def test_the_note_says_what_was_read_and_what_was_left_out(tmp_path: Path) -> None:
    data = converted(tmp_path, line(ASK, CALLS), line(ASK), line(ASK))
    path = tmp_path / "given.jsonl"
    said = f"{path}: 1 samples of 3 lines, 2 of which made none, read as openai; left out: 2 {LEFT_OUT['no_decision']}"
    said += " (lines 2, 3)"
    assert data.intake.note() == said
    assert data.intake.sha256 == Dataset(path).sha256


def test_a_file_without_a_decision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"given\.jsonl: 0 samples of 2 lines.*Nothing is left"):
        opened(tmp_path, line(ASK), line(ASK))


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{broken", r"not JSON .*; allowed: one JSON object a line"),
        ("[1]", r"not a JSON object; allowed: one JSON object a line"),
        ('{"messages": [{"role": "user", "content": NaN}]}', r"not JSON \(NaN is not JSON\)"),
        ('{"messages": ' + "[" * 100_000, r"not JSON \("),
        (line({"role": "user", "content": "\ud800"}, CALLS), r"not JSON .*half of a surrogate pair"),
        (line(ASK, says("", tool_calls=[call(arguments='{"x": 1e999}')])), r"messages.*\.arguments is .*1e999.*; all"),
        ({"prompt": "x"}, r"messages is null; allowed: a list of one message or more"),
        (line("hello"), r'messages\[0\] is "hello"; allowed: an object with role and content'),
        (line({"role": "bot"}), r'messages\[0\]\.role is "bot"; allowed: system, developer, user, assistant, tool, '),
        (line(ASK, says(3)), r"messages\[1\]\.content is 3; allowed: text, null, or a list"),
        (line(ASK, says(["x"])), r'messages\[1\]\.content\[0\] is "x"; allowed: a part such as'),
        (line(ASK, says([{"type": "text"}])), r"messages\[1\]\.content\[0\]\.text is null; allowed: text"),
        (line(ASK, says("", weight=0.5)), r"messages\[1\]\.weight is 0\.5; allowed: 0 and 1"),
        (line(ASK, says("", tool_calls={})), r"messages\[1\]\.tool_calls is \{\}; allowed: a list of calls"),
        (line(ASK, says("", tool_calls=[{"type": "custom"}])), r'messages\[1\]\.tool_calls\[0\] is .*; allowed: \{"id'),
        (line(ASK, says("", tool_calls=[call(arguments="{x")])), r'messages.*\.arguments is "\{x"; allowed: a JSON'),
        (line(ASK, says("", tool_calls=[call(arguments="[1]")])), r'messages.*\.arguments is "\[1\]"; allowed: a JSON'),
        (line(ASK, says("", function_call="weather")), r"messages\[1\]\.function_call is .*; allowed: "),
        (line({**ASK, "tool_calls": [call()]}), r'messages\[0\]\.role is "user"; allowed: assistant, for a message'),
        (line(ASK, tools=["weather"]), r'tools is \["weather"\]; allowed: a list of function definitions, or its JSON'),
        ({"messages": [ASK], "functions": {}}, r"tools has no function name"),
        (line(ASK, tools=[{"name": "x", "parameters": [1]}]), r"tools, tool 1, x: #/parameters/0 is 1; a parameter"),
        (line(ASK, tools=[{"name": "x", "parameters": {"type": "thing"}}]), r"tools, tool 1, x: .*thing"),
    ],
)  # fmt: skip
def test_what_is_no_dialogue_is_an_error_with_its_line(row: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"given\.jsonl, line 2: {words}"):
        opened(tmp_path, line(ASK, CALLS), row)


@pytest.mark.parametrize("form", ["auto", "openai", "sloop"])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("wide.jsonl", "{}".encode("utf-16"), "not UTF-8 text, but UTF-16"),
        ("plain.jsonl.gz", b"{}\n", "not gzipped UTF-8 text"),
        ("torn.jsonl.gz", gzip.compress(json.dumps(line(ASK, CALLS)).encode())[:-20], "not gzipped UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_as_text_is_named(
    name: str, content: bytes, words: str, form: Form, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}.*: {words}"):
        len(open_dataset(tmp_path / name, form=form, chosen="all", cache=tmp_path / "cache"))


# --- forms and copies ---------------------------------------------------------------------------------------------


def test_the_lines_tell_the_form(tmp_path: Path) -> None:
    for name, rows, dialogues in (
        ("openai", [line(ASK), line(ASK, CALLS)], True),
        ("older", [{"messages": [ASK], "functions": []}], True),
        ("parallel", [line(ASK, parallel_tool_calls=True)], True),
        ("labelled", [{"tools": [], "messages": [ASK, says("Hi."), ASK], "label": {"calls": []}}], False),
        ("unlabelled", [{"tools": [], "messages": [ASK]}], False),
    ):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        assert (form_in(Source(path)) == "openai") == dialogues, name


def test_our_own_form_is_taken_as_it_is(tmp_path: Path) -> None:
    sample = Sample(tools=(), messages=(Message(role="user", content="Hi"),), label=Label(content="Hello."))
    path = tmp_path / "own.jsonl"
    write_rows(path, [sample])
    data = open_dataset(path, form="auto", chosen="all", cache=tmp_path / "cache")
    assert (data.path, list(data)) == (path, [sample])
    assert not (tmp_path / "cache").exists()


def test_a_file_is_converted_once_for_each_way_of_reading(tmp_path: Path) -> None:
    rows = [line(ASK, CALLS, ANSWER, says("Sunny."))]
    first = opened(tmp_path, *rows, form="auto")
    before = first.path.stat().st_mtime_ns
    again = opened(tmp_path, *rows, form="auto")
    assert (again.path, again.path.stat().st_mtime_ns, again.sha256) == (first.path, before, first.sha256)
    assert opened(tmp_path, *rows, chosen="last").path != first.path


def test_samples_that_were_taken_away_are_made_again(tmp_path: Path) -> None:
    first = opened(tmp_path, line(ASK, CALLS))
    before = first.path.read_bytes()
    first.path.unlink()
    assert opened(tmp_path, line(ASK, CALLS)).path.read_bytes() == before


def test_a_gzipped_file_reads_the_same(tmp_path: Path) -> None:
    plain = list(opened(tmp_path, line(ASK, CALLS)))
    path = tmp_path / "given.jsonl.gz"
    path.write_bytes(gzip.compress((tmp_path / "given.jsonl").read_bytes()))
    assert list(open_dataset(path, form="auto", chosen="all", cache=tmp_path / "cache")) == plain
