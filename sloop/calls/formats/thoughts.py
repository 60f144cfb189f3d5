"""Reasoning in an answer, in whichever marks: what stands in it is neither words nor a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

THOUGHTS = {
    "<think>": "</think>",  # Qwen, DeepSeek, GLM, MiniMax, Kimi, Hunyuan
    "[THINK]": "[/THINK]",  # Magistral
    "<seed:think>": "</seed:think>",
    "<thinking>": "</thinking>",
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<|channel>thought": "<channel|>",  # Gemma 4
    "◁think▷": "◁/think▷",  # Kimi VL
}
THINKING_PARTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_content", "reasoning_text")
"""Kinds of the parts of a message's content that a model thinks in."""
_HINTS = "hink", "HINK", "<|inner_", "channel"
"""Part of each mark: asked first, as most answers hold none and the pattern takes 25 times as long."""
_OPENS = tuple(THOUGHTS)
_OPEN = re.compile("|".join(map(re.escape, THOUGHTS)))


def split_thinking(text: str, is_call: Callable[[str], object], *, thinking: bool = False) -> tuple[str, str | None]:
    """Reasoning and the answer proper; None: the reasoning was never finished.

    Templates may put the opening mark into the prompt, so the close alone is enough; but what opens a call before it
    makes it part of that call's text. Thoughts between words are taken out, up to the first call.

    Args:
        text: what was generated.
        is_call: whether a text holds what opens a call.
        thinking: the prompt ended within a thought: there is no answer before it closes.
    """
    if not thinking and not any(map(text.__contains__, _HINTS)):
        return "", text
    closed = _first(text, THOUGHTS.values())
    if closed is None:
        return (text, None) if thinking or text.lstrip().startswith(_OPENS) else ("", text)
    opened = _first(text[: closed[0]], THOUGHTS)
    if not thinking and is_call(text[: (opened or closed)[0]]):
        return "", text
    at = closed[0] + len(closed[1])
    if _first(text[at:], THOUGHTS) is None:
        return text[:at], text[at:]
    thoughts, words = [text[:at]], [""]
    while found := _OPEN.search(text, at):
        words.append(text[at : found.start()])
        if is_call(words[-1]):
            break
        end = text.find(close := THOUGHTS[found[0]], found.end())
        if end < 0:
            if not any(map(str.strip, words)):
                return text, None
            break
        at = end + len(close)
        thoughts.append(text[found.start() : at])
        words.append("")
    words[-1] = text[at:]
    return "".join(thoughts), "".join(words)


def _first(text: str, marks: Iterable[str]) -> tuple[int, str] | None:
    """Where the first of the marks stands, and which; quicker than the pattern where a text is looked at once."""
    return min(((at, mark) for mark in marks if (at := text.find(mark)) >= 0), default=None)
