"""The loop of episodes: ask, answer, hear, tell, until all are over. How a batch is answered is up to the caller.

An episode is the unit of answering and of grading: a single question, the steps of a dialogue, or a task in an
environment. Many run in lockstep, so that a batch stays as full as the episodes that are still open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from sloop.records import Grade, Prediction, Sample, Step

MAX_STEPS = 200
"""An episode that asks oftener than this never ends: its author's mistake. Shorter limits are the episodes' own."""

Answer = Callable[[Sequence[Sample]], Awaitable[Sequence[Prediction]]]
"""Answers to a batch of questions, in their order."""


class Episode(Protocol):
    """Questions that are asked one at a time. It does nothing but by `tell`: the same answers make the same episode."""

    id: str
    """That of its first question."""
    cluster: str
    """Episodes of one cluster are alike."""

    def ask(self) -> Sample | None:
        """The question that waits for its answer, the same until it is told; None: the episode is over."""
        ...

    def tell(self, answer: Prediction) -> None:
        """Take the answer to the question that waits."""
        ...

    def grade(self) -> tuple[Grade, ...]:
        """Of an episode that is over: a grade for each decision that is graded, or one for how it ended."""
        ...


@runtime_checkable
class Spoken(Episode, Protocol):
    """An episode in which somebody answers the student whom a model may play."""

    async def hear(self, answer: Prediction) -> Prediction:
        """The answer with what is said to it (`Prediction.reply`), which `tell` takes from there: so the same answers
        make the same episode, whoever said it. Where nothing is to be said, the answer as it is.
        """
        ...


class Given:
    """Questions that are given: one, or the steps of a dialogue whose history the data give. No answer changes another
    question, and nothing is graded.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        """Take one sample or more, in the order in which they are asked."""
        self.id = samples[0].id
        self.cluster = samples[0].group or samples[0].id
        self.samples = samples
        self.answers: list[Prediction] = []

    def ask(self) -> Sample | None:
        """The next sample."""
        return self.samples[len(self.answers)] if len(self.answers) < len(self.samples) else None

    def tell(self, answer: Prediction) -> None:
        """Keep the answer."""
        self.answers.append(answer)

    def grade(self) -> tuple[Grade, ...]:
        """None."""
        return ()


async def rollout(episodes: Sequence[Episode], answer: Answer) -> list[Prediction]:
    """Run episodes to their end, side by side.

    Args:
        episodes: fresh ones.
        answer: takes one batch a step, the questions of the open episodes in the episodes' order.

    Returns:
        All answers: those to the first episode in the order of its steps, then those to the second, and so on.
    """
    told: dict[str, list[Prediction]] = {episode.id: [] for episode in episodes}
    for waiting in _steps(episodes):
        answers = await answer([sample for _, sample in waiting])
        heard = await _heard([(episode, given) for (episode, _), given in zip(waiting, answers, strict=True)])
        for (episode, _), given in zip(waiting, heard, strict=True):
            episode.tell(given)
            told[episode.id].append(given)
    return [given for answers in told.values() for given in answers]


async def _heard(answers: Sequence[tuple[Episode, Prediction]]) -> list[Prediction]:
    """The answers, each with what is said to it; all who have something to say are asked at once."""
    try:
        async with asyncio.TaskGroup() as group:
            replies = [
                group.create_task(episode.hear(given)) if isinstance(episode, Spoken) else given
                for episode, given in answers
            ]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [reply.result() if isinstance(reply, asyncio.Task) else reply for reply in replies]


def replay(episode: Episode, answer: Callable[[Sample], Prediction]) -> list[Step]:
    """Run one fresh episode to its end with answers that are known, such as recorded ones; the steps that it took."""
    taken: list[Step] = []
    for ((_, sample),) in _steps([episode]):
        taken.append(Step(asked=sample, answer=answer(sample)))
        episode.tell(taken[-1].answer)
    return taken


def _steps(episodes: Sequence[Episode]) -> Iterator[list[tuple[Episode, Sample]]]:
    """The episodes that are open, each with its question, again and again until there are none.

    Raises:
        RuntimeError: one never ends.
    """
    for _ in range(MAX_STEPS):
        waiting = [(episode, sample) for episode in episodes if (sample := episode.ask()) is not None]
        if not waiting:
            return
        yield waiting
    if still := [episode.id for episode in episodes if episode.ask() is not None]:
        raise RuntimeError(f"episode {still[0]} asks on after {MAX_STEPS} steps")
