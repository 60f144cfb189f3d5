"""The state check: calls are right by the state that they leave and by what was read, whatever their words and order.

As in tau2-bench and in BFCL's multi-turn checks, calls that are known to be right are run beside the calls in question,
both from the same state, and what has come of them is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sloop.environments.base import ERROR, Environment, difference
from sloop.environments.domains import DOMAINS, make_environment
from sloop.records import EnvSpec, Sample, ToolCall, canonical_json, digest


@dataclass(frozen=True)
class Outcome:
    """What came of calls."""

    state: dict[str, Any]
    """Behind the last of them."""
    results: tuple[str, ...]
    """The answer to each, in order."""

    @property
    def failed(self) -> tuple[int, ...]:
        """Positions of the calls that could not be met."""
        return tuple(place for place, result in enumerate(self.results) if result.startswith(ERROR))


def run(spec: EnvSpec, calls: Iterable[ToolCall]) -> Outcome:
    """Run calls, in order, in a fresh environment.

    Raises:
        UserError: there is no environment of that name, or it has no such state.
    """
    environment = make_environment(spec)
    results = tuple(environment.act(call) for call in calls)
    return Outcome(environment.state(), results)


def can_run(sample: Sample) -> bool:
    """Whether the sample's environment is one that there is."""
    return sample.env is not None and sample.env.toolkit in DOMAINS


def run_after(sample: Sample, calls: Iterable[ToolCall]) -> tuple[int, Outcome]:
    """Run calls in the state in which a sample's decision is made, of one that `can_run`.

    Returns:
        How many calls were made before the decision, and what has come of these and the given ones.

    Raises:
        UserError: the environment has no such state.
    """
    assert sample.env is not None
    before = [call for message in sample.messages for call in message.tool_calls]
    return len(before), run(sample.env, [*before, *calls])


def heard(calls: Sequence[ToolCall], outcome: Outcome, reads: Iterable[ToolCall]) -> list[str]:
    """The results that the user wants to hear: to each read, the answer to the last call like it that is not taken yet.

    Args:
        calls: those of the task.
        outcome: theirs.
        reads: some of them.

    Raises:
        ValueError: a read is none of the calls, or could not be met.
    """
    left = {place: _key(call) for place, call in enumerate(calls) if place not in outcome.failed}
    wanted: list[str] = []
    for read in reads:
        place = max((place for place, key in left.items() if key == _key(read)), default=None)
        if place is None:
            raise ValueError(f"{read.name} is read, and is none of the calls that are met")
        del left[place]
        wanted.append(outcome.results[place])
    return wanted


def _key(call: ToolCall) -> tuple[str, str]:
    return call.name, canonical_json(call.arguments)


def shortfall(given: Outcome, wanted: Outcome, heard: Iterable[str] = ()) -> str | None:
    """What given calls lack or have done wrong; None where they are right.

    They are right if they leave the state that the wanted ones leave, and if every result that the user wants to hear
    is among theirs, as often as it is wanted. Calls in another order and further reads are right as they are. What is
    compared is what was `done`.
    """
    if found := difference(done(given.state), done(wanted.state)):
        return found
    missing = Counter(heard) - Counter(given.results)
    return next((f"read: no call was answered {result:.200}" for result in missing), None)


def met(calls: Sequence[ToolCall], given: Outcome, wanted: Outcome, writes: Collection[str]) -> tuple[int, int]:
    """How many calls ran as they should, of how many: without an error, and one that can change the state to the state
    that the wanted calls leave.

    Args:
        calls: in order.
        given: what came of them, all together.
        wanted: what should have.
        writes: names of the tools that can change the state.
    """
    equal, failed = difference(done(given.state), done(wanted.state)) is None, set(given.failed)
    right = [equal or call.name not in writes for place, call in enumerate(calls) if place not in failed]
    return sum(right), len(calls)


def done(state: dict[str, Any]) -> dict[str, Any]:
    """What was done, of a state: all but the parts whose names begin with _, which say where one stands (as the
    attributes of BFCL's classes that are not compared).
    """
    return {name: part for name, part in state.items() if not name.startswith("_")}


def state_digest(environment: Environment) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of the state that an environment is in."""
    return digest(environment.state())
