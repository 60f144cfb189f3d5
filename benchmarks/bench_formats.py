"""Readers of chat formats on made-up text of up to a megabyte, and on their own calls with mistakes: nothing may raise,
and how long the slowest takes.

usage: python benchmarks/bench_formats.py [texts]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from kinds.texts import DIALECTS, mutated  # noqa: E402 - the tests are no package that is installed

from sloop.calls.formats import FORMATS, opens_call, parse  # noqa: E402

TEXTS = 10_000
LARGEST = 1_000_000
PIECES = (
    "<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>",
    "```json\n", "```", '{"name": "f", "arguments": {}}', '{"name": "f", "parameters": {"x": [1, 2]}}', "[f(x=1)]",
    "[f(", "x=", "{", "}", "[", "]", "(", ")", '"', "'", "\\", ",", ";", ":", "1e999", "-", " ", "\n",
    "words", "é", "\ud800",
)  # fmt: skip


def text_of(rng: Random) -> str:
    """Pieces at random, or one piece over and over, of a length between 1 and `LARGEST` characters."""
    length = int(10 ** rng.uniform(0, 6))
    some = rng.choices(PIECES, k=rng.choice((1, 2, 5, 30)))
    soup = rng.choice(("", "[f(x=", "```json\n", '{"name": "f", "parameters": ')) + "".join(some)
    while len(soup) < length:
        soup += soup if rng.random() < 0.7 else "".join(rng.choices(PIECES, k=20))
    return soup[:length]


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else TEXTS
    rng = Random(0)
    slowest = (0.0, "", 0)
    errors = dict.fromkeys(FORMATS, 0)
    for _ in range(count):
        text = text_of(rng)
        opens_call(text)
        for form in rng.sample(sorted(FORMATS), 5):
            began = time.process_time()
            errors[form] += parse(form, text).error is not None
            slowest = max(slowest, (time.process_time() - began, form, len(text)))
    told = ", ".join(f"{form} {number}" for form, number in errors.items())
    print(f"{count} texts, none raised; format errors: {told}")
    print(f"slowest: {slowest[0]:.2f} CPU s, {slowest[1]}, {slowest[2]} characters")
    with_mistakes(count, rng)


def with_mistakes(count: int, rng: Random) -> None:
    """As many mutated calls a family: how many are still read, an error, or words."""
    slowest = (0.0, "")
    for form in FORMATS:
        texts = [text for own, text, _ in DIALECTS.values() if own == form]
        calls = errors = 0
        for _ in range(count):
            text = mutated(rng.choice(texts), rng)
            began = time.process_time()
            parsed = parse(form, text)
            slowest = max(slowest, (time.process_time() - began, form))
            calls, errors = calls + bool(parsed.calls), errors + (parsed.error is not None)
        print(f"{form}: {count} mutated calls, {calls} read, {errors} errors, {count - calls - errors} words")
    print(f"slowest: {slowest[0]:.3f} CPU s, {slowest[1]}")


if __name__ == "__main__":
    main()
