"""Answers that others made: what files of them are read as, and the run that comes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kinds import Kind
from kinds.answers import KINDS
from kinds.replies import CALL_READ, WORDS
from running import sloop

from sloop.records import Checkpoint, Decode, EnvSpec, Grade, Label, Message, Prediction, Sample, Score, Tool, UserError
from sloop.store import Dataset, read_rows, write_rows
from sloop.students.recorded import RecordedStudent

TOOL = Tool(name="a_f", parameters={"type": "object", "properties": {"x": {"type": "integer"}}})
CALL = {"id": "c", "type": "function", "function": {"name": "a_f", "arguments": '{"x": 1}'}}


def asked(*entries: str) -> list[Sample]:
    user = Message(role="user", content="Do it.")
    return [
        Sample(tools=(TOOL,), messages=(user,), env=EnvSpec(toolkit="bfcl", state={"entry": entry}))
        for entry in entries
    ]


def written(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def student(path: Path, answer_format: str | None = None) -> RecordedStudent:
    return RecordedStudent(name="recorded", path=str(path), answer_format=answer_format)


def answer(tmp_path: Path, row: dict[str, Any], answer_format: str | None = None) -> Prediction:
    path = written(tmp_path / "answers.jsonl", {"id": "e", **row})
    (found,) = student(path, answer_format).predict(asked("e"), Decode())
    return found


@pytest.mark.parametrize(
    ("result", "name", "error"),
    [
        ([{"a.f": '{"x": 1}'}], "a.f", None),
        ([{"f": {"x": 1}}], "f", None),
        ([{"f": '{"x": NaN}'}], None, "format"),
        ([{"f": "{}", "g": "{}"}], None, "format"),
        ([], None, "format"),
        (None, None, "format"),
        ({"f": "{}"}, None, "format"),
        (["f"], None, "format"),
        ("[a.f(x=1)]", "a.f", None),
        ('<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', "f", None),
        ('<tool_call>\n{"name": "f"', None, "format"),
        ("None fits.", None, None),
        ("<think>[g(x=1)] <tool_call></think>\n[a.f(x=1)]", "a.f", None),
        ("<think>[g(x=1)]</think>\nNone fits.", None, None),
        ("Sure:\n[a.f(x=1)]", "a.f", None),
        ("```python\n[a.f(x=1)]\n```", "a.f", None),
        ("Error during inference: 503", None, "model"),
    ],
)
def test_a_result_is_kept_as_it_is_and_read_strictly(
    tmp_path: Path, result: Any, name: str | None, error: str | None
) -> None:
    found = answer(tmp_path, {"result": result})
    assert found.raw == result
    assert [call.name for call in found.calls] == ([name] if name else [])
    assert found.error == error


@pytest.mark.parametrize(
    "row",
    [
        {"message": {"role": "assistant", "content": None, "tool_calls": [CALL]}},
        {"completion": {"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [CALL]}}]}},
        {"response": {"status_code": 200, "body": {"choices": [{"message": {"content": "", "tool_calls": [CALL]}}]}}},
    ],
)
def test_a_chat_completion_is_read_as_an_endpoints(tmp_path: Path, row: dict[str, Any]) -> None:
    found = answer(tmp_path, row)
    assert [call.arguments for call in found.calls] == [{"x": 1}]
    assert found.raw == [{"a_f": '{"x": 1}'}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("under", ["response", "completion", "message", "batch"])
def test_a_body_of_the_responses_api_is_what_its_kind_says(tmp_path: Path, under: str, kind: Kind) -> None:
    row = {"response": {"status_code": 200, "body": kind.given}} if under == "batch" else {under: kind.given}
    comes, calls = kind.comes
    found = answer(tmp_path, row)
    assert found.error == (None if comes in (CALL_READ, WORDS) else comes)
    assert len(found.calls) == calls
    assert {call.name for call in found.calls} <= {"depot", "list_depots"}
    if comes == CALL_READ:
        called = [item for item in kind.given["output"] if item["type"] == "function_call"]
        assert found.raw == [{item["name"]: item["arguments"]} for item in called]
    elif comes == WORDS:
        assert found.content in ("None fits.", "No.")


def test_arguments_that_are_no_text_are_kept_so(tmp_path: Path) -> None:
    call = {"function": {"name": "a_f", "arguments": {"x": 1}}}
    assert answer(tmp_path, {"message": {"tool_calls": [call]}}).raw == [{"a_f": {"x": 1}}]


def test_calls_in_the_text_of_a_completion_are_read_where_a_format_is_given(tmp_path: Path) -> None:
    row = {"message": {"content": "[a_f(x=1)]"}}
    assert answer(tmp_path, row).error == "format"
    assert [call.name for call in answer(tmp_path, row, "pythonic").calls] == ["a_f"]


def test_a_request_of_a_batch_that_failed_has_no_answer(tmp_path: Path) -> None:
    assert answer(tmp_path, {"response": {"status_code": 500, "body": {"error": {"message": "no"}}}}).error == "model"


def test_what_is_lacking_unknown_or_twice_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    written(folder / "model" / "BFCL_v4_x_result.json", {"id": "e0", "result": "a"}, {"id": "java_0", "result": "a"})
    written(
        folder / "more.jsonl",
        {"custom_id": "e0", "result": "a"},
        {"id": "e1", "message": {"content": ""}},
        {"id": "e4", "response": {"status_code": 503, "body": "upstream gone"}},
        {"id": "e5", "response": None, "error": {"code": "batch_expired", "message": "not in time"}},
        {"id": "e6", "completion": {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}},
        {"id": "e7", "result": "Error during inference: 429"},
    )
    write_rows(tmp_path / "data.jsonl", asked("e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7"))
    found = student(folder)
    assert found.notes(Dataset(tmp_path / "data.jsonl")) == [
        f"6 of 8 questions have an answer in {folder}",
        "2 questions have none, and are left out of every score: e2, e3",
        "2 answers could not be had (no_answer: nothing was said or called): e1, e7",
        "2 answers could not be had (server: HTTP 503: upstream gone): e4, e5",
        "1 answers could not be had (filtered: finish_reason 'content_filter'): e6",
        "1 answers are to ids that this benchmark does not ask, and are passed over: java_0",
        "1 ids stand there again, with the same answer: e0",
    ]
    assert [answer.error for answer in found.predict(asked("e2", "e0"), Decode())] == ["model", None]
    assert found.predict(asked("e0"), Decode())[0].text == "a"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"answers\.jsonl, line 1: no JSON"),
        ("[]", r"line 1: no answer: no object\. It has an id"),
        ('{"id": "e", "text": "a"}', r"line 1: no answer: the keys id, text\..*result, completion, response, message"),
        ('{"result": "a"}', r"line 1: no answer: the keys result\."),
        ('{"id": "other", "result": "a"}', r"none of its 1 answers is to a question of this benchmark.*other.*e0"),
    ],
)
def test_what_holds_no_answer_is_said(tmp_path: Path, line: str, words: str) -> None:
    path = written(tmp_path / "answers.jsonl", line)
    write_rows(tmp_path / "data.jsonl", asked("e0"))
    with pytest.raises(UserError, match=words):
        student(path).notes(Dataset(tmp_path / "data.jsonl"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"message": {"content": 5}}, r"choices\[0\]\.message\.content is 5"),
        ({"message": {"content": [{"type": "tool_use", "name": "a_f", "input": {}}]}}, "part 0 is .*tool_use"),
        ({"message": {"tool_calls": 5}}, r"message\.tool_calls is 5"),
        ({"completion": {"choices": [{"message": ["a"]}]}}, r"message is \['a'\]"),
        ({"response": {"status_code": 200, "body": {"object": "response", "out": []}}}, "keys object, out"),
        ({"response": {"object": "response", "out": []}}, "keys object, out"),
        ({"message": 7}, "no message, but 7"),
    ],
)
def test_a_message_of_another_form_is_named_with_its_id(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=rf"answers\.jsonl: the answer to e: .*{words}"):
        answer(tmp_path, row)
    write_rows(tmp_path / "data.jsonl", asked("e"))
    with pytest.raises(UserError, match=words):  # before anything is answered
        student(tmp_path / "answers.jsonl").notes(Dataset(tmp_path / "data.jsonl"))


@pytest.mark.parametrize(
    ("message", "raw"),
    [
        ({"tool_calls": [{"name": "a_f", "arguments": '{"x": 1}'}]}, [{"a_f": '{"x": 1}'}]),
        ({"function_call": {"name": "a_f", "arguments": '{"x": 1}'}}, [{"a_f": '{"x": 1}'}]),
        ({"tool_calls": [{"type": "custom", "custom": {"name": "a_f", "input": '{"x": 1}'}}]}, [{"a_f": '{"x": 1}'}]),
        ({"content": "None fits.", "tool_calls": {}}, None),
    ],
)
def test_a_message_is_read_in_every_form_of_calls(tmp_path: Path, message: dict[str, Any], raw: Any) -> None:
    for row in ({"message": message}, {"completion": {"choices": [{"message": message}]}}):  # no finish_reason
        found = answer(tmp_path, row)
        assert (found.error, found.raw, [call.name for call in found.calls]) == (None, raw, ["a_f"] if raw else [])


def test_a_name_with_a_namespace_is_what_a_lenient_reader_gets(tmp_path: Path) -> None:
    found = answer(tmp_path, {"result": [{"functions.a_f": "{}"}]})
    assert (found.error, [call.name for call in found.recovered]) == ("format", ["a_f"])


def test_what_is_answered_once_is_asked_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sample,) = (one.model_copy(update={"env": None, "label": Label(content="No.")}) for one in asked("e"))
    write_rows(tmp_path / "data.jsonl", [sample])
    path = written(tmp_path / "answers.jsonl", {"id": sample.id, "result": "a"})
    status = sloop(
        "eval", f"answers={path}", "benchmark=jsonl", f"benchmark.path={tmp_path / 'data.jsonl'}", "trials=3",
        f"output_dir={tmp_path / 'run'}", f"paths.outputs={tmp_path / 'outputs'}", "tracking.enabled=false",
    )  # fmt: skip
    assert status == 2
    assert "every question was answered once" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_how_answers_were_read_is_told(tmp_path: Path) -> None:
    checkpoint = Checkpoint(path="a", digest="b")
    read = [student(tmp_path, given).identity(checkpoint)["parser"] for given in (None, "pythonic")]
    assert read == ["the mark of each text", "pythonic"]


def test_answers_of_two_models_are_no_answers_of_one(tmp_path: Path) -> None:
    for model, text in (("m1", "a"), ("m2", "b")):
        written(tmp_path / "results" / model / "BFCL_v4_x_result.json", {"id": "e0", "result": text})
    write_rows(tmp_path / "data.jsonl", asked("e0"))
    with pytest.raises(UserError, match=r"m2/BFCL_v4_x_result\.json, line 1: another answer to e0 .*answers=FILE"):
        student(tmp_path / "results").notes(Dataset(tmp_path / "data.jsonl"))


def test_answers_that_others_made_are_scored_as_an_ordinary_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    parameters = {"type": "dict", "properties": {"x": {"type": "integer"}}, "required": []}
    function = {"name": "a.f", "description": "", "parameters": parameters}
    questions = [
        {"id": f"simple_python_{n}", "question": [[{"role": "user", "content": f"{n}"}]], "function": [function]}
        for n in range(3)
    ]
    written(data / "BFCL_v4_simple_python.json", *questions)
    truth = [{"a.f": {"x": [1]}}]
    written(
        data / "possible_answer" / "BFCL_v4_simple_python.json",
        *({"id": question["id"], "ground_truth": truth} for question in questions),
    )
    results = tmp_path / "results" / "BFCL_v4_simple_python_result.json"
    written(
        results, *({"id": f"simple_python_{n}", "result": text} for n, text in enumerate(("[a.f(x=1)]", "a.f(x=1)")))
    )
    words = [f"benchmark.path={data}", "benchmark.categories=[simple_python]", "benchmark.digests=null"]
    status = sloop(
        "eval", f"answers={results.parent}", "benchmark=bfcl", *words, "benchmark.reading=prompting",
        f"output_dir={tmp_path / 'run'}", f"paths.outputs={tmp_path / 'outputs'}", "tracking.enabled=false",
    )  # fmt: skip
    assert status == 0
    assert "2 of 3 questions have an answer" in capsys.readouterr().out
    grades = list(read_rows(tmp_path / "run" / "grades.jsonl", Grade))
    assert sorted((g.official, g.correct) for g in grades if g.official is not None) == [(True, False), (True, True)]
    scores = {(s.name, s.slice): (s.value, s.n) for s in read_rows(tmp_path / "run" / "scores.jsonl", Score)}
    assert scores["official_accuracy", ""] == (1.0, 2)
    assert scores["call_accuracy", ""] == (0.5, 2)
