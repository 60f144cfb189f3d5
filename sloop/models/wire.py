"""What goes over the wire: requests in OpenAI chat form, replies and errors as servers really send them."""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import openai
from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, ValidationError

from sloop.calls.formats.thoughts import THINKING_PARTS
from sloop.models.base import CallText, ErrorKind, ModelError, Reply, Sampling, Usage
from sloop.models.endings import read_ending, telling
from sloop.records import Message, Tool, digest, to_json

TOO_LONG = re.compile(
    r"context.?(length|window|size|limit)|maximum context|too many tokens|prompt is too long"
    r"|input token count.{0,30}exceeds the maximum"  # Gemini
    r"|input is too long for"  # Bedrock
    r"|`inputs` (tokens \+ `max_new_tokens` must be|must have less than)",  # TGI
    re.I,
)
NO_MODEL = re.compile(r"model\W+\S+\W+(does not exist|(was |is )?not found)|(unknown|no such|invalid) model", re.I)
"""This ends a run, so the words must name the model itself; that "the model" cannot do something is another matter."""
FLAGGED = re.compile(r"moderation|flagged", re.I)
UNREADABLE = re.compile(
    r"error parsing tool call"  # Ollama
    r"|failed to parse (input at pos|tool.?call)"  # llama.cpp
    r"|failed to (call a function|generate (tool.?call|json))"  # Groq, Cerebras
    r"|tool call validation failed|tried to call unavailable tool"  # Groq and others
    r"|while expecting start token|tokens remaining in message header",  # gpt-oss behind vLLM and SGLang
    re.I,
)
"""Complaints, under 400 or 500, of what the model wrote and not of what it was asked."""
UNREADABLE_CODES = ("tool_use_failed", "output_parse_failed")
OF_THE_DIALOGUE = re.compile(r"messages\W{0,3}\d")
"""In such a complaint: it is of the calls that were sent along."""
WRITTEN = re.compile(r"raw='(.*)' ?err=|at pos \d+: (.+)", re.S)
"""What the model wrote, within a complaint of Ollama's, or the rest of it from there on, within one of llama.cpp's."""


MOST_CALLS = 1000
"""Of a reply, or of a piece of one."""
LONGEST_SHOWN = 80
STATUS = {
    "context_length_exceeded": 400,
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
}
"""Of codes that are words."""


def request_body(model: str, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling) -> dict[str, Any]:
    """The request as the endpoint gets it, in OpenAI chat form."""
    body: dict[str, Any] = {
        "model": model,
        "messages": list(_wire(messages)),
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    if tools:
        body["tools"] = [tool.to_openai() for tool in tools]
        body["tool_choice"] = sampling.tool_choice
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.logprobs:
        body["logprobs"] = True
    return {name: value for name, value in {**body, **sampling.in_text}.items() if value is not None}


def _wire(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """Messages as every server takes them.

    The id of the dialogue's k-th call has nine letters and digits, as Mistral wants it and others allow. Beside calls
    an empty text is null: Anthropic's models, behind some gateways, refuse an empty one.
    """
    made = 0
    for message in messages:
        row = message.to_openai()
        for call in row.get("tool_calls", ()):
            call["id"] = _call_id(f"call_{made}")
            made += 1
        if message.tool_calls and not message.content:
            row["content"] = None
        if message.tool_call_id is not None:
            row["tool_call_id"] = _call_id(message.tool_call_id)
        yield row


def _call_id(name: str) -> str:
    """A call's own id; any name of no call of the dialogue, which a stranger's may hold, has one as well."""
    number = name.removeprefix("call_")
    return f"call{int(number):05}" if number.isdecimal() and len(number) <= 5 else digest(name)[:9]


def failure(error: openai.APIStatusError) -> ModelError:
    """What an error status means."""
    told = error.body or error.response.reason_phrase
    return told_failure(told, error.status_code, retry_after(error.response.headers))


def told_failure(fault: Any, status: int | None = None, wait: float | None = None) -> ModelError:
    """What a server's error means: that of a status, or one that stands within a reply of the status 200.

    A server that checks what a model writes complains of it as if the request were wrong, or as if it had failed
    itself: that is the model's doing (``unreadable``), and what it wrote stands beside the complaint, or in it, or
    nowhere: the complaint itself is nothing that it wrote.
    """
    body = fault if isinstance(fault, Mapping) else {"message": fault}
    code, text = str(body.get("code") or ""), _words(body)
    detail = f"HTTP {status}: {text}" if status else f"error {code}: {text}"
    if status is None:
        status = int(code) if re.fullmatch(r"[345]\d\d", code) else STATUS.get(code, 500)
    written, says_so = body.get("failed_generation"), status in (400, 422) or status >= 500
    says_so = says_so and bool(UNREADABLE.search(text)) and not OF_THE_DIALOGUE.search(text)
    if isinstance(written, str) or code in UNREADABLE_CODES or says_so:
        held = WRITTEN.search(text)
        given = written if isinstance(written, str) else next(filter(None, held.groups()), "") if held else ""
        return ModelError("unreadable", detail, written=given)
    return ModelError(error_kind(status, code, str(body.get("type") or ""), text), detail, wait)


def error_kind(status: int, code: str, type: str, text: str) -> ErrorKind:
    """The kind that an error's status, code and words mean. Servers differ: vLLM says 404 for a model, others 400."""
    if code == "model_not_found" or (status in (400, 404) and NO_MODEL.search(text)):
        return "unknown_model"
    if code == "content_filter" or (status == 403 and FLAGGED.search(text)):
        return "filtered"
    if 300 <= status < 400:
        return "no_such_path"
    if status in (400, 413, 422):
        return "too_long" if code == "context_length_exceeded" or TOO_LONG.search(text) else "refused"
    if status in (402, 429) and (status == 402 or "insufficient_quota" in (code, type)):
        return "quota"
    kinds: dict[int, ErrorKind] = {401: "auth", 403: "auth", 404: "no_such_path", 405: "no_such_path"}
    kinds |= {408: "timeout", 409: "server", 425: "server", 429: "rate_limit"}
    return kinds.get(status, "server" if status >= 500 else "refused")


def _words(body: Any) -> str:
    """The message of an error's JSON, and what a gateway's upstream said."""
    if not isinstance(body, Mapping):
        return str(body or "")
    metadata = body.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return " ".join(str(part) for part in (body.get("message") or body.get("detail") or dict(body), raw) if part)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = email.utils.parsedate_to_datetime(headers["retry-after"])
        return max(0.0, date.timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None


def _text(content: Any) -> Any:
    """The text of a message's content, of which a list has parts; reasoning is left out.

    Raises:
        ValueError: a part is of a kind that is no text.
    """
    if not isinstance(content, list):
        return content
    texts: list[str] = []
    for place, part in enumerate(content):
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        if kind in THINKING_PARTS:
            continue
        text = part.get("refusal" if kind == "refusal" else "text", part) if isinstance(part, dict) else part
        if kind not in ("text", "output_text", "refusal") or not isinstance(text, str | None):
            raise ValueError(f"part {place} is {_shown(part)}; read are parts with text, and reasoning is left out")
        texts.append(text or "")
    return "".join(texts)


def arguments_text(arguments: Any) -> Any:
    """Arguments as the model wrote them; some servers hand them over parsed.

    No arguments are said in many ways: nothing, null and, by gateways whose language has one empty collection, a list.
    """
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return "" if text.strip() in ("", "null", "[]") else text


def call_text(name: str, arguments: Any) -> CallText:
    """A call as the model wrote it, of what a server handed over."""
    text = arguments_text(arguments)
    try:
        to_json(arguments)
    except ValueError:  # a number that is none: no record holds it, the text shows it
        return CallText(name=name, arguments=text)
    return CallText(name=name, arguments=text, sent=None if arguments == text else arguments)


Text = Annotated[str | None, BeforeValidator(_text)]
"""A message's content."""
NONE_IF_EMPTY = BeforeValidator(lambda given: given or None)
"""Languages with one empty collection write it for no calls."""


class Function(BaseModel):
    """A call, or a piece of one. A custom tool's input stands for its arguments."""

    name: str | None = None
    arguments: Any = Field("", validation_alias=AliasChoices("arguments", "input"))


def _call(given: Any) -> Any:
    """A call in the form of today; some keep its name and arguments without a ``function`` around them."""
    flat = isinstance(given, dict) and isinstance(given.get("name"), str) and not given.keys() & {"function", "custom"}
    return {"function": given} if flat else given


class _Call(BaseModel):
    function: Function = Field(validation_alias=AliasChoices("function", "custom"))


class _Message(BaseModel):
    content: Text = None
    refusal: str | None = None
    reasoning: Any = Field(None, validation_alias=AliasChoices("reasoning_content", "reasoning"))
    tool_calls: Annotated[
        list[Annotated[_Call, BeforeValidator(_call)]] | None, Field(max_length=MOST_CALLS), NONE_IF_EMPTY
    ] = None
    function_call: Annotated[Function | None, NONE_IF_EMPTY] = None


class _Choice(BaseModel):
    message: _Message | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: Any = None
    error: Any = None


class _Completion(BaseModel):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


def read_reply(content: bytes, *, wants_json: bool = False) -> Reply:
    """The first choice of a chat completion, where it is an answer or one that was cut off.

    Args:
        content: the body, before which a byte order mark or white space may stand.
        wants_json: JSON was asked for; a server may take it for reasoning whole, where the model did not think at all.

    Raises:
        ModelError: it is none, and what was found instead.
    """
    try:
        completion = _Completion.model_validate_json(content.removeprefix(b"\xef\xbb\xbf").strip())
    except ValidationError as error:
        raise ModelError("malformed", f"not a chat completion: {wrong_with(error, content)}") from error
    choice = completion.choices[0] if completion.choices else None
    if fault := completion.error or (choice and choice.error):
        raise told_failure(fault)
    if choice is None:
        raise ModelError("malformed", f"not a chat completion: it has no choices, and begins with {_begins(content)}")
    message, logprobs = choice.message or _Message(), read_logprobs(choice.logprobs) or ()
    calls = [call.function for call in message.tool_calls or ()]
    if message.function_call and not calls:
        calls = [message.function_call]
    text = message.content or message.refusal or ""
    if wants_json and not text.strip() and str(message.reasoning or "").strip().startswith("{"):
        text = str(message.reasoning)
    return answered(
        Reply(
            content=text,
            calls=tuple(call_text(call.name or "", call.arguments) for call in calls),
            finish=telling(choice.finish_reason, choice.native_finish_reason),
            logprob=math.fsum(logprobs) if logprobs else None,
            num_logprobs=len(logprobs),
            usage=read_usage(completion.usage),
        ),
        reasoned=bool(message.reasoning),
    )


def answered(reply: Reply, *, reasoned: bool = False) -> Reply:
    """The reply, where it is an answer or one that was cut off.

    Args:
        reply: any.
        reasoned: there was reasoning apart from its content.

    Raises:
        ModelError: it ended otherwise.
    """
    ending, why = read_ending(reply.finish, reply.content, bool(reply.calls))
    if ending in ("answer", "cut"):
        return reply
    kinds: dict[str, ErrorKind] = {"filtered": "filtered", "unreadable": "unreadable", "failed": "no_answer"}
    beside = "; there is reasoning beside it" if reasoned else ""
    tokens = f"; {reply.usage.completion_tokens} tokens counted" if reply.usage else ""
    raise ModelError(kinds[ending], f"{why}{beside}{tokens}", written=reply.content, usage=reply.usage)


def wrong_with(error: ValidationError, content: bytes) -> str:
    """Which field of a reply holds what."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"it is no JSON, and begins with {_begins(content)}"
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    return f"{where} is {_shown(first['input'])} ({first['msg']})"


def _begins(content: bytes) -> str:
    return _shown(content.strip()[: 2 * LONGEST_SHOWN].decode(errors="replace"))


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."


NO_LOGPROB = -9999.0
"""What servers write for a token whose probability they do not know, or that had none."""


def read_logprobs(given: Any) -> tuple[float, ...] | None:
    """Log-probabilities of the tokens, in the form of today or the one before; None where one of them is not known."""
    rows = given.get("content") or given.get("token_logprobs") if isinstance(given, Mapping) else given
    values: list[Any] = (
        [row.get("logprob") if isinstance(row, Mapping) else row for row in rows] if isinstance(rows, list) else []
    )
    known = all(isinstance(value, int | float) and NO_LOGPROB < value < 1e-3 for value in values)
    return tuple(values) if known else None


def read_usage(usage: Any) -> Usage | None:
    """The server's count; None where it counts neither prompt nor answer."""
    if not isinstance(usage, Mapping):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    given = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
    prompt, completion, cached = (
        math.ceil(count) if isinstance(count, int | float) and 0 <= count < 1e12 else None for count in given
    )
    if prompt is None and completion is None:
        return None
    return Usage(prompt_tokens=prompt or 0, completion_tokens=completion or 0, cached_tokens=cached or 0)
