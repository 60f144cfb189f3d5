"""Reasoning in an answer, in whichever marks: what stands in it is neither words nor a call."""

from __future__ import annotations

import re
from collections.abc import Callable

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
_HINTS = "hink", "HINK", "<|inner_", "channel"
"""Part of each mark: asked first, as most answers hold none and the pattern takes 25 times as long."""
_OPENS = tuple(THOUGHTS)
_OPEN = re.compile("|".join(map(re.escape, THOUGHTS)))
_CLOSE = re.compile("|".join(map(re.escape, THOUGHTS.values())))


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
    closed = _CLOSE.search(text)
    if closed is None:
        return (text, None) if thinking or text.lstrip().startswith(_OPENS) else ("", text)
    opened = _OPEN.search(text, 0, closed.start())
    if not thinking and is_call(text[: opened.start() if opened else closed.start()]):
        return "", text
    at = closed.end()
    thoughts, words = [text[:at]], [""]
    while opened := _OPEN.search(text, at):
        words.append(text[at : opened.start()])
        if is_call(words[-1]):
            break
        end = text.find(close := THOUGHTS[opened[0]], opened.end())
        if end < 0:
            if not any(map(str.strip, words)):
                return text, None
            break
        at = end + len(close)
        thoughts.append(text[opened.start() : at])
        words.append("")
    words[-1] = text[at:]
    return "".join(thoughts), "".join(words)
