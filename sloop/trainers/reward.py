"""How right an answer is: the strict comparator's word, and what a partly right answer is worth. Pure.

The partial parts are those of ToolRL (Qian et al., 2025, arXiv:2504.13958): names, argument keys, argument values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Self

from pydantic import model_validator

from sloop.calls.match.normalise import fingerprint, normalise_call
from sloop.calls.match.strict import strict
from sloop.records import Label, Record, Sample, Tool, ToolCall
from sloop.records.ranges import Weight, refused


class Parts(NamedTuple):
    """What of an answer is right, each from 0 to 1."""

    exact: float
    """1 where the strict comparator finds the whole answer right, else 0."""
    names: float
    """Tools called and asked for, of those called or asked for."""
    keys: float
    """Arguments given and asked for, of those given or asked for."""
    values: float
    """Of these, the ones whose value is right as well."""


class Reward(Record):
    """What each part counts; the reward is their weighted mean, 0 to 1."""

    exact: Weight
    names: Weight
    keys: Weight
    values: Weight

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not sum(self.weights):
            raise refused("give at least one weight above 0")
        return self

    @property
    def weights(self) -> tuple[float, ...]:
        """In the order of `Parts`."""
        return self.exact, self.names, self.keys, self.values

    def of(self, sample: Sample, calls: Sequence[ToolCall] | None) -> float:
        """The reward of an answer to a labelled sample; 0 where it cannot be read (None)."""
        assert sample.label is not None
        parts = parts_of(sample.tools, calls, sample.label)
        return sum(w * part for w, part in zip(self.weights, parts, strict=True)) / sum(self.weights)


def parts_of(tools: Sequence[Tool], calls: Sequence[ToolCall] | None, label: Label) -> Parts:
    """What of an answer is right.

    Args:
        tools: on offer.
        calls: what was given; None where the answer cannot be read.
        label: what was asked for. Where that is no call, an answer is right or worth nothing.
    """
    if calls is None or not (calls and label.calls):
        return Parts(*[float(strict(tools, calls, label).valid)] * 4)
    asked = [normalise_call(call, tools) for call in label.calls]
    spare = [normalise_call(call, tools) for call in calls]
    names, given_names = Counter(call.name for call in asked), Counter(call.name for call in calls)
    keys = values = 0
    arguments = sum(len(call.arguments) for call in spare)
    for call in asked:
        rivals = [rival for rival in spare if rival.name == call.name]
        arguments += len(call.arguments)
        if rivals:
            nearest = max(rivals, key=lambda rival: _alike(call, rival)[::-1])
            spare.remove(nearest)
            same_keys, same_values = _alike(call, nearest)
            keys, values, arguments = keys + same_keys, values + same_values, arguments - same_keys
    shared, union = (names & given_names).total(), (names | given_names).total()
    # Calls without arguments are right in keys and values where they are right in names
    both = (keys / arguments, values / arguments) if arguments else (shared / union, shared / union)
    return Parts(float(strict(tools, calls, label).valid), shared / union, *both)


def _alike(asked: ToolCall, given: ToolCall) -> tuple[int, int]:
    """Keys that two calls share, and those of them whose values are equal."""
    shared = asked.arguments.keys() & given.arguments.keys()
    return len(shared), sum(fingerprint(asked.arguments[key]) == fingerprint(given.arguments[key]) for key in shared)
