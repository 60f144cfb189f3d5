"""Whether a finished answer is what its request demands.

Nothing here steers what is written: an answer that falls short becomes an error with the text that was generated
(``failed_generation``), status 400, as Groq's API does where it cannot constrain. An answer that was cut off
(``finish_reason: length``) is handed over as it is.
"""

from __future__ import annotations

from typing import Any

from jsonschema.exceptions import best_match

from sloop.calls.formats import parse_tool_calls, render_tool_calls
from sloop.calls.schema import call_errors
from sloop.calls.schema.validation import faults, validator
from sloop.records import UserError, from_json
from sloop.serve.protocol import Answer, ChatRequest, RequestError


def demands(request: ChatRequest) -> bool:
    """Whether an answer may turn out not to do: it must then not go out before it is finished."""
    return request.tool_choice == "required" or request.json_output or bool(request.strict) or not request.parallel


def check_answer(request: ChatRequest, answer: Answer) -> None:
    """Pass an answer that does.

    Raises:
        RequestError: the answer is not what was demanded.
    """
    if answer.finish == "length":
        return
    if fault := _calls_fault(request, answer):
        raise _failed("tool_use_failed", fault, "tool_choice", answer)
    if request.json_output and not answer.calls and (fault := _json_fault(request.json_schema, answer.content)):
        raise _failed("json_validate_failed", fault, "response_format", answer)


def _failed(code: str, fault: str, param: str, answer: Answer) -> RequestError:
    written = render_tool_calls(answer.content, [(call.name, call.arguments) for call in answer.calls])
    return RequestError(
        400, f"The model did not write what was asked for: {fault}", code=code, param=param, written=written
    )


def _calls_fault(request: ChatRequest, answer: Answer) -> str | None:
    names = [call.name for call in answer.calls]
    if request.tool_choice == "required" and not names:
        return "it called no tool."
    if request.only is not None and set(names) != {request.only}:
        return f"it called {', '.join(names)} instead of {request.only}."
    if not request.parallel and len(names) > 1:
        return f"it called {len(names)} tools, and parallel_tool_calls is false."
    parsed = parse_tool_calls("", [(call.name, call.arguments) for call in answer.calls])
    for call in parsed.calls:
        if call.name in request.strict:
            try:
                errors = call_errors(call, request.tools)
            except UserError as error:
                raise RequestError(400, str(error), param="tools") from error
            if errors:
                return f"a call of {call.name} breaks its schema: {'; '.join(errors)}."
    return None


def _json_fault(schema: dict[str, Any] | None, content: str) -> str | None:
    try:
        value = from_json(content)
    except ValueError:
        return "the content is not JSON."
    if schema is None:
        return None if isinstance(value, dict) else "the content is not a JSON object."
    try:
        error = best_match(faults(validator(schema), value))
    except (ValueError, OverflowError) as wrong:
        raise RequestError(
            400, f"response_format: the schema cannot be followed: {wrong}", param="response_format"
        ) from wrong
    return f"the content breaks the schema: {error.message}" if error else None
