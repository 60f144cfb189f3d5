"""Environments of the `verifiers` package as benchmarks: a student answers every decision, verifiers does all else.

verifiers sets a task up, runs its tools, says what comes next, ends an episode and rewards it, in a process of its own
(`sloop.environments.verifiers`). An answer goes to it as an endpoint would give it: one that cannot be read is text
without a call. What it did upon an answer is kept with the answer, so that an episode is graded again without it.

An episode is right whose reward is ``right_from`` or more. The reward itself is the metric ``reward``, with what it is
made of and what else the environment measures. There are no labels, so metrics that compare with them are not given.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from sloop.benchmarks.base import GRADING
from sloop.calls.schema import call_errors
from sloop.environments.verifiers import Foreign, Line
from sloop.measures.metrics import scores
from sloop.measures.stats import mean_score
from sloop.records import (
    Consequence,
    EnvSpec,
    Grade,
    Lineage,
    Message,
    Prediction,
    Sample,
    Score,
    UserError,
    digest,
)
from sloop.records.ranges import Name, PathText, Samples, Seconds, Within
from sloop.rollout import Episode
from sloop.store import Dataset, write_rows

WITHOUT_LABELS = frozenset({"call_accuracy", "format_correctness", "format_recovered", "model_errors"})
"""METHOD's metrics that say something where nobody knows which calls are right."""
_ASKING = 32
"""Episodes that may wait for the environment at a time."""
Reward = Annotated[float, Within(-1e9, 1e9)]


class VerifiersBenchmark:
    """An environment of the verifiers package (`sloop.benchmarks.base.Benchmark`)."""

    MODULES = (
        *GRADING, "sloop.benchmarks.verifiers", "sloop.environments.verifiers", "sloop.environments.verifiers_worker",
    )  # fmt: skip
    NOT_RESULTS = frozenset({"python", "path", "seconds", "cache_path"})
    """Where things lie, and how long they may take; what they are is part of every question."""

    def __init__(
        self,
        *,
        name: Name,
        environment: str,
        python: PathText | None,
        path: PathText | None,
        arguments: dict[str, Any],
        num_tasks: Samples | None,
        slice_by: Name | None,
        right_from: Reward,
        seconds: Seconds,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/verifiers.yaml``, which says what each value is.

        Raises:
            UserError: no environment is named.
        """
        if not environment.strip():
            raise UserError("benchmark.environment='': name a taskset's module, such as benchmark.environment=glossary")
        self.name = name
        self.environment = environment
        self.arguments = arguments
        self.right_from = right_from
        self.cache_path = Path(cache_path)
        self.foreign = Foreign(python, path, environment, arguments, num_tasks, slice_by, seconds)

    def close(self) -> None:
        """End the environment's process."""
        self.foreign.close()

    @property
    def data(self) -> Dataset:
        """The first question of every task, without a label.

        Raises:
            UserError: the environment cannot be played.
        """
        return self._data

    @cached_property
    def _data(self) -> Dataset:
        loaded = self.foreign.loaded
        target = self.cache_path / f"{digest([self.environment, self.arguments, loaded])[:32]}.jsonl"
        if not target.is_file():  # each was asked by starting the task, which may take its time
            with ThreadPoolExecutor(_ASKING) as pool:
                write_rows(target, pool.map(self._first, range(len(loaded.tasks))))
        return Dataset(target)

    def _first(self, number: int) -> Sample:
        play = Play(self.foreign, number)
        task = self.foreign.loaded.tasks[number]
        try:
            return read_question(play.begin(), self.environment).model_copy(
                update={
                    "group": task["key"],
                    "slice": task["slice"],
                    "lineage": Lineage(unit=digest([self.foreign.loaded.versions, self.arguments])[:32]),
                    "env": EnvSpec(toolkit="verifiers", state={"environment": self.environment, "task": number}),
                }
            )
        finally:
            play.close()

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """An episode a task, graded by the environment."""
        for first in self.data if ids is None else self.data.pick(ids):
            yield VerifiersEpisode(first, self.foreign, self.right_from)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """The mean reward and what else the environment measures, overall and by slice; ``call_accuracy`` is the share
        of the episodes that are right. Of several trials the mean of each task's counts once: they are alike.
        """
        graded = list(grades)
        found: dict[tuple[str, str], dict[str, list[float]]] = {}
        for part in ("", *sorted({grade.slice for grade in graded} - {""})):
            for one in (grade for grade in graded if part in ("", grade.slice)):
                for name, value in one.measured.items():
                    found.setdefault((part, name), {}).setdefault(one.sample_id, []).append(value)
        measured = [mean_score(name, list(map(fmean, tasks.values())), part) for (part, name), tasks in found.items()]
        return [*measured, *(score for score in scores(graded) if score.name in WITHOUT_LABELS)]

    def notes(self) -> list[str]:
        """Which environment this is, and what is right in it."""
        versions = ", ".join(f"{name} {version}" for name, version in self.foreign.loaded.versions.items())
        return [
            f"{self.name}: {len(self.data)} tasks of verifiers' environment {self.environment} ({versions})",
            f"right is an episode with a reward of {self.right_from:g} or more; no question has a label, so only "
            "metrics that need none are given",
        ]


class Play:
    """One task that is being played in the environment."""

    _keys = itertools.count()

    def __init__(self, foreign: Foreign, task: int) -> None:
        """Take the task's number; it is set up when it is begun."""
        self._foreign, self._task = foreign, task
        self._key = f"{next(self._keys)}"
        self._line: Line | None = None

    def begin(self) -> Mapping[str, Any]:
        """What is asked first."""
        self._line = self._foreign.line
        found = self._foreign.ask(self._line, "open", key=self._key, task=self._task)
        if "asked" not in found:
            raise UserError(self._unscored(found.get("failed", "it ended before anything was asked")))
        asked: Mapping[str, Any] = found["asked"]
        return asked

    def tell(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """What comes of an answer: what is asked next, or how it ended."""
        assert self._line is not None
        found: Mapping[str, Any] = self._foreign.ask(self._line, "tell", key=self._key, answer=answer)
        if "failed" in found:
            raise UserError(self._unscored(found["failed"]))
        return found

    def close(self) -> None:
        """Give the task up, if it is not over."""
        line, self._line = self._line, None
        if line is not None and line.is_alive:
            self._foreign.ask(line, "close", key=self._key)

    def _unscored(self, why: str) -> str:
        return (
            f"benchmark.environment={self._foreign.environment}: task {self._task} could not be played to a reward: "
            f"{why}. An episode without a reward is not scored 0. Where the environment asks a judge model or the "
            "network it is no benchmark here; else the same command goes on with what was answered."
        )


class VerifiersEpisode:
    """One task, from its first question to its reward (`sloop.rollout.Spoken`: the environment is what answers)."""

    def __init__(self, first: Sample, foreign: Foreign, right_from: float) -> None:
        """Begin with the first question; nothing is run before the first answer, and nothing where it is known."""
        assert first.env is not None
        self.id = first.id
        self.cluster = first.group
        self._first = first
        self._asked: Sample | None = first
        self._right_from = right_from
        self._foreign = foreign
        self._play = Play(foreign, first.env.state["task"])
        self._begun = False
        self._answers: list[Prediction] = []
        self._invalid = False
        """Some call does not satisfy the schemas on offer."""

    def ask(self) -> Sample | None:
        """The dialogue so far."""
        return self._asked

    async def hear(self, answer: Prediction) -> Prediction:
        """The answer with what the environment does upon it."""
        if answer.error == "model" or answer.consequence is not None:
            return answer
        return answer.model_copy(update={"consequence": await asyncio.to_thread(self._consequence, answer)})

    def tell(self, answer: Prediction) -> None:
        """Go on to what the environment asks next; it is asked itself where the answer does not have it."""
        assert self._asked is not None
        asked, self._asked = self._asked, None
        self._answers.append(answer)
        self._invalid |= any(call_errors(call, asked.tools) for call in answer.calls)
        if answer.error == "model":
            self._play.close()
            return
        self._asked = asked
        came = answer.consequence or self._consequence(answer)
        self._answers[-1] = answer.model_copy(update={"consequence": came})
        self._asked = None if came.ended is not None else _next(asked, came)

    def _consequence(self, answer: Prediction) -> Consequence:
        asked = self._asked
        assert asked is not None
        if not self._begun:
            self._begun = True
            found = read_question(self._play.begin(), self._foreign.environment)
            if (found.messages, found.tools) != (asked.messages, asked.tools):
                self._play.close()
                raise UserError(
                    f"benchmark.environment={self._foreign.environment}: task {asked.env and asked.env.state['task']} "
                    "asks something else each time, so its question is none that could be asked of several students."
                )
        came = self._play.tell(as_endpoint(answer, asked))
        if "asked" not in came:
            self._play.close()
            return Consequence(ended=came["ended"], measured=came["measured"])
        found = read_question(came["asked"], self._foreign.environment)
        pairs = itertools.zip_longest(asked.messages, found.messages)
        keeps = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        tools = None if found.tools == asked.tools else found.tools
        return Consequence(keeps=keeps, messages=found.messages[keeps:], tools=tools)

    def grade(self) -> tuple[Grade, ...]:
        """One grade: the environment's verdict, and whether all that was written could be read."""
        last = self._answers[-1]
        came = last.consequence
        error = next((answer.error for answer in self._answers if answer.error), None)
        calls = [call for answer in self._answers for call in answer.calls]
        measured = dict(came.measured) if came is not None else {}
        right = measured["reward"] >= self._right_from if measured else None
        return (
            Grade(
                sample_id=self.id,
                cluster=self.cluster,
                slice=self._first.slice,
                calls_expected=False,
                attempted=bool(calls) or error == "format",
                parsed=error is None,
                schema_valid=None if not calls and error != "format" else not self._invalid and error != "format",
                tool_correct=None,
                argument_pairs=(0, 0),
                correct=right,
                error="model" if right is None else error,
                reason=None if right is not False else f"reward: {measured['reward']:g} is below {self._right_from:g}",
                measured=measured,
            ),
        )


def as_endpoint(answer: Prediction, asked: Sample) -> dict[str, Any]:
    """An answer as an endpoint gives it: what cannot be read is text without a call."""
    return {
        "content": answer.text if answer.error else answer.content,
        "calls": [] if answer.error else [call.to_openai() for call in answer.calls],
        "calls_before": sum(len(message.tool_calls) for message in asked.messages),
        "truncated": answer.error == "truncated",
        "num_tokens": answer.num_tokens,
    }


def read_question(asked: Mapping[str, Any], environment: str) -> Sample:
    """What the environment asks of a model, as a sample.

    Raises:
        UserError: it holds what no student of ours reads, such as an image.
    """
    messages = [_message(row, environment) for row in asked["messages"]]
    return Sample(tools=asked["tools"] or (), messages=messages)


def _message(row: Mapping[str, Any], environment: str) -> dict[str, Any]:
    content = row.get("content") or ""
    parts: Sequence[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if other := next((part for part in parts if part.get("type") != "text"), None):
        raise UserError(
            f"benchmark.environment={environment}: a message holds something of type {other.get('type')!r}, and "
            "students here read text. Take an environment of text."
        )
    role = "system" if row["role"] == "developer" else row["role"]
    read = {"role": role, "content": "\n".join(part["text"] for part in parts)}
    return read | {key: row[key] for key in ("tool_calls", "tool_call_id") if row.get(key)}


def _next(asked: Sample, came: Consequence) -> Sample:
    messages: tuple[Message, ...] = (*asked.messages[: came.keeps], *came.messages)
    tools = asked.tools if came.tools is None else came.tools
    return asked.model_copy(update={"messages": messages, "tools": tools, "turn": asked.turn + 1})
