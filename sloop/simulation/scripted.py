"""A student without weights whose every answer is known beforehand: it reads the label, and errs as it was told to.

It is there to try a benchmark, a stage or a metric without a model; what it scores says nothing about any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sloop.calls.formats import parse, render_hermes
from sloop.records import Checkpoint, Decode, Label, Prediction, Sample, ToolCall, digest
from sloop.records.ranges import Name
from sloop.store import Dataset

Way = Literal["right", "refuse", "call", "broken", "missing_value", "other_tool"]
"""How an answer comes about: the label; no call; the label's calls, or where it has none a call of the first tool; the
same in a form that cannot be read; the label without a value of its first call; with another tool in its place."""
REFUSAL = "None of my tools can do that."


class ScriptedStudent:
    """Answers by a script (`sloop.students.base.Student`): the way of an answer depends on the sample's id alone."""

    MODULES = ("sloop.calls.formats", "sloop.records.base", "sloop.records.samples", "sloop.simulation.scripted")

    def __init__(self, *, name: Name, script: Annotated[list[Way], Field(min_length=1)]) -> None:
        """Take the ways, of which each is as likely as often as it is listed."""
        self.name = name
        self.script = script

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """The script itself; nothing is made or written."""
        return Checkpoint(path="script://", digest=digest(list(self.script)))

    def load(self, checkpoint: Checkpoint) -> None:
        """There is nothing to load."""

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """Answers in input order, read from text like any model's; a token is a word, each of probability 1."""
        answers = []
        for sample in samples:
            text = self.write(sample)
            read = parse("hermes", text)
            measured = {"logprob": 0.0, "num_tokens": len(text.split())}
            answers.append(
                Prediction(
                    sample_id=sample.id, calls=read.calls, content=read.content, text=text, error=read.error, **measured
                )
            )
        return answers

    def close(self) -> None:
        """There is nothing to close."""

    def way(self, sample: Sample) -> Way:
        """How it answers a sample."""
        return self.script[int(sample.id[:8], 16) % len(self.script)]

    def write(self, sample: Sample) -> str:
        """The text of its answer."""
        way, label = self.way(sample), sample.label or Label()
        if way == "refuse":
            return REFUSAL
        if way == "right":
            return render_hermes(label) if label.calls else label.content or REFUSAL
        calls = label.calls or (_a_call(sample),)
        if label.calls and way == "missing_value":
            calls = (_without_a_value(calls[0]), *calls[1:])
        if label.calls and way == "other_tool":
            called = {call.name for call in calls}
            others = [tool.name for tool in sample.tools if tool.name not in called] or ["no_such_tool"]
            calls = (ToolCall(name=others[0], arguments={}), *calls[1:])
        text = render_hermes(Label(calls=calls))
        return text.replace("}\n</tool_call>", "\n") if way == "broken" else text


def _a_call(sample: Sample) -> ToolCall:
    return ToolCall(name=sample.tools[0].name if sample.tools else "no_such_tool", arguments={})


def _without_a_value(call: ToolCall) -> ToolCall:
    last = max(call.arguments, default=None)
    return call.model_copy(update={"arguments": {k: v for k, v in call.arguments.items() if k != last}})
