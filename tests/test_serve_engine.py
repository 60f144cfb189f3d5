"""What a text is handed over as says over HTTP what it says in process."""

from __future__ import annotations

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sloop.calls.formats import parse, parse_tool_calls
from sloop.serve.engine import handed_over

PIECES = (
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    '{"name": "f", "arguments": {"a": [1.0, null]}}',
    '{"name": "f", "arguments": "{}"}',
    '<tool_call>\n{"name": "f", "arguments": {"a": "<tool_call>"}}\n</tool_call>',
    '<tool_call>{"name": "g"}</tool_call>',
    "\n",
    " ",
    "words",
)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=7).map("".join))
@example('<think>a</think>b</think>c<tool_call>{"name": "g"}</tool_call>')
def test_a_text_says_the_same_through_tool_calls_as_by_its_format(text: str) -> None:
    parsed = parse("hermes", text)
    assume(not parsed.calls or "think>" not in text.partition("</tool_call>")[2])
    content, calls = handed_over("hermes", text)
    assert parse_tool_calls(content, [(call.name, call.arguments) for call in calls]) == parsed
