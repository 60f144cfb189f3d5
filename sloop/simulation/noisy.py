"""A fallible annotator, simulated: a teacher whose labels are sometimes wrong, and known to be.

This is a simulation. Real annotators err in clusters, on hard samples, and in ways that nobody writes down; this one
errs independently on each decision, with a given probability, in one of five ways (`sloop.simulation.mistakes`). It
is there because the loop's claim is to find and repair wrong labels, which can only be measured where the right ones
are known. What it was given before it erred goes to ``Dialogue.truth`` for metrics alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from sloop.engine.executor import Remote, units_in_flight
from sloop.records import AnyKind, Dialogue, Message, Order, Rejected, Tool, UserError
from sloop.records.ranges import Share, Weight
from sloop.simulation.mistakes import packaged_grammar, spoilt
from sloop.teachers.base import Choosy, Staged, Teacher, shares_of


class NoisyTeacher:
    """Any teacher, with wrong labels among the right ones (`sloop.teachers.base.Teacher`)."""

    MODULES = (
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.calls.match.normalise",
        "sloop.calls.match.strict",
        "sloop.calls.schema",
        "sloop.calls.surface",
        "sloop.simulation.grammar",
        "sloop.simulation.invent",
        "sloop.simulation.matching",
        "sloop.simulation.mistakes",
        "sloop.simulation.noisy",
        "sloop.simulation.phrases",
        "sloop.simulation.templates",
        "sloop.simulation.values",
        "sloop.teachers.base",
        "sloop/simulation/everyday.yaml",
    )

    def __init__(
        self,
        *,
        teacher: Teacher,
        label_noise: Share,
        wrong_tool: Weight,
        dropped_argument: Weight,
        altered_value: Weight,
        missing_call: Weight,
        spurious_call: Weight,
        refusal: str,
    ) -> None:
        """Keep the teacher and how it is to be spoilt.

        Args:
            teacher: who writes the dialogues and their right labels.
            label_noise: probability that a decision's label is altered.
            wrong_tool: weight of a call to another tool on offer.
            dropped_argument: weight of a call that lost an argument.
            altered_value: weight of a call with another value.
            missing_call: weight of a call left out.
            spurious_call: weight of a call too many; the only mistake that a label without calls leaves room for
                (at 0 such a label stays right).
            refusal: content of a label that has lost its only call.

        Raises:
            UserError: noise with all weights 0.
        """
        weights = {
            "wrong_tool": wrong_tool,
            "dropped_argument": dropped_argument,
            "altered_value": altered_value,
            "missing_call": missing_call,
            "spurious_call": spurious_call,
        }
        if label_noise and not any(weights.values()):
            raise UserError(f"label_noise={label_noise}, but all weights are 0. Try teacher.altered_value=1.")
        self._teacher = teacher
        self._label_noise = label_noise
        self._weights = weights
        self._refusal = refusal
        self._grammar = packaged_grammar()

    @property
    def in_flight(self) -> int:
        """Orders worth having on their way at a time: as many as the teacher wants."""
        return units_in_flight(1, self._teacher)

    def unable(self, tool: Tool) -> str:
        """Why the teacher can write no request for a tool."""
        return self._teacher.unable(tool) if isinstance(self._teacher, Choosy) else ""

    @property
    def shares(self) -> Mapping[AnyKind, float]:
        """Of the kinds that the teacher brings tools for."""
        return shares_of(self._teacher)

    @property
    def decisions(self) -> int:
        """How many samples one order gives, about."""
        return self._teacher.decisions if isinstance(self._teacher, Staged) else 1

    def close(self) -> None:
        """Close the teacher's connections."""
        if isinstance(self._teacher, Remote):
            self._teacher.close()

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """Write one dialogue and err on some of its decisions.

        The text is the same at any noise, for it is written first. The truth of a decision is left out where its
        label was taken over from a seed that may itself be wrong (axis ``tools``, or ``contrast`` on a sample that a
        student has answered): what the right label is there, this teacher does not know.
        """
        dialogue = await self._teacher.write(order, rng)
        if isinstance(dialogue, Rejected):
            return dialogue
        inherited = order.seed is not None and (
            order.axis == "tools" or (order.axis == "contrast" and order.mistake is not None)
        )
        labels, truth, noise = dict(dialogue.labels), dict(dialogue.truth), dict(dialogue.noise)
        for index, message in enumerate(dialogue.messages):
            if message.role != "assistant" or index in dialogue.doubtful:
                continue
            right = dialogue.label(index)
            if not inherited:
                truth.setdefault(index, right)
            if rng.random() >= self._label_noise:
                continue
            request = _request(dialogue.messages[:index])
            given = dialogue.offered(index), request, right, rng, self._grammar
            mistake, wrong = spoilt(*given, weights=self._weights, refusal=self._refusal)
            if wrong is not None:
                labels[index] = wrong
                noise[index] = mistake
        return dialogue.model_copy(update={"labels": labels, "truth": truth, "noise": noise})


def _request(messages: tuple[Message, ...]) -> str:
    """Text of the last user message."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")
