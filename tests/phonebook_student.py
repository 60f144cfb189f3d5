"""A student for tasks in the toy environment, of known mistakes: it hears requests and reads the tools' answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acme_tools import share_of

from sloop.benchmarks.environment import EnvironmentBenchmark
from sloop.engine.build import build
from sloop.records import Checkpoint, Decode, Prediction, Sample, ToolCall
from sloop.store import Dataset

NAME = r"\b(?!Text\b|Please\b|Let\b)([A-Z][a-z]+ [A-Z][a-z]+)"


def two_step_spec(folder: Path, **changes: Any) -> dict[str, Any]:
    """Tasks in the phone book, as of ``benchmark=two_step``."""
    spec = {"_target_": "sloop.benchmarks.environment.EnvironmentBenchmark", "name": "two_step", "seed": 0}
    spec |= {"domains": ["phonebook"], "kinds": [], "part": "test", "num_tasks": 20, "max_steps": 6, "turn_steps": 6}
    return spec | {"cache_path": str(folder / "cache")} | changes


def two_step(folder: Path, **changes: Any) -> EnvironmentBenchmark:
    benchmark = build(two_step_spec(folder, **changes), "benchmark")
    assert isinstance(benchmark, EnvironmentBenchmark)
    return benchmark


class PhonebookStudent:
    """Does a task right where the hash of its request falls under its skill; else it sends to a made-up number."""

    name = "phonebook"

    def __init__(self, *, skill: float) -> None:
        self.skill = skill
        self.asked: list[str] = []
        self.deaths: list[int] = []
        """Questions, by number, at which the process is interrupted."""

    def start(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        return Checkpoint(path="none", digest=str(self.skill))

    def load(self, checkpoint: Checkpoint) -> None: ...

    def close(self) -> None: ...

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        answers = []
        for sample in samples:
            if len(self.asked) in self.deaths:
                raise KeyboardInterrupt
            self.asked.append(sample.id)
            calls = self._calls(sample)
            answers.append(Prediction(sample_id=sample.id, calls=calls, content="" if calls else "Done.", text="said"))
        return answers

    def _calls(self, sample: Sample) -> tuple[ToolCall, ...]:
        names = re.findall(NAME, sample.request)
        found = [message.content for message in sample.messages if message.role == "tool"]
        if not found:
            return tuple(ToolCall(name="find_number", arguments={"name": name}) for name in names)
        if len(found) > len(names):
            return ()
        quoted = re.search(r'"(.+)"', sample.request)
        text = quoted[1] if quoted else found[-1]
        number = found[0] if share_of(sample.request) < self.skill else "555-none"
        return (ToolCall(name="send_message", arguments={"number": number, "text": text}),)
