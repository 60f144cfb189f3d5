"""A student whose answers were made elsewhere and stand in files: nothing is asked, and an ordinary run comes of them.

Files are JSON lines, one answer each; a folder stands for every ``*.json``, ``*.jsonl`` (and ``.gz``) in it. A line has
an ``id`` (``custom_id`` of a batch): that of the benchmark's entry, or of the sample. The answer is under

- ``result``, as the result files of BFCL (``BFCL_v4_*_result.json``) and ACEBench (``data_*_result.json``) have it: a
  text, or ``[{name: arguments}, ...]``; it is kept as it stands (`Prediction.raw`), for the official reading of it;
- ``completion``, ``response`` (its ``body``) or ``message``: a chat completion or its message, read as an endpoint's;
  or a body of the Responses API, whose ``output`` holds messages and function calls.

The answer to a question without a line could not be had: like an endpoint's failure it is neither right nor wrong. So
is one whose line tells of a failure; such lines are counted by what they tell. A message that cannot be read as one
ends the run before it begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from sloop.calls.formats import MARKS, FormatName, after_thinking, parse, parse_tool_calls
from sloop.calls.formats.python import list_at
from sloop.models.base import ModelError, Reply
from sloop.models.wire import read_reply, told_failure
from sloop.records import Checkpoint, Decode, Prediction, Sample, UserError, digest, from_json
from sloop.records.ranges import Name, PathText
from sloop.store import Dataset, file_digest
from sloop.store.files import lines_of, named
from sloop.students.served import read_answer, under_bare_names

ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
FAILED = "Error during inference: "
"""What BFCL writes in the place of an answer that it did not get."""
ENDED = {"max_output_tokens": "length"}
"""Why a body of the Responses API is incomplete, in the words of a chat completion."""
CALLED = ("name", "arguments", "input")
"""Of a call there: a custom tool has an input."""
HELD = ("result", "completion", "response", "message")
SHOWN = 3
"""Of the ids that are told."""
SHOWN_LENGTH = 80


class Answers(NamedTuple):
    """What the files hold."""

    by_id: dict[str, Mapping[str, Any]]
    """Lines by the id that they answer."""
    repeated: list[str]
    """Ids that stand again, with the same answer."""


class RecordedStudent:
    """Gives the answers that stand in files (`sloop.students.base.Student`)."""

    MODULES = (
        "sloop.calls.formats", "sloop.models.wire", "sloop.records.base", "sloop.records.samples",
        "sloop.students.recorded", "sloop.students.served",
    )  # fmt: skip
    FOLDERS = frozenset({"path"})

    def __init__(self, *, name: Name, path: PathText, answer_format: FormatName | None) -> None:
        """Take the settings as they stand in ``conf/student/recorded.yaml``, which says what each value is."""
        self.name = name
        self.path = path
        self.answer_format = answer_format

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """The files as they are; nothing is made or written.

        Raises:
            UserError: they cannot be read, or hold no answer to any of the questions.
        """
        self.notes(data)
        return Checkpoint(path=self.path, digest=digest([file_digest(file) for file in self._files]))

    @property
    def answered(self) -> str:
        """Where the answers stand."""
        return self.path

    def identity(self, checkpoint: Checkpoint) -> dict[str, str]:
        """The format in which calls in text are read; what the model was shown is not known."""
        return {"parser": self.answer_format or "the mark of each text", "template": "theirs"}

    def load(self, checkpoint: Checkpoint) -> None:
        """Nothing has to be loaded."""

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """The recorded answers in input order."""
        return [self._answer(sample) for sample in samples]

    def close(self) -> None:
        """There is nothing to close."""

    def notes(self, data: Dataset) -> list[str]:
        """How many questions have an answer, and what of the files is not used, a sentence each.

        Raises:
            UserError: as `start`, or an answer is no message of a chat completion.
        """
        found = self._answers
        asked = {sample.id: _known_as(sample) for sample in data}
        lacking = [ids[0] for ids in asked.values() if not found.by_id.keys() & set(ids)]
        unknown = found.by_id.keys() - {known for ids in asked.values() for known in ids}
        if len(lacking) == len(asked):
            theirs, ours = (f"{', '.join(sorted(ids)[:SHOWN])}, ..." for ids in (found.by_id, lacking))
            raise UserError(
                f"{self.path}: none of its {len(found.by_id)} answers is to a question of this benchmark. They are to "
                f"{theirs} and it asks {ours} Choose the benchmark that they were made on: benchmark=NAME"
            )
        told = [f"{len(asked) - len(lacking)} of {len(asked)} questions have an answer in {self.path}"]
        failed: dict[str, tuple[str, list[str]]] = {}
        for line in (found.by_id[known] for ids in asked.values() for known in ids if known in found.by_id):
            try:
                self._reply(line)
            except ModelError as error:
                if error.kind != "unreadable":
                    failed.setdefault(error.kind, (error.detail, []))[1].append(line["id"])
        for ids, what in (
            (lacking, "questions have none, and are left out of every score"),
            *((ids, f"answers could not be had ({kind}: {said})") for kind, (said, ids) in failed.items()),
            (sorted(unknown), "answers are to ids that this benchmark does not ask, and are passed over"),
            (found.repeated, "ids stand there again, with the same answer"),
        ):
            if ids:
                told.append(f"{len(ids)} {what}: {', '.join(ids[:SHOWN])}{', ...' if ids[SHOWN:] else ''}")
        return told

    @property
    def _files(self) -> list[Path]:
        root = Path(self.path)
        if not root.is_dir():
            return [root]
        found = sorted(file for file in root.rglob("*") if file.is_file() and file.name.endswith(ENDINGS))
        if not found:
            raise UserError(f"{self.path}: no file of answers in it ({', '.join(f'*{ending}' for ending in ENDINGS)}).")
        return found

    @cached_property
    def _answers(self) -> Answers:
        by_id: dict[str, Mapping[str, Any]] = {}
        repeated = []
        for file in self._files:
            for number, line in lines_of(file, f"It is named by answers={self.path}."):
                known_as, row = _row(line, f"{named(file)}, line {number}")
                if (first := by_id.setdefault(known_as, row)) is row:
                    continue
                if any(first.get(key) != row.get(key) for key in HELD):
                    raise UserError(
                        f"{named(file)}, line {number}: another answer to {known_as} than the first that stands in "
                        f"{self.path}. Name the answers of one model alone: answers=FILE, or its own folder."
                    )
                repeated.append(known_as)
        return Answers(by_id, repeated)

    def _answer(self, sample: Sample) -> Prediction:
        row = next((self._answers.by_id[known] for known in _known_as(sample) if known in self._answers.by_id), None)
        if row is None:
            return Prediction(sample_id=sample.id, error="model")
        try:
            reply = self._reply(row)
        except ModelError as error:
            if error.kind == "unreadable":
                return Prediction(sample_id=sample.id, text=error.written, error="format")
            failed = row.get("result")
            return Prediction(sample_id=sample.id, raw=failed, text=failed or "", error="model")
        if reply is None:
            return self._of_result(sample, row["result"])
        return read_answer(sample, reply, self.answer_format)

    def _reply(self, row: Mapping[str, Any]) -> Reply | None:
        """What a line has as an endpoint's reply; None: it is of a result file.

        Raises:
            ModelError: there was no answer.
            UserError: it is no message of a chat completion.
        """
        if "result" in row:
            if isinstance(row["result"], str) and row["result"].startswith(FAILED):
                raise ModelError("no_answer", row["result"])
            return None
        try:
            return read_reply(json.dumps({"choices": [_choice(row)]}).encode())
        except ModelError as error:
            if error.kind != "malformed":
                raise
            raise UserError(f"{self.path}: the answer to {row['id']}: {error.said}") from error

    def _of_result(self, sample: Sample, result: Any) -> Prediction:
        """An answer of a result file; what is neither text nor calls is an attempt that cannot be read."""
        kept = {"sample_id": sample.id, "raw": result}
        if isinstance(result, str):
            read = parse(self.answer_format or _format_of(result), result, tools=sample.tools)
            return Prediction(
                **kept, text=result, calls=read.calls, content=read.content, error=read.error, recovered=read.recovered
            )
        if not isinstance(result, list) or not all(isinstance(call, dict) and len(call) == 1 for call in result):
            return Prediction(**kept, text=json.dumps(result, ensure_ascii=False), error="format")
        calls = [(name, _text(given)) for call in result for name, given in call.items()]
        read = under_bare_names(parse_tool_calls("", calls, sample.tools), sample.tools)
        return Prediction(**kept, calls=read.calls, error=read.error, recovered=read.recovered)


def _known_as(sample: Sample) -> tuple[str, str]:
    """What its answer may be known by: the id of the benchmark's entry, and the sample's."""
    entry = sample.env.state.get("entry", sample.id) if sample.env else sample.id
    return str(entry), sample.id


def _row(line: str, where: str) -> tuple[str, Mapping[str, Any]]:
    """An answer with its id.

    Raises:
        UserError: it is none.
    """
    try:
        row = from_json(line)
    except ValueError as error:
        raise UserError(f"{where}: no JSON: {error}. Give JSON lines, an answer in each.") from error
    found = row if isinstance(row, dict) else {}
    known_as = found.get("id") if "custom_id" not in found else found["custom_id"]
    if not isinstance(known_as, str | int) or not any(key in found for key in HELD):
        seen = f"the keys {', '.join(map(str, found))}" if found else "no object"
        raise UserError(
            f"{where}: no answer: {seen}. It has an id (or custom_id) and the answer, under one of {', '.join(HELD)}: "
            '{"id": "simple_python_0", "message": {"role": "assistant", "content": "...", "tool_calls": []}}'
        )
    return str(known_as), {**found, "id": str(known_as)}


def _choice(row: Mapping[str, Any]) -> dict[str, Any]:
    """The message of a line, and how it ended, as a choice of a chat completion.

    Raises:
        ModelError: the request failed, or ``malformed``: there is none.
    """
    given = next(row[key] for key in HELD if key in row)
    if isinstance(given, dict) and "body" in given:
        status, given = given.get("status_code"), given["body"]
        if isinstance(status, int) and status >= 400:
            raise told_failure(given.get("error") or given if isinstance(given, dict) else given, status)
    if isinstance(given, str):
        return {"message": {"content": given}, "finish_reason": "stop"}
    if given is None or given == {}:
        raise told_failure(row.get("error") or "nothing stands there")
    if not isinstance(given, dict):
        raise ModelError("malformed", f"no message, but {json.dumps(given)[:SHOWN_LENGTH]}")
    if isinstance(given.get("output"), list):
        return _of_responses(given)
    choices = given.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        kept = {key: part for key, part in choices[0].items() if key != "logprobs"}
        return {"finish_reason": "stop", **kept, "message": choices[0].get("message") or {}}
    if given.keys() & {"content", "tool_calls", "function_call"}:
        return {"message": given, "finish_reason": given.get("finish_reason", "stop")}
    if given.get("error") or "choices" in given:
        raise told_failure(given.get("error") or "no choices")
    raise ModelError("malformed", f"no message of a chat completion, but an object of the keys {', '.join(given)}")


def _of_responses(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body of the Responses API as a choice of a chat completion; reasoning and what servers ran is passed over.

    Raises:
        ModelError: it tells of a failure.
    """
    status = body.get("status") or "completed"
    if body.get("error") or status not in ("completed", "incomplete"):
        raise told_failure(body.get("error") or f"its status is {status!r}")
    items = [item for item in body["output"] if isinstance(item, dict)]
    held = [item.get("content") or () for item in items if item.get("type") == "message"]
    texts = [[{"text": content}] if isinstance(content, str) else content for content in held]
    parts = [part for content in texts if isinstance(content, list) for part in content if isinstance(part, dict)]
    called = [item for item in items if item.get("type") in ("function_call", "custom_tool_call")]
    calls = [{"function": {key: item[key] for key in CALLED if key in item}} for item in called]
    words = "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)
    details = body.get("incomplete_details")
    why = details.get("reason") if isinstance(details, dict) else None
    finish = ENDED.get(str(why), str(why)) if status == "incomplete" else "tool_calls" if calls else "stop"
    return {"message": {"content": words, "tool_calls": calls}, "finish_reason": finish}


def _format_of(text: str) -> str:
    """The format whose mark a text without its reasoning bears, or in which calls stand further on; of words, any."""
    answer = after_thinking(text, "hermes")
    marked = (name for name, mark in MARKS.items() if mark.search(answer))
    return next(marked, "pythonic" if list_at(answer) >= 0 else "hermes")


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
