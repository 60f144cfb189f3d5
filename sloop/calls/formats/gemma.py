"""Gemma's own notation: ``call:f{town:<|"|>Bari<|"|>,days:2}``."""

from __future__ import annotations

import re
from typing import Any

from sloop.calls.formats.base import DECODER, Body, Tools, blocks, expect, made, no_duplicates, skip_space, until
from sloop.records import ToolCall

_BARE = re.compile(r"[^,\[\]{}<>]++")
_KEY = re.compile(r"[^:,\[\]{}<>]++(?=:)")
_NAME = re.compile(r"call:\s*+([^\s{}<>]++)\s*+\{")


def _notation(quote: str) -> Body:
    """A call whose strings stand between quotes of this kind."""

    def value(text: str, at: int) -> tuple[Any, int]:
        at = skip_space(text, at)
        if text.startswith(quote, at):
            return until(text, at + len(quote), quote)
        if text.startswith("{", at):
            return members(text, at + 1)
        if text.startswith("[", at):
            items: list[Any] = []
            at = skip_space(text, at + 1)
            while not text.startswith("]", at):
                item, at = value(text, at)
                items.append(item)
                at = skip_space(text, at)
                if not text.startswith("]", at):
                    at = skip_space(text, expect(text, at, ","))
            return items, at + 1
        bare = _BARE.match(text, at)
        if not bare:
            raise ValueError("no value")
        word = bare[0].strip()
        try:
            return DECODER.decode(word), bare.end()
        except ValueError:
            return word, bare.end()

    def members(text: str, at: int) -> tuple[dict[str, Any], int]:
        pairs: list[tuple[str, Any]] = []
        at = skip_space(text, at)
        while not text.startswith("}", at):
            if text.startswith(quote, at):
                key, at = until(text, at + len(quote), quote)
            elif found := _KEY.match(text, at):
                key, at = found[0].strip(), found.end()
            else:
                raise ValueError("no key")
            given, at = value(text, expect(text, at, ":"))
            pairs.append((key, given))
            at = skip_space(text, at)
            if not text.startswith("}", at):
                at = skip_space(text, expect(text, at, ","))
        return no_duplicates(pairs), at + 1

    def read(text: str, at: int, _: Tools) -> tuple[list[ToolCall], int]:
        name = _NAME.match(text, at)
        if not name:
            raise ValueError("a call without a name")
        arguments, at = members(text, name.end())
        return [made(name[1], arguments)], at

    return read


read_functiongemma = blocks(re.compile("<start_function_call>"), _notation("<escape>"), "<end_function_call>")
read_gemma4 = blocks(re.compile(r"<\|tool_call>"), _notation('<|"|>'), "<tool_call|>")
