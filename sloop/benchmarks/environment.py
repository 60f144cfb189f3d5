"""Tasks in environments as episodes: a student acts, turn by turn, and is graded by the state that it leaves.

A turn is over when the student answers without a call; then the user says the next thing, and the tools of that turn
are on offer. An episode ends with its last turn, when an answer cannot be read, or after so many answers. It is right
if it ended of itself in the state that the task's own calls lead to, by whatever calls, if what the user wanted to hear
was read, and if nothing that changes the state was called in a turn that wanted no call, such as one that lacks a
value. METHOD's other metrics compare all its calls with the task's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, ClassVar

from sloop.benchmarks.base import GRADING, packaged, single_turns
from sloop.engine.identity import unit_rng
from sloop.environments.base import refusal
from sloop.environments.checks import Outcome, done, heard, met, run, shortfall
from sloop.environments.domains import make_environment
from sloop.measures.metrics import grade, scores
from sloop.records import Grade, Label, Message, Part, Prediction, Sample, Score, Task, ToolCall, UserError, digest
from sloop.records.ranges import Name, PathText, Seed, Sha256, Within
from sloop.rollout import MAX_STEPS, Episode
from sloop.simulation.dialogues import kinds_by_domain, offered, opening
from sloop.simulation.tasks import TASKS
from sloop.store import Dataset, file_digest, read_rows, write_rows

Steps = Annotated[int, Within(1, MAX_STEPS)]
_TRIES = 10
"""Tasks that are drawn for each that is wanted: two may be the same."""


class TaskBenchmark:
    """Tasks in environments, each of them an episode (`sloop.benchmarks.base.Benchmark`)."""

    MODULES: ClassVar[tuple[str, ...]] = (
        *GRADING,
        "sloop.benchmarks.environment",
        "sloop.environments",
        "sloop.simulation.dialogues",
        "sloop.simulation.tasks",
        "sloop.teachers.base",
    )
    NOT_RESULTS: ClassVar[frozenset[str]] = frozenset({"cache_path"})
    """Where the questions lie; what they are is known by their digest."""
    samples: Dataset | None = None
    """Single questions that are asked first."""

    def __init__(self, name: str, max_steps: int, turn_steps: int, cache_path: str) -> None:
        self.name = name
        self.max_steps = max_steps
        self.turn_steps = turn_steps
        self.cache_path = Path(cache_path)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """By the first question's id."""
        raise NotImplementedError

    @property
    def data(self) -> Dataset:
        """The first question of each episode; its label is the first step's calls."""
        return self._data

    @cached_property
    def _data(self) -> Dataset:
        asked = [self.samples.sha256 if self.samples else "", [task.model_dump() for task in self.tasks.values()]]
        target = self.cache_path / f"{digest(asked)[:32]}.jsonl"
        write_rows(target, chain(self.samples or (), map(first_question, self.tasks.values())))
        return Dataset(target)

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """A sample is graded by the strict comparator, a task by how it ended."""
        for chosen in self.data.ids() if ids is None else ids:
            if chosen in self.tasks:
                yield EnvironmentEpisode(self.tasks[chosen], self.max_steps, self.turn_steps)
            else:
                yield from single_turns(self.data, grade, [chosen])

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics over episodes; ``call_accuracy`` is the share of those that are right."""
        return scores(grades)

    def notes(self) -> list[str]:
        """How tasks are graded."""
        return [
            f"{self.name}: a task gets at most {self.turn_steps} answers to a turn and {self.max_steps} in all, and is "
            "right by the state that it ends in"
        ]


class EnvironmentBenchmark(TaskBenchmark):
    """Generated tasks of some domains."""

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
        super().__init__(name, max_steps, turn_steps, cache_path)
        self.domains = domains
        self.part: Part = part
        self.num_tasks = num_tasks
        self.seed = seed
        self._choices = kinds_by_domain(domains, kinds, "benchmark")

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """By the first question's id; kinds and domains take turns."""
        made = drawn(self._choices, self.part, self.seed, self.num_tasks)
        if len(made) < self.num_tasks:
            raise UserError(
                f"benchmark.num_tasks={self.num_tasks}: only {len(made)} different tasks were found. Ask for fewer."
            )
        return made

    def notes(self) -> list[str]:
        """Which tasks these are."""
        told = f"{self.num_tasks} tasks in {', '.join(self.domains)}, part {self.part}, seed {self.seed}"
        return [f"{self.name}: {told}", *super().notes()]


class FrozenBenchmark(TaskBenchmark):
    """Samples and tasks of two files, each pinned by its digest."""

    def __init__(
        self,
        *,
        name: Name,
        path: PathText,
        sha256: Sha256,
        tasks: PathText,
        tasks_sha256: Sha256,
        max_steps: Steps,
        turn_steps: Steps,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/sloop_bench_v2.yaml``, which says what each value is.

        Raises:
            UserError: no such file, or another one than the pinned one.
        """
        super().__init__(name, max_steps, turn_steps, cache_path)
        self.samples = Dataset(_pinned("path", path, sha256))
        self._file = _pinned("tasks", tasks, tasks_sha256)
        self._told = f"{path}, sha256 {sha256}, and {{}} tasks of {tasks}, sha256 {tasks_sha256}"

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """By the first question's id, in the file's order."""
        return {first_question(task).id: task for task in read_rows(self._file, Task)}

    def notes(self) -> list[str]:
        """Which data these are."""
        told = f"{len(self.data) - len(self.tasks)} samples of {self._told.format(len(self.tasks))}"
        return [f"{self.name}: {told}", *super().notes()]


def _pinned(setting: str, path: str, sha256: str) -> Path:
    """A file, which is the one that it should be."""
    file = Path(packaged(path))
    if not file.is_file():
        raise UserError(f"benchmark.{setting}={path}: there is no such file.")
    if (found := file_digest(file)) != sha256:
        raise UserError(
            f"benchmark.{setting}={path}: its digest is {found}, and not {sha256}: figures of other data are not "
            "comparable. Take the pinned file, or give its digest and another benchmark.name."
        )
    return file


def drawn(choices: Sequence[tuple[str, str]], part: Part, seed: int, number: int) -> dict[str, Task]:
    """Tasks of domains and kinds in turn, by the first question's id; fewer where no more different ones are found."""
    made: dict[str, Task] = {}
    for nth in range(_TRIES * number):
        domain, kind = choices[nth % len(choices)]
        rng = unit_rng(seed, "two_step", 0, str(nth))  # a name of old: questions stay what they were
        task = TASKS[domain].make_task(rng, kind, part)
        made.setdefault(first_question(task).id, task)
        if len(made) == number:
            break
    return made


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
        self._ran: list[int] = []
        """Places of the calls that some tool on offer could take."""
        self._turn = 0
        self._in_turn = 0
        self._early: str | None = None
        """What changed the state in a turn that wanted no call."""

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
        wants_none = not self.task.turns[self._turn].calls
        before = done(self.environment.state()) if wants_none else None
        withheld = refusal(call, asked.tools)
        self._results.append(withheld or self.environment.act(call))
        if withheld is None:
            self._ran.append(len(self._calls))
        if wants_none and done(self.environment.state()) != before:
            self._early = self._early or f"early: {call.name} was called in turn {self._turn + 1}, which wants no call"
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
        changes = {
            "correct": reason is None,
            "reason": reason,
            "attempted": plain.attempted or bool(self._calls),
            "executed": self._executed(),
        }
        return (plain.model_copy(update=changes),)

    def _executed(self) -> tuple[int, int]:
        """By what came of the calls here, where a tool may not have been on offer."""
        given = Outcome(self.environment.state(), tuple(self._results[place] for place in self._ran))
        calls = [self._calls[place] for place in self._ran]
        return met(calls, given, run(self.task.env, self.task.calls), self.environment.writes)

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
