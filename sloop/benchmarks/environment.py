"""Tasks in environments as episodes: a student acts, turn by turn, and is graded by the state that it leaves.

A turn is over when the student answers without a call; then the user says the next thing, and the tools of that turn
are on offer. An episode ends with its last turn, when an answer cannot be read, or after so many answers. It is right
if it ended of itself in the state that the task's own calls lead to, by whatever calls, if what the user wanted to hear
was read, and if nothing that changes the state was called in a turn that wanted no call, such as one that lacks a
value. METHOD's other metrics compare all its calls with the task's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated

from sloop.benchmarks.base import GRADING
from sloop.engine.identity import unit_rng
from sloop.environments.base import refusal
from sloop.environments.checks import Outcome, heard, run, shortfall
from sloop.environments.domains import make_environment
from sloop.measures.metrics import grade, scores
from sloop.records import Grade, Label, Message, Part, Prediction, Sample, Score, Task, ToolCall, UserError, digest
from sloop.records.ranges import Name, PathText, Seed, Within
from sloop.rollout import MAX_STEPS, Episode
from sloop.simulation.dialogues import kinds_by_domain, offered, opening
from sloop.simulation.tasks import TASKS
from sloop.store import Dataset, write_rows

Steps = Annotated[int, Within(1, MAX_STEPS)]
_TRIES = 10
"""Tasks that are drawn for each that is wanted: two may be the same."""


class EnvironmentBenchmark:
    """Generated tasks of some domains (`sloop.benchmarks.base.Benchmark`)."""

    MODULES = (
        *GRADING,
        "sloop.benchmarks.environment",
        "sloop.environments",
        "sloop.simulation.dialogues",
        "sloop.simulation.tasks",
    )
    NOT_RESULTS = frozenset({"cache_path"})
    """Where the questions lie; what they are is known by their digest."""

    def __init__(
        self,
        *,
        name: Name,
        domains: list[str],
        kinds: list[str],
        part: Part,
        num_tasks: Annotated[int, Within(1, 100_000)],
        seed: Seed,
        max_steps: Steps,
        turn_steps: Steps,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/environment.yaml``, which says what each value is.

        Raises:
            UserError: no such domain, or none of them has tasks of such a kind.
        """
        self.name = name
        self.domains = domains
        self.part: Part = part
        self.num_tasks = num_tasks
        self.seed = seed
        self.max_steps = max_steps
        self.turn_steps = turn_steps
        self.cache_path = cache_path
        self._choices = kinds_by_domain(domains, kinds, "benchmark")

    @property
    def data(self) -> Dataset:
        """The first question of each episode; its label is the first step's calls."""
        return self._data

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """By the first question's id; kinds and domains take turns."""
        made: dict[str, Task] = {}
        for number in range(_TRIES * self.num_tasks):
            domain, kind = self._choices[number % len(self._choices)]
            rng = unit_rng(self.seed, "two_step", 0, str(number))  # a name of old: questions stay what they were
            task = TASKS[domain].make_task(rng, kind, self.part)
            made.setdefault(first_question(task).id, task)
            if len(made) == self.num_tasks:
                return made
        raise UserError(
            f"benchmark.num_tasks={self.num_tasks}: only {len(made)} different tasks were found. Ask for fewer."
        )

    @cached_property
    def _data(self) -> Dataset:
        target = Path(self.cache_path) / f"{digest([task.model_dump() for task in self.tasks.values()])[:32]}.jsonl"
        write_rows(target, map(first_question, self.tasks.values()))
        return Dataset(target)

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """An episode a task, graded by how it ended."""
        chosen = self.tasks if ids is None else ids
        return (EnvironmentEpisode(self.tasks[first], self.max_steps, self.turn_steps) for first in chosen)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics over episodes; ``call_accuracy`` is the share of those that are right."""
        return scores(grades)

    def notes(self) -> list[str]:
        """Which tasks these are."""
        return [
            f"{self.name}: {self.num_tasks} tasks in {', '.join(self.domains)}, part {self.part}, seed {self.seed}, at "
            f"most {self.turn_steps} answers to a turn and {self.max_steps} to a task; an episode is right by the "
            "state that it ends in"
        ]


class EnvironmentEpisode:
    """One task, from the user's first words to the last answer without a call (`sloop.rollout.Episode`)."""

    def __init__(self, task: Task, max_steps: int, turn_steps: int, first: Sample | None = None) -> None:
        """Begin in the task's state; after ``turn_steps`` answers to a turn, or ``max_steps`` in all, it is over
        whatever they were. ``first`` is asked first; None: `first_question`.
        """
        self.task = task
        self.first = first or first_question(task)
        self.id = self.first.id
        self.cluster = self.first.group
        self.environment = make_environment(task.env)
        self._limits = turn_steps, max_steps
        self._asked: Sample | None = self.first
        self._answers: list[Prediction] = []
        self._calls: list[ToolCall] = []
        self._results: list[str] = []
        self._turn = 0
        self._in_turn = 0
        self._early: str | None = None
        """What was called in a turn that wanted no call."""

    def ask(self) -> Sample | None:
        """The dialogue so far."""
        return self._asked

    def tell(self, answer: Prediction) -> None:
        """Let the tools act on an answer's calls, or the user say the next thing: that is the next question."""
        assert self._asked is not None
        self._answers.append(answer)
        self._in_turn += 1
        asked, tools = self._asked, self._asked.tools
        self._asked = None
        if answer.error:
            return
        said = [Message(role="assistant", content=answer.content, tool_calls=answer.calls)]
        if answer.calls:
            said += [self._act(call, asked) for call in answer.calls]
        elif self._turn + 1 < len(self.task.turns):
            self._turn, self._in_turn = self._turn + 1, 0
            turn = self.task.turns[self._turn]
            said.append(Message(role="user", content=turn.request))
            tools = offered(self.environment, turn)
        else:
            return
        turn_steps, max_steps = self._limits
        if self._in_turn < turn_steps and len(self._answers) < max_steps:
            changes = {"tools": tools, "messages": (*asked.messages, *said), "turn": len(self._answers), "label": None}
            self._asked = asked.model_copy(update=changes)

    def _act(self, call: ToolCall, asked: Sample) -> Message:
        """What a tool says; one that is not on offer in this turn does not act."""
        if not self.task.turns[self._turn].calls and call.name in self.environment.writes:
            self._early = self._early or f"early: {call.name} was called in turn {self._turn + 1}, which wants no call"
        self._results.append(refusal(call, asked.tools) or self.environment.act(call))
        self._calls.append(call)
        return Message(role="tool", content=self._results[-1], tool_call_id=f"call_{len(self._calls) - 1}")

    def grade(self) -> tuple[Grade, ...]:
        """One grade: what all calls were, and whether the episode ended of itself and as the task wants it."""
        last = self._answers[-1]
        whole = self.first.model_copy(update={"tools": self.environment.tools, "label": Label(calls=self.task.calls)})
        told = last.model_copy(update={"sample_id": whole.id, "calls": tuple(self._calls)})
        plain = grade(whole, told).model_copy(update={"sample_id": self.id})
        if last.error == "model":
            return (plain,)
        reason = plain.reason if last.error else self.shortfall()
        changes = {"correct": reason is None, "reason": reason, "attempted": plain.attempted or bool(self._calls)}
        return (plain.model_copy(update=changes),)

    def shortfall(self) -> str | None:
        """What is missing at the end, or was done too early; None where nothing is."""
        if self._answers[-1].calls or self._turn + 1 < len(self.task.turns):
            return f"steps: no end after {len(self._answers)} answers"
        calls = self.task.calls
        right = run(self.task.env, calls)
        read = heard(calls, right, [call for turn in self.task.turns for call in turn.reads])
        return self._early or shortfall(Outcome(self.environment.state(), tuple(self._results)), right, read)


def first_question(task: Task) -> Sample:
    """What a student is asked first."""
    turn = task.turns[0]
    return Sample(
        tools=offered(make_environment(task.env), turn),
        messages=opening(task),
        label=Label(calls=turn.calls[0]) if turn.calls else Label(content=turn.reply),
        group=digest(task.model_dump())[:32],
        slice=task.slice,
        env=task.env,
    )
