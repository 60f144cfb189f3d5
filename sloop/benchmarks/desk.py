"""Customers at the bookings desk, as tau2-bench has them: a student under a policy, tools, and a user who is simulated.

The student speaks to the user or calls tools. An episode ends when the user ends it, with a transfer to a person, when
an answer cannot be read, or at a limit of answers or of calls that failed. It is right (DB and COMMUNICATE of tau2) if
the user or a transfer ended it, if the state is the one that the task's own calls lead to, and if every text that the
user wants to hear stands in what the student said, in small letters and without commas. What the user said is kept with
the answers, so that grading asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated

from sloop.benchmarks.base import GRADING
from sloop.benchmarks.environment import EnvironmentEpisode, Steps
from sloop.engine.identity import unit_rng
from sloop.environments.base import ERROR, difference
from sloop.environments.checks import run
from sloop.environments.domains import make_environment
from sloop.measures.metrics import scores
from sloop.measures.stats import rate
from sloop.models.prompts import Prompts
from sloop.records import Grade, Label, Message, Part, Prediction, Sample, Score, Task, digest
from sloop.records.ranges import Name, PathText, Positive, Seed, Within
from sloop.rollout import Episode
from sloop.simulation.tasks.desk import SLICES, make_errand
from sloop.simulation.user import Scenario, User
from sloop.store import Dataset, write_rows

USER = "user: "
"""How the reason of an episode begins that the user has spoilt: it says nothing of the student."""
MISTAKES = {"empty": "it said nothing", "calls": "it called", "failed": "no reply could be had"}


class DeskBenchmark:
    """Customers at the desk (`sloop.benchmarks.base.Benchmark`)."""

    MODULES = (
        *GRADING, "sloop.benchmarks.desk", "sloop.benchmarks.environment", "sloop.environments",
        "sloop.models.prompts", "sloop.simulation.dialogues", "sloop.simulation.tasks", "sloop.simulation.user",
        "sloop.tools.contract", "sloop.tools.dialects", "sloop/prompts/bookings.jinja",
    )  # fmt: skip
    NOT_RESULTS = frozenset({"cache_path"})
    """Where the questions lie; what they are is known by their digest."""

    def __init__(
        self,
        *,
        name: Name,
        part: Part,
        num_tasks: Annotated[int, Within(1, 100_000)],
        seed: Seed,
        max_steps: Steps,
        max_errors: Positive,
        user: User,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/bookings.yaml``, which says what each value is."""
        self.name = name
        self.part: Part = part
        self.num_tasks = num_tasks
        self.seed = seed
        self.max_steps = max_steps
        self.max_errors = max_errors
        self.user = user
        self.cache_path = cache_path

    @property
    def data(self) -> Dataset:
        """The first question of each episode; its label is the first of the task's calls."""
        return self._data

    @cached_property
    def _errands(self) -> dict[str, tuple[Sample, Task, Scenario]]:
        """By the first question's id; the kinds take turns."""
        found, prompts = {}, Prompts(None)
        for number in range(self.num_tasks):
            rng = unit_rng(self.seed, "desk", 0, str(number))
            task, scenario = make_errand(rng, SLICES[number % len(SLICES)], self.part)
            first = first_question(task, prompts.text("bookings", {"today": task.env.state["today"]}))
            found[first.id] = first, task, scenario
        return found

    @cached_property
    def _data(self) -> Dataset:
        firsts = [first for first, _, _ in self._errands.values()]
        target = Path(self.cache_path) / f"{digest([first.model_dump() for first in firsts])[:32]}.jsonl"
        write_rows(target, firsts)
        return Dataset(target)

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """An episode a customer."""
        chosen = self._errands if ids is None else ids
        limits = self.max_steps, self.max_errors
        return (DeskEpisode(*self._errands[first], self.user, *limits) for first in chosen)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics over episodes, of which ``call_accuracy`` is the share that is right, and ``user_errors``:
        the share that the user has spoilt, which count as ``model_errors`` and in no other metric.
        """
        graded = list(grades)
        spoilt = ((g.cluster, int((g.reason or "").startswith(USER)), 1) for g in graded)
        return [*scores(graded), rate("user_errors", spoilt)]

    def notes(self) -> list[str]:
        """Which tasks these are."""
        return [
            f"{self.name}: {self.num_tasks} customers at a bookings desk, part {self.part}, seed {self.seed}, at most "
            f"{self.max_steps} answers and {self.max_errors} failed calls to each, played by {type(self.user).__name__}"
        ]


class DeskEpisode(EnvironmentEpisode):
    """One customer, from the first words to the end (`sloop.rollout.Spoken`)."""

    def __init__(
        self, first: Sample, task: Task, scenario: Scenario, user: User, max_steps: int, max_errors: int
    ) -> None:
        """Begin in the task's state."""
        super().__init__(task, max_steps, max_steps, first)
        self._scenario = scenario
        self._user = user
        self._max_steps, self._max_errors = max_steps, max_errors

    async def hear(self, answer: Prediction) -> Prediction:
        """The answer with the user's reply, where the student has spoken to it."""
        assert self._asked is not None
        if answer.error or answer.calls or answer.reply or not answer.content.strip():
            return answer
        messages = (*self._asked.messages, Message(role="assistant", content=answer.content))
        said = await self._user.reply(self._scenario, messages, key=self.id, trial=answer.trial)
        return answer.model_copy(update={"reply": said})

    def tell(self, answer: Prediction) -> None:
        """Let the tools act on an answer's calls, or the user speak: that is the next question."""
        assert self._asked is not None
        asked, self._asked = self._asked, None
        self._answers.append(answer)
        said = [Message(role="assistant", content=answer.content, tool_calls=answer.calls)]
        if answer.calls and not answer.error:
            said += [self._act(call, asked) for call in answer.calls]
        elif answer.error or answer.reply is None or answer.reply.error or answer.reply.ends:
            return
        else:
            said.append(Message(role="user", content=answer.reply.text))
        if not self._handed_over and len(self._answers) < self._max_steps and self._failed < self._max_errors:
            changes = {"messages": (*asked.messages, *said), "turn": len(self._answers), "label": None}
            self._asked = asked.model_copy(update=changes)

    @property
    def _handed_over(self) -> bool:
        return bool(self.environment.state()["handed_over"])

    @property
    def _failed(self) -> int:
        return sum(result.startswith(ERROR) for result in self._results)

    def grade(self) -> tuple[Grade, ...]:
        """One grade: what all calls were, and whether the episode was brought to an end and to the right one."""
        (found,) = super().grade()
        reply = self._answers[-1].reply
        if not reply or not reply.error:
            return (found,)
        spoilt = {"error": "model", "correct": None, "tool_correct": None, "argument_pairs": (0, 0)}
        return (found.model_copy(update={**spoilt, "reason": USER + MISTAKES[reply.error]}),)

    def shortfall(self) -> str | None:
        """What is missing at the end; None where nothing is."""
        last = self._answers[-1]
        if not last.calls and last.reply is None:
            return "silent: it neither spoke nor called"
        if self._failed >= self._max_errors:
            return f"errors: {self._failed} of its calls failed"
        if not self._handed_over and not (last.reply and last.reply.ends):
            return f"steps: nothing ended it within {self._max_steps} answers"
        if found := difference(self.environment.state(), run(self.task.env, self.task.calls).state):
            return found
        said = [answer.content.lower().replace(",", "") for answer in self._answers]
        missing = (text for text in self._scenario.hears if not any(text.lower() in words for words in said))
        return next((f"unsaid: the user did not hear {text}" for text in missing), None)


def first_question(task: Task, policy: str) -> Sample:
    """What a student is asked first."""
    (turn,) = task.turns
    return Sample(
        tools=make_environment(task.env).tools,
        messages=(Message(role="system", content=policy), Message(role="user", content=turn.request)),
        label=Label(calls=turn.calls[0]),
        group=digest(task.model_dump())[:32],
        slice=task.slice,
        env=task.env,
    )
