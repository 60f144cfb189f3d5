"""Every row of tests/kinds/texts.py, and what is made of it."""

from __future__ import annotations

import pytest
from kinds import Kind
from kinds.texts import BARE, BARI, BROKEN, DIALECTS, FOREIGN, KINDS, Said, Text

from sloop.calls.formats import FORMATS, Parsed, opens_call, parse, parse_tool_calls
from sloop.records import Tool

PROPERTIES = {"town": {"type": "string"}, "x": {"type": ["string", "number"]}}
TOOLS = tuple(
    Tool(name=name, parameters={"type": "object", "properties": PROPERTIES}) for name in ("find_depot", "f", "g")
)
INNOCENT = [kind for kind in KINDS if not kind.given.format]


def said(parsed: Parsed) -> Said:
    calls, recovered = (
        tuple((call.name, call.arguments) for call in found) for found in (parsed.calls, parsed.recovered)
    )
    return Said(calls, parsed.content, parsed.error is not None, recovered)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.given.format], ids=str)
def test_a_text_is_read_as_its_row_says(kind: Kind) -> None:
    given: Text = kind.given
    tools = [tool for tool in TOOLS if tool.name in given.offered]
    if given.format != "served":
        assert said(parse(given.format, given.text, thinking=given.thinking, tools=tools)) == kind.comes
        return
    found, expected = said(parse_tool_calls(given.text, [], tools)), kind.comes
    assert (found.calls, found.error, found.recovered) == (expected.calls, expected.error, expected.recovered)


@pytest.mark.parametrize("kind", INNOCENT, ids=str)
def test_an_answer_that_calls_nothing_is_words_in_every_format(kind: Kind) -> None:
    text = kind.given.text
    read = [parse(form, text, tools=tools) for form in FORMATS for tools in ((), TOOLS)]
    for parsed in (parse_tool_calls(text, [], TOOLS), *read):
        assert not parsed.calls
        assert parsed.error is None
    assert not opens_call(text)


@pytest.mark.parametrize("name", BARE)
def test_a_bare_call_of_a_tool_on_offer_is_no_words_in_any_format(name: str) -> None:
    text, recovered = BARE[name]
    for form in FORMATS:
        parsed = parse(form, text, tools=TOOLS)
        assert (parsed.calls, parsed.error, said(parsed).recovered) == ((), "format", recovered)
    assert parse("hermes", text).error is None


@pytest.mark.parametrize("name", BROKEN)
def test_a_call_in_broken_json_is_no_words_in_any_format(name: str) -> None:
    for form in FORMATS:
        parsed = parse(form, BROKEN[name][0])
        assert (parsed.calls, parsed.error) == ((), "format")


@pytest.mark.parametrize("name", DIALECTS)
def test_no_dialect_is_words_in_another_format(name: str) -> None:
    form, text, _ = DIALECTS[name]
    for other in FORMATS:
        parsed = parse(other, text, tools=TOOLS)
        assert parsed.calls or parsed.error == "format"
        assert said(parsed).calls in ((), (BARI,))
    assert parse(form, text, tools=TOOLS).error is None


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_read_with_other_values_and_cut_off(name: str) -> None:
    form, text, _ = DIALECTS[name]
    for town in ("Lecce", "Le Havre", "Zürich 2", "O Porto; 4000"):
        (call,) = parse(form, text.replace("Bari", town), tools=TOOLS).calls
        assert call.arguments == {"town": town}
    cut = text[: text.index("Bari") + 2]
    assert opens_call(cut)
    assert parse(form, cut, tools=TOOLS).error == "format"


@pytest.mark.parametrize("name", DIALECTS)
def test_words_before_a_call_are_content(name: str) -> None:
    form, text, _ = DIALECTS[name]
    parsed = parse(form, f"I will look.\n{text}", tools=TOOLS)
    if form in ("json", "llama3", "glm4"):  # where nothing marks a call, it is the whole answer
        assert said(parsed).calls == ()
    else:
        assert said(parsed).calls == (BARI,)
        assert parsed.content.startswith("I will look.")


def test_forms_that_no_format_reads_are_recovered_beside_an_error_in_all() -> None:
    for text, _ in FOREIGN.values():
        for form in FORMATS:
            parsed = parse(form, text)
            assert said(parsed).calls + said(parsed).recovered == (BARI,)
