"""Replies that are JSON of a given schema, from servers that can hold a model to one and from those that cannot.

What a server promises is not believed: every reply is checked, and a model that missed the schema is told so and asked
again. A schema should name all its properties as required and allow no others, which is what strict servers want.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from sloop.calls.formats.thoughts import split_thinking
from sloop.calls.schema.validation import faults, validator
from sloop.records import Message, from_json

StructuredOutput = Literal["json_schema", "json_object", "prompt"]
"""How a server is asked for JSON: by its schema, as some JSON object, or in words alone."""
WEAKER: dict[StructuredOutput, StructuredOutput] = dict(
    zip(get_args(StructuredOutput), get_args(StructuredOutput)[1:], strict=False)
)
"""What is tried where a server does not take the one before."""
UNSUPPORTED = re.compile(r"response_?format|json_?schema|json_?object|structured|guided|grammar", re.I)
PROBLEM_LENGTH = 300
_OBJECT = re.compile(r'\{\s*+["{}]')
"""What begins as an object does; a word in braces is none."""


def response_format(schema: Mapping[str, Any], how: StructuredOutput) -> dict[str, Any] | None:
    """The request's ``response_format``; None: it has none."""
    if how == "json_schema":
        return {"type": how, "json_schema": {"name": "reply", "schema": dict(schema), "strict": True}}
    return {"type": how} if how == "json_object" else None


def told_schema(messages: Sequence[Message], schema: Mapping[str, Any]) -> list[Message]:
    """The dialogue with the schema in words, in its system message, which some servers allow at the start alone."""
    words = f"Answer with one JSON object and nothing else. It must satisfy this JSON Schema:\n{json.dumps(schema)}"
    first = messages[0] if messages and messages[0].role == "system" else None
    content = f"{first.content}\n\n{words}" if first else words
    return [Message(role="system", content=content), *messages[1 if first else 0 :]]


def asked_again(messages: Sequence[Message], answer: str, problem: str) -> list[Message]:
    """The dialogue after an answer that missed the schema."""
    told = problem[:PROBLEM_LENGTH]
    words = f"That answer is not usable: {told}. Answer again, with one corrected JSON object and nothing else."
    return [*messages, Message(role="assistant", content=answer), Message(role="user", content=words)]


def read_object(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value of an answer, checked against the schema (draft 2020-12).

    It stands alone, or as the only object among words, in a code fence or not, after the reasoning.

    Raises:
        ValueError: it is no JSON, or misses the schema; says where.
    """
    try:
        value = from_json(text)
    except ValueError as error:
        try:
            value = _only_object(split_thinking(text, lambda _: False)[1] or "")
        except (ValueError, RecursionError):
            raise ValueError(f"not JSON: {error}") from None
    if worst := best_match(faults(_validator(json.dumps(schema)), value)):
        raise ValueError(f"{worst.json_path}: {worst.message}")
    return value


def _only_object(text: str) -> Any:
    """The one JSON object of a text.

    Raises:
        ValueError: there is none, or more than one.
    """
    found: list[str] = []
    end = 0
    while len(found) < 2 and (opened := _OBJECT.search(text, end)):
        _, end = json.JSONDecoder().raw_decode(text, opened.start())  # once a text at most in vain
        found.append(text[opened.start() : end])
    if len(found) != 1:
        raise ValueError("no object, or more than one")
    return from_json(found[0])


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Draft202012Validator:
    return validator(json.loads(schema))
