"""How a reply ended: the one place that says so, for student, teacher and judge, over HTTP, in a stream and in process.

========== ================================================== ==================================================
ending     when                                               what becomes of it
========== ================================================== ==================================================
answer     a word known to be good, and something said or     read, judged, kept
           called
cut        the limit of tokens, or of the context, ended it   an answer cut off (``truncated``); never a label
unreadable the server could not read the call that the model  a format error of the model; never a label
           wrote
filtered   the server withheld it                             nothing is known: a failure, asked again by
                                                              ``retry_failed``
failed     anything else: a word that stands in no row, none   as filtered, and asked again at once
           at all, calls announced and missing, nothing said
========== ================================================== ==================================================

That nothing at all was said is a failure even where tokens were counted and the word is good: an upstream that broke, a
parser that swallowed the call, or a reasoning parser that took the whole answer looks just so, and counted as an answer
it would be a refusal to call. Reasoning in tags that nothing follows was seen to be the model's: an answer, which
`sloop.calls.formats.parse` says is a format error.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from sloop.calls.formats import opens_call

Ending = Literal["answer", "cut", "unreadable", "filtered", "failed"]
"""From best to worst."""

WORDS: dict[Ending, str] = {
    "answer": "stop end_turn stop_sequence eos eos_token complete tool_calls tool_call tool_use function_call",
    "cut": "length max_tokens max_output_tokens max_length max_new_tokens model_length token_limit error_limit "
    "context_length context_length_exceeded model_context_window_exceeded",
    "unreadable": "malformed_function_call malformed_tool_use unexpected_tool_call",
    "filtered": "content_filter content_filtered safety recitation language blocklist prohibited_content spii refusal "
    "image_safety image_prohibited_content guardrail_intervened sensitive error_toxic",
    "failed": "error failed abort aborted cancelled",
}
"""The closed table: finish words of OpenAI, Anthropic, Gemini, Bedrock, Mistral, DeepSeek, Cohere, Zhipu, TGI,
Together, vLLM, SGLang, llama.cpp, Ollama, Groq and OpenRouter, in either case and with any separator. What stands in no
row failed."""


def _plain(word: str) -> str:
    """The word alone: Gemini's endpoint puts another and a colon before it, enumerations their class and a dot."""
    return re.sub(r"[^a-z]", "", re.split(r"[:.]", word.rstrip("."))[-1].casefold()).removeprefix("finishreason")


_ENDING: dict[str, Ending] = {_plain(word): ending for ending, words in WORDS.items() for word in words.split()}
_ORDER: tuple[Ending, ...] = get_args(Ending)
_CALLED = {_plain(word) for word in ("tool_calls", "tool_call", "tool_use", "function_call")}


def telling(finish: str | None, native: str | None) -> str:
    """Of a gateway's word and its provider's own the one that tells more: the worse, where both are known."""
    known = [word for word in (finish, native) if word and _plain(word) in _ENDING]
    if not finish or len(known) < 2:
        return finish or ""
    return max(known, key=lambda word: _ORDER.index(_ENDING[_plain(word)]))


def read_ending(finish: str, content: str, called: bool) -> tuple[Ending, str]:
    """How a reply ended, and why that is no answer.

    Args:
        finish: the word; empty where there was none.
        content: the text, reasoning and all.
        called: whether calls were handed over beside it.
    """
    word = _plain(finish)
    ending = _ENDING.get(word, "failed")
    if ending == "failed":
        return ending, f"finish_reason {finish!r} is no word that an answer is known to end with"
    if ending != "answer":
        return ending, f"finish_reason {finish!r}"
    if not called and word in _CALLED and not opens_call(content):
        return "failed", f"finish_reason {finish!r}, and no call came with it"
    if not called and not content.strip():
        return "failed", "nothing was said or called"
    return ending, ""
