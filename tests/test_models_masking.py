"""A key is struck out of somebody else's words, however much of it comes back and however it is written."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from clients import ask_all, client
from endpoint import serving
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.models.base import ModelError, Reply
from sloop.models.masking import MASK, RUN, masked
from sloop.records import Label

KEY = "sk-Pl4nted/9fQ+zXw_7tR-0aBcDeFgHiJk"
WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "small": str.lower,
    "quoted": lambda part: quote(part, safe=""),
    "all percent": lambda part: "".join(f"%{byte:02X}" for byte in part.encode()),
    "spaced": " ".join,
    "by lines": "\n".join,
    "by escaped lines": "\\n".join,
    "with nothing between": "\u200b".join,
    "escaped": lambda part: "".join(f"\\u{ord(letter):04x}" for letter in part),
    "as JSON": json.dumps,
    "as entities": lambda part: "".join(f"&#{ord(letter)};" for letter in part),
    "as HTML": html.escape,
    "in hexadecimal": lambda part: part.encode().hex(),
    "in spaced hexadecimal": lambda part: part.encode().hex(" "),
}


@pytest.mark.parametrize("way", WRITTEN)
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_any_run_of_the_key_is_struck_out(way: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(KEY) - RUN))
    end = data.draw(st.integers(start + RUN, len(KEY)))
    before, after = (data.draw(st.text("go .:\n", max_size=9)) for _ in range(2))
    written = WRITTEN[way](KEY[start:end])
    said = masked(f"{before}{written}{after}", KEY)
    assert said.startswith(before)
    assert MASK in said
    assert written not in said
    assert KEY[start:end].lower() not in said.lower()


@given(st.binary(max_size=5), st.binary(max_size=5), st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
def test_its_base64_is_struck_out_wherever_it_stands_in_a_longer_text(
    before: bytes, after: bytes, encode: Callable[[bytes], bytes]
) -> None:
    whole = encode(before + KEY.encode() + after).decode()
    said = masked(f"token {whole}.", KEY)
    assert said.startswith("token ")
    assert len(said) < len("token ") + len(whole) - len(KEY)


@given(st.text())
def test_what_holds_no_part_of_the_key_stays(text: str) -> None:
    assert masked(text, "\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x0f") == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        (KEY[: RUN - 1], KEY[: RUN - 1]),
        (f"a {KEY} b {KEY[:9]} c", f"a {MASK} b {MASK} c"),
        (f"key={KEY}&x=1", f"key={MASK}&x=1"),
    ],
)
def test_it_is_the_key_that_is_struck_out_and_nothing_else(text: str, said: str) -> None:
    assert masked(text, KEY) == said


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("EMPTY", "EMPTY, not empty", f"{MASK}, not empty"),
        ("x", "max_tokens: x is unexpected", f"max_tokens: {MASK} is unexpected"),
        ("none", "nonetheless key=none", f"nonetheless key={MASK}"),
        ("test", "the latest of my_test", f"the latest of my_{MASK}"),
    ],
)
def test_a_short_key_is_struck_out_where_it_stands_alone(key: str, text: str, said: str) -> None:
    assert masked(text, key) == said


@pytest.mark.parametrize("way", WRITTEN)
def test_an_error_that_repeats_the_key_says_it_nowhere(way: str) -> None:
    part = WRITTEN[way](KEY[3:20])
    with serving() as endpoint:
        endpoint.refuses = lambda body: f"Bad key: {part} (refused)"
        (error,) = ask_all(client(endpoint.url, key=KEY, retries=0), ["hi"])
    assert isinstance(error, ModelError)
    assert MASK in error.detail
    assert part not in str(error)


def test_a_reply_that_repeats_the_key_is_kept_without_it() -> None:
    with serving() as endpoint:
        endpoint.answer = lambda body: Label(content=f"Your key is {KEY[:20]}, ha.")
        (kept,) = ask_all(client(endpoint.url, key=KEY), ["hi"])
        (plain,) = ask_all(client(endpoint.url, key="EMPTY"), ["hi"])
    assert isinstance(kept, Reply)
    assert isinstance(plain, Reply)
    assert kept.content == f"Your key is {MASK}, ha."
    assert plain.content == f"Your key is {KEY[:20]}, ha."
