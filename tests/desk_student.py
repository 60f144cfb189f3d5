"""A student for the bookings desk whose every answer is known: it knows the errands, and errs as it was told to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sloop.benchmarks.desk import DeskBenchmark
from sloop.records import Checkpoint, Decode, Prediction, Sample, ToolCall, UserError, digest
from sloop.simulation.user import ScriptedUser
from sloop.store import Dataset

QUESTION = "Please tell me your name, your phone number, the room, the day, the time, and who is your guest."
WAYS = (
    "right", "silent", "early", "unsaid", "wrong", "missing", "asks_on", "calls_on", "fails_on", "unreadable",
    "hands_over", "no_answer",
)  # fmt: skip
"""What it does: all that is right; nothing; it says that it is done at once; it does not say what the user wants to
hear; it does something else; it leaves out the last call; it asks for ever; it calls for ever, with and without
success; it writes what cannot be read; it hands over; no answer can be had."""


class DeskStudent:
    """Goes one of its ways with each customer, by task and trial (`sloop.students.base.Student`)."""

    def __init__(self, *, name: str, ways: list[str], num_tasks: int, seed: int) -> None:
        """Take the ways, of which each is as likely as often as it is listed, and which errands it will meet."""
        self.name = name
        self.ways = ways
        self.asked = 0
        self.deaths: list[int] = []
        """Questions, by number, at which the process is interrupted."""
        bench = DeskBenchmark(
            name="desk", part="test", num_tasks=num_tasks, seed=seed, max_steps=1, max_errors=1,
            user=ScriptedUser(seed=0, marker="#"), cache_path="none",
        )  # fmt: skip
        self._errands = {first.group: (task, scenario) for first, task, scenario in bench._errands.values()}

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        return Checkpoint(path="none", digest=digest(self.ways))

    def load(self, checkpoint: Checkpoint) -> None: ...

    def close(self) -> None: ...

    def way(self, group: str, trial: int) -> str:
        return self.ways[int(digest([group, trial])[:8], 16) % len(self.ways)]

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        return [self._answer(sample, self.way(sample.group, decode.trial)) for sample in samples]

    def _answer(self, sample: Sample, way: str) -> Prediction:
        if self.asked in self.deaths:
            self.deaths.remove(self.asked)
            raise KeyboardInterrupt
        self.asked += 1
        if way in ("unreadable", "no_answer"):
            return Prediction(sample_id=sample.id, text="{", error="format" if way == "unreadable" else "model")
        words = self._does(sample, way)
        said = {"calls": (words,), "text": "call"} if isinstance(words, ToolCall) else {"content": words, "text": words}
        return Prediction(sample_id=sample.id, **said)

    def _does(self, sample: Sample, way: str) -> ToolCall | str:
        if sample.group not in self._errands:
            raise UserError("another desk: give the student the benchmark's num_tasks and seed")
        task, scenario = self._errands[sample.group]
        spoken = [message for message in sample.messages if message.role == "assistant"]
        calls = [*task.calls[: -1 if way == "missing" else None]]
        if way == "wrong":
            calls.append(ToolCall(name="join_waiting_list", arguments=self._somewhere(sample)))
        called = sum(len(message.tool_calls) for message in spoken)
        match way:
            case "silent":
                return ""
            case "early":
                return "That is done."
            case "asks_on":
                return "And what is your name?"
            case "calls_on":
                return ToolCall(name="list_rooms", arguments={})
            case "fails_on":
                return ToolCall(name="no_such_tool", arguments={})
            case "hands_over":
                return ToolCall(name="transfer_to_person", arguments={"topic": "group"})
        if calls and calls[0].name == "transfer_to_person":
            return calls[0]
        if not spoken:
            return QUESTION
        if called < len(calls):
            return calls[called]
        return "All is done." if way == "unsaid" else f"That is done: {', '.join(scenario.hears)}."

    def _somewhere(self, sample: Sample) -> dict[str, str]:
        """An hour that is taken, for a customer who has it."""
        assert sample.env is not None
        booking = next(reversed(sample.env.state["bookings"].values()))
        where = {key: booking[key] for key in ("room", "date", "time")}
        return {"customer_id": next(reversed(sample.env.state["customers"])), **where}
