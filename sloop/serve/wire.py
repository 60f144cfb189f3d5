"""The OpenAI chat API as JSON: requests in, completions, chunks and errors out. What cannot be honoured is refused."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sloop.calls.schema.validation import Unusable, checked
from sloop.records import Message, Record, Sample, Tool, from_json
from sloop.serve.protocol import Answer, ChatRequest, RequestError, Token

SAID = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
"""Our role for each of OpenAI's."""


UNION_TAGS = ("str", "_Choice")
"""What Pydantic puts into the place of an error and no client wrote."""


class Asked(Record):
    """A request, and how its answer is to be sent."""

    request: ChatRequest
    stream: bool = False
    include_usage: bool = False


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Function(_Loose):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(_Loose):
    type: Literal["function"]
    function: _Function


class _CallFunction(_Loose):
    name: str
    arguments: str


class _Call(_Loose):
    id: str | None = None
    function: _CallFunction


class _Part(_Loose):
    type: Literal["text", "refusal"]
    text: str = ""
    refusal: str = ""


class _Message(_Loose):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: Any = None
    """A call as it was written before there were tools."""


class _Named(_Loose):
    name: str


class _Choice(_Loose):
    type: Literal["function"]
    function: _Named


class _Schema(_Loose):
    schema_: dict[str, Any] = Field(alias="schema")


class _Format(_Loose):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _StreamOptions(_Loose):
    include_usage: bool = False


_Stop = Annotated[str, Field(max_length=1000)]


class _Body(BaseModel):
    """The fields that are understood; any other is refused, as it might ask for another answer."""

    model_config = ConfigDict(extra="forbid")

    model: str
    messages: list[_Message] = Field(min_length=1)
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    response_format: _Format | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    # What changes no answer is taken and left alone.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # What would change it is taken at the value that asks for nothing.
    n: Literal[1] | None = None
    top_logprobs: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None


def read_request(body: bytes) -> Asked:
    """The request that a body holds.

    Raises:
        RequestError: it is not JSON, not a chat request, or asks for what this server does not do.
    """
    try:
        given = _Body.model_validate_json(body)
    except ValidationError as error:
        raise _not_understood(error) from error
    if given.stream_options and not given.stream:
        raise RequestError(400, "'stream_options' is only allowed when 'stream' is enabled.", param="stream_options")
    if given.temperature and given.top_p not in (None, 1):
        message = f"top_p={given.top_p:g}: at a temperature this server draws from all tokens, top_p 1."
        raise RequestError(400, message, code="unsupported_value", param="top_p")
    tools = tuple(_tool(tool.function) for tool in given.tools or ())
    choice = given.tool_choice or "auto"
    only = choice.function.name if isinstance(choice, _Choice) else None
    if only is not None and only not in {tool.name for tool in tools}:
        raise RequestError(400, f"tool_choice names {only!r}, which is not among the tools.", param="tool_choice")
    if choice == "required" and not tools:
        raise RequestError(400, "tool_choice is 'required', and there are no tools.", param="tool_choice")
    stop = [given.stop] if isinstance(given.stop, str) else given.stop or []
    wanted = given.response_format
    schema = wanted.json_schema.schema_ if wanted and wanted.type == "json_schema" and wanted.json_schema else None
    if wanted and wanted.type == "json_schema":
        _check_schema(schema)
    request = ChatRequest(
        model=given.model,
        messages=_messages(given.messages),
        tools=tools,
        strict=frozenset(tool.function.name for tool in given.tools or () if tool.function.strict),
        tool_choice="required" if isinstance(choice, _Choice) else choice,
        only=only,
        parallel=given.parallel_tool_calls is not False,
        max_tokens=given.max_completion_tokens or given.max_tokens,
        temperature=given.temperature,
        stop=tuple(text for text in stop if text),
        seed=given.seed,
        logprobs=bool(given.logprobs),
        json_output=wanted is not None and wanted.type != "text",
        json_schema=schema,
    )
    include_usage = given.stream_options is not None and given.stream_options.include_usage
    return Asked(request=request, stream=bool(given.stream), include_usage=include_usage)


def _tool(function: _Function) -> Tool:
    parameters = {"type": "object", "properties": {}} if function.parameters is None else function.parameters
    return Tool(name=function.name, description=function.description or "", parameters=parameters)


def _messages(given: Sequence[_Message]) -> tuple[Message, ...]:
    """The dialogue in our form, its calls known by position as in every sample.

    Raises:
        RequestError: a call's arguments are not a JSON object, or it is one of ``function_call``.
    """
    rows: list[dict[str, Any]] = []
    for number, message in enumerate(given):
        if message.function_call is not None:
            where = f"messages[{number}].function_call"
            raise RequestError(400, "function_call is not read: give the call in tool_calls.", param=where)
        content = message.content
        if isinstance(content, list):
            content = "".join(part.text or part.refusal for part in content)
        row: dict[str, Any] = {"role": SAID[message.role], "content": content or ""}
        if message.role == "assistant" and message.tool_calls:
            row["tool_calls"] = [
                {"id": call.id, "function": {"name": call.function.name, "arguments": _arguments(call, number)}}
                for call in message.tool_calls
            ]
        if message.role == "tool" and message.tool_call_id is not None:
            row["tool_call_id"] = message.tool_call_id
        rows.append(row)
    return Sample.model_validate({"tools": (), "messages": rows}).messages


def _arguments(call: _Call, number: int) -> dict[str, Any]:
    where = f"messages[{number}].tool_calls"
    try:
        arguments = from_json(call.function.arguments or "{}")
        json.dumps(arguments, ensure_ascii=False).encode()  # of half a character, which JSON can spell
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the arguments of {call.function.name!r} are not JSON.", param=where) from error
    if not isinstance(arguments, dict):
        raise RequestError(400, f"the arguments of {call.function.name!r} are not a JSON object.", param=where)
    return arguments


def _check_schema(schema: dict[str, Any] | None) -> None:
    if schema is None:
        raise RequestError(400, "response_format of type 'json_schema' needs 'json_schema'.", param="response_format")
    try:
        checked(schema)
    except Unusable as error:
        message = f"response_format holds no JSON Schema (draft 2020-12): {error}"
        raise RequestError(400, message, param="response_format") from error


def _not_understood(error: ValidationError) -> RequestError:
    """One complaint, about a field that the client wrote: of a union's, the one that got farthest."""
    found = error.errors(include_url=False)
    first = max(found, key=lambda one: (one["type"] == "extra_forbidden", len(one["loc"])))
    place = [part for part in first["loc"] if isinstance(part, int) or (part.isidentifier() and part not in UNION_TAGS)]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    if first["type"] == "extra_forbidden":
        return RequestError(
            400, f"Unrecognized request argument supplied: {param}", code="unknown_parameter", param=param
        )
    top = str(place[0]) if place else ""
    if first["type"] == "json_invalid" or not top:
        return RequestError(400, f"The body is not a chat request in JSON: {first['msg']}")
    code = "unsupported_value" if first["type"] == "literal_error" else "invalid_value"
    return RequestError(400, f"{param}: {first['msg']}", code=code, param=top)


class Completion:
    """One answer on its way out: its id and time, in every part that is sent."""

    def __init__(self, asked: Asked) -> None:
        """Begin a completion of what was asked."""
        self.asked = asked
        self.head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.request.model}

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer in one object."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": None}
        if answer.calls:
            message["content"] = answer.content or None
            message["tool_calls"] = list(_calls(answer))
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": _finish(answer), "logprobs": None}
        if self.asked.request.logprobs and answer.tokens is not None:
            choice["logprobs"] = _logprobs(answer.tokens)
        return {**self.head, "object": "chat.completion", "choices": [choice], "usage": _usage(answer)}

    def first(self) -> dict[str, Any]:
        """The chunk that opens the message."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str, tokens: Sequence[Token]) -> dict[str, Any]:
        """A chunk of the content."""
        return self._chunk({"content": text}, tokens)

    def rest(self, answer: Answer, sent: str, tokens: Sequence[Token]) -> Iterator[dict[str, Any]]:
        """The chunks from what was sent to the end: more content, the calls, the finish, the usage.

        Args:
            answer: the finished answer.
            sent: how its content begins, which has gone out already.
            tokens: those that have not gone out yet.
        """
        deltas: list[dict[str, Any]] = []
        if more := answer.content.removeprefix(sent):
            deltas.append({"content": more})
        for index, call in enumerate(_calls(answer)):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            deltas.append({"tool_calls": [{**call, "index": index, "function": {"name": name, "arguments": ""}}]})
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
        for delta in deltas:
            yield self._chunk(delta, tokens)
            tokens = ()
        yield self._chunk({}, tokens, finish=_finish(answer))
        if self.asked.include_usage:
            yield {**self.head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(answer)}

    def _chunk(self, delta: dict[str, Any], tokens: Sequence[Token] = (), finish: str | None = None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        if self.asked.request.logprobs and tokens:
            choice["logprobs"] = _logprobs(tokens)
        chunk: dict[str, Any] = {**self.head, "object": "chat.completion.chunk", "choices": [choice]}
        return {**chunk, "usage": None} if self.asked.include_usage else chunk


def model_card(name: str, created: int) -> dict[str, Any]:
    """A model as ``/v1/models`` lists it."""
    return {"id": name, "object": "model", "created": created, "owned_by": "sloop"}


def error_body(error: RequestError) -> dict[str, Any]:
    """An error as the OpenAI API says it."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    said: dict[str, Any] = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    if error.written is not None:
        said["failed_generation"] = error.written
    return {"error": said}


def event(data: dict[str, Any] | str) -> str:
    """A server-sent event."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.calls else answer.finish


def _calls(answer: Answer) -> Iterator[dict[str, Any]]:
    for call in answer.calls:
        function = {"name": call.name, "arguments": call.arguments}
        yield {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def _logprobs(tokens: Iterable[Token]) -> dict[str, Any]:
    rows = [{"token": t.text, "logprob": t.logprob, "bytes": list(t.text.encode()), "top_logprobs": []} for t in tokens]
    return {"content": rows, "refusal": None}


def _usage(answer: Answer) -> dict[str, Any]:
    prompt, written = answer.prompt_tokens, answer.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
