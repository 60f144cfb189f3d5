"""A student that is shown examples: solved requests stand before every question, as earlier turns of its dialogue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sloop.records import Checkpoint, Decode, Message, Prediction, Sample
from sloop.records.ranges import Count
from sloop.store import Dataset
from sloop.students.base import Identified, NotedStudent, Student

_OWN = re.compile(r"call_([0-9]+)")


class FewShotStudent:
    """Another student (`sloop.students.base.Student`), whose template writes the examples as it writes any turn.

    The tools of the examples are not on offer: they would change what is right.
    """

    MODULES = ("sloop.records.base", "sloop.records.samples", "sloop.students.few_shot")

    def __init__(self, *, student: Student, turns: list[Message], short: Count = 0) -> None:
        """Take the student, the turns that it is shown, and how many examples fewer they are than was asked for."""
        self._student = student
        self._short = short
        self._turns = tuple(turns)
        self._calls = sum(len(turn.tool_calls) for turn in turns)

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """The student's own checkpoint 0."""
        return self._student.start(data, seed=seed, out=out)

    def load(self, checkpoint: Checkpoint) -> None:
        """Answer from these weights from now on."""
        self._student.load(checkpoint)

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """The student's answers to the questions behind the examples."""
        asked = [sample.model_copy(update={"messages": self.shown(sample.messages)}) for sample in samples]
        answers = self._student.predict(asked, decode)
        return [
            answer.model_copy(update={"sample_id": sample.id}) for answer, sample in zip(answers, samples, strict=True)
        ]

    def shown(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The turns behind what the system says; answers to calls are to those of the dialogue itself, as before."""
        first = next((place for place, message in enumerate(messages) if message.role != "system"), len(messages))
        return (*messages[:first], *self._turns, *(_moved(message, self._calls) for message in messages[first:]))

    def notes(self, data: Dataset) -> list[str]:
        """The student's own, and how many examples there were too few of."""
        own = self._student.notes(data) if isinstance(self._student, NotedStudent) else []
        short = f"{self._short} examples fewer than variant.shots asks for were shown: round 1's set has no more"
        return [*own, short] if self._short else own

    def identity(self, checkpoint: Checkpoint) -> dict[str, str]:
        """The student's own."""
        return self._student.identity(checkpoint) if isinstance(self._student, Identified) else {}

    def close(self) -> None:
        """Free what the student holds."""
        self._student.close()


def turns_of(examples: Sequence[Sample]) -> list[Message]:
    """Samples and their labels as the turns of one dialogue, without what the system says in each."""
    turns: list[Message] = []
    for sample in examples:
        assert sample.label is not None
        calls = sum(len(turn.tool_calls) for turn in turns)
        own = (message for message in sample.messages if message.role != "system")
        turns += [_moved(message, calls) for message in (*own, sample.label.message())]
    return turns


def _moved(message: Message, calls: int) -> Message:
    """A message behind so many calls more; an answer to no call of the dialogue stays one."""
    own = _OWN.fullmatch(message.tool_call_id or "")
    return message.model_copy(update={"tool_call_id": f"call_{int(own[1]) + calls}"}) if own else message
