"""Tasks in a toy environment of ours, the phone book: to message a contact, its number must be looked up first.

It shows that a student goes on from what a tool answered, and is the smallest example of episodes in an environment;
a score on it says nothing of harder tasks. An episode ends when the student stops calling, when an answer cannot be
read, or after so many answers. It is right if it ended of itself in the state that the task's own calls lead to, by
whatever calls; METHOD's other metrics compare all its calls with the task's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Annotated

from sloop.benchmarks.base import GRADING
from sloop.engine.identity import unit_rng
from sloop.environments.base import difference, replay
from sloop.environments.phonebook import FIND, SEND, Phonebook
from sloop.measures.metrics import grade, scores
from sloop.records import (
    EnvSpec,
    Grade,
    Label,
    Message,
    Prediction,
    Sample,
    Score,
    Task,
    ToolCall,
    Turn,
    digest,
)
from sloop.records.ranges import Name, PathText, Seed, Within
from sloop.rollout import Episode
from sloop.store import Dataset, write_rows

SYSTEM = "Do what the user asks for with the tools on offer. Once it is done, say so without another call."
FIRST_NAMES = ("Ada", "Ben", "Clara", "Dmitri", "Elif", "Farid", "Greta", "Hugo")
LAST_NAMES = ("Lind", "Moreau", "Novak", "Okafor", "Prieto", "Quist", "Rossi", "Sato")
TEXTS = (
    "I will be ten minutes late",
    "the parcel is at the door",
    "dinner is at seven",
    "please call me back tonight",
    "the train leaves from platform 4",
    "happy birthday",
    "the keys are under the mat",
    "practice is off today",
)
MESSAGE = ('Text {to}: "{text}"', 'Please send {to} the message "{text}"', 'Let {to} know: "{text}"')
SHARE = (
    "Text {to} the phone number of {about}, the number alone.",
    "{to} needs the number of {about}: send it in a message, with nothing else in it.",
)
CONTACTS = 6


class TwoStepBenchmark:
    """Generated tasks in the phone book (`sloop.benchmarks.base.Benchmark`)."""

    MODULES = (*GRADING, "sloop.benchmarks.two_step", "sloop.environments")
    NOT_RESULTS = frozenset({"cache_path"})
    """Where the questions lie; what they are is known by their digest."""

    def __init__(
        self,
        *,
        name: Name,
        num_tasks: Annotated[int, Within(1, 100_000)],
        seed: Seed,
        max_steps: Annotated[int, Within(1, 1_000)],
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/two_step.yaml``, which says what each value is."""
        self.name = name
        self.num_tasks = num_tasks
        self.seed = seed
        self.max_steps = max_steps
        self.cache_path = cache_path

    @property
    def data(self) -> Dataset:
        """The first question of each episode; its label is the first step's calls."""
        return self._data

    @cached_property
    def _tasks(self) -> dict[str, Task]:
        """By the first question's id."""
        made = (make_task(unit_rng(self.seed, "two_step", 0, str(number))) for number in range(self.num_tasks))
        return {first_question(task).id: task for task in made}

    @cached_property
    def _data(self) -> Dataset:
        target = Path(self.cache_path) / f"{digest([task.model_dump() for task in self._tasks.values()])[:32]}.jsonl"
        write_rows(target, map(first_question, self._tasks.values()))
        return Dataset(target)

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """An episode a task, graded by how it ended."""
        return (PhonebookEpisode(self._tasks[first], self.max_steps) for first in (self._tasks if ids is None else ids))

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics over episodes; ``call_accuracy`` is the share of those that are right."""
        return scores(grades)

    def notes(self) -> list[str]:
        """Which tasks these are."""
        return [
            f"{self.name}: {self.num_tasks} tasks in a toy environment, seed {self.seed}, at most {self.max_steps} "
            "answers to each; an episode is right by the state that it ends in"
        ]


class PhonebookEpisode:
    """One task, from the user's words to the answer without a call (`sloop.rollout.Episode`)."""

    def __init__(self, task: Task, max_steps: int) -> None:
        """Begin in the task's state; after ``max_steps`` answers it is over whatever they were."""
        self._task = task
        self._first = first_question(task)
        self.id = self._first.id
        self.cluster = self._first.group
        self._max_steps = max_steps
        self._environment = replay(Phonebook, task.env, ())
        self._asked: Sample | None = self._first
        self._answers: list[Prediction] = []
        self._calls: list[ToolCall] = []

    def ask(self) -> Sample | None:
        """The dialogue so far."""
        return self._asked

    def tell(self, answer: Prediction) -> None:
        """Let the tools act on an answer's calls; what they say is part of the next question."""
        assert self._asked is not None
        self._answers.append(answer)
        if answer.error or not answer.calls:
            self._asked = None
            return
        said = [Message(role="assistant", content=answer.content, tool_calls=answer.calls)]
        for number, call in enumerate(answer.calls, start=len(self._calls)):
            said.append(
                Message(role="tool", content=self._environment.act(call), tool_call_id=f"call_{number}"),
            )
        self._calls += answer.calls
        step = len(self._answers)
        messages = (*self._asked.messages, *said)
        following = self._asked.model_copy(update={"messages": messages, "turn": step, "label": None})
        self._asked = following if step < self._max_steps else None

    def grade(self) -> tuple[Grade, ...]:
        """One grade: what all calls were, and whether the episode ended of itself and in the right state."""
        last, wanted = self._answers[-1], self._task.calls
        told = last.model_copy(update={"sample_id": self.id, "calls": tuple(self._calls)})
        plain = grade(self._first.model_copy(update={"label": Label(calls=wanted)}), told)
        if last.error == "model":
            return (plain,)
        reason = plain.reason if last.error else self._shortfall(last, wanted)
        changes = {"correct": reason is None, "reason": reason, "attempted": plain.attempted or bool(self._calls)}
        return (plain.model_copy(update=changes),)

    def _shortfall(self, last: Prediction, wanted: Iterable[ToolCall]) -> str | None:
        """What is missing at the end; None where nothing is."""
        if last.calls:
            return f"steps: it called on to the last of {self._max_steps} answers"
        right = replay(Phonebook, self._task.env, wanted)
        return difference(self._environment.state(), right.state())


def first_question(task: Task) -> Sample:
    """What a student is asked first."""
    (turn,) = task.turns
    return Sample(
        tools=Phonebook.tools,
        messages=(Message(role="system", content=SYSTEM), Message(role="user", content=turn.request)),
        label=Label(calls=turn.calls[0]),
        group=digest(task.model_dump())[:32],
        slice=task.slice,
        env=task.env,
    )


def make_task(rng: Random) -> Task:
    """A task: text somebody a sentence, or the number of somebody else; others in the book have names much alike."""
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    to, about, *_ = chosen = rng.sample(names, CONTACTS)
    numbers = [f"555-{number:04d}" for number in rng.sample(range(10000), CONTACTS)]
    contacts = dict(zip(chosen, numbers, strict=True))
    kind = rng.choice(["message", "share"])
    text = rng.choice(TEXTS) if kind == "message" else contacts[about]
    request = rng.choice(MESSAGE if kind == "message" else SHARE).format(to=to, about=about, text=text)
    looked_up = [to] if kind == "message" else [to, about]
    steps = (
        tuple(ToolCall(name=FIND.name, arguments={"name": name}) for name in looked_up),
        (ToolCall(name=SEND.name, arguments={"number": contacts[to], "text": text}),),
    )
    return Task(
        env=EnvSpec(toolkit=Phonebook.toolkit, state={"contacts": dict(sorted(contacts.items())), "sent": []}),
        turns=(Turn(request=request, calls=steps),),
        slice=kind,
    )
