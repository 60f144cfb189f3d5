"""The comparator: is this the decision that the label asks for?

It alone serves the probe, the reward, the filters and our own benchmark. What makes two calls equal stands in
`sloop.calls.match.normalise`; equality is an equivalence relation there, so the largest matching of two multisets of
calls is their intersection, exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sloop.calls.match.normalise import call_key, fingerprint, normalise_call
from sloop.calls.schema import dotted, json_type
from sloop.records import Label, Tool, ToolCall


@dataclass(frozen=True, slots=True)
class Match:
    """How the given calls compare with the label's."""

    valid: bool
    """The whole decision is the label's: the same calls, or none where none is asked for."""
    tools_equal: bool
    """The multiset of tool names is the label's."""
    paired: int
    """Calls to a right tool: for each name, the smaller of the numbers asked for and given."""
    right: int
    """Of those, the calls whose arguments match too."""
    reason: str | None
    """The first difference, ``<code>:<where>`` and words; None where there is none. Codes: format, no_call,
    missing_call, unexpected_call, missing_argument, unexpected_argument, type, value, length, order."""


def strict(tools: Sequence[Tool], calls: Sequence[ToolCall] | None, label: Label) -> Match:
    """Compare calls with a label: as multisets, or as lists where the label is ordered.

    Content is never compared, and nothing is validated: whether a call satisfies its schema is `call_errors`' question.

    Args:
        tools: on offer; their schemas say what defaults are and which strings are exact.
        calls: what was given; None where the output could not be parsed, which matches nothing.
        label: what was asked for.
    """
    if calls is None:
        return Match(False, False, 0, 0, "format: the output is not a readable call")
    expected = [call_key(call, tools) for call in label.calls]
    given = [call_key(call, tools) for call in calls]
    names = Counter(call.name for call in label.calls)
    given_names = Counter(call.name for call in calls)
    tools_equal = names == given_names
    paired = (names & given_names).total()
    right = (Counter(expected) & Counter(given)).total()
    same = right == len(expected) == len(given)
    valid = expected == given if label.ordered else same
    if valid:
        reason = None
    elif same:
        reason = f"order:{next(k for k, key in enumerate(expected) if key != given[k])}"
    elif not tools_equal:
        reason = _name_difference(calls, label.calls)
    else:
        reason = _argument_difference(tools, calls, label.calls)
    return Match(valid, tools_equal, paired, right, reason)


def _name_difference(calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> str:
    """The first call that is asked for and not given, or else given and not asked for."""
    if not calls:
        return f"no_call:{expected[0].name}"
    missing = Counter(call.name for call in expected)
    missing.subtract(call.name for call in calls)
    lacking = next((call.name for call in expected if missing[call.name] > 0), None)
    if lacking is not None:
        return f"missing_call:{lacking}"
    return f"unexpected_call:{next(call.name for call in calls if missing[call.name] < 0)}"


def _argument_difference(tools: Sequence[Tool], calls: Sequence[ToolCall], expected: Sequence[ToolCall]) -> str:
    """The first difference between the first unmatched call and the unmatched call of its name that is nearest."""
    spare = Counter(call_key(call, tools) for call in calls)
    unmatched = []
    for call in expected:
        if spare[call_key(call, tools)] > 0:
            spare[call_key(call, tools)] -= 1
        else:
            unmatched.append(call)
    asked = normalise_call(unmatched[0], tools)
    rivals = (normalise_call(c, tools) for c in calls if c.name == asked.name and spare[call_key(c, tools)] > 0)
    found = (list(_differences(asked.arguments, rival.arguments, (asked.name,))) for rival in rivals)
    return min(found, key=len)[0]


def _differences(asked: Any, given: Any, path: tuple[str | int, ...]) -> Iterator[str]:
    """Every difference between two normal values, by path."""
    if fingerprint(asked) == fingerprint(given):
        return
    where = dotted(path)
    kinds = tuple("number" if kind == "integer" else kind for kind in (json_type(asked), json_type(given)))
    if kinds[0] != kinds[1]:
        yield f"type:{where} expected {kinds[0]}, got {kinds[1]}"
    elif isinstance(asked, dict):
        for key in sorted({*asked, *given}):
            if key not in given:
                yield f"missing_argument:{dotted((*path, key))}"
            elif key not in asked:
                yield f"unexpected_argument:{dotted((*path, key))}"
            else:
                yield from _differences(asked[key], given[key], (*path, key))
    elif isinstance(asked, list) and len(asked) == len(given):
        for k, pair in enumerate(zip(asked, given, strict=True)):
            yield from _differences(*pair, (*path, k))
    elif isinstance(asked, list):
        yield f"length:{where} expected {len(asked)}, got {len(given)}"
    else:
        yield f"value:{where}"
