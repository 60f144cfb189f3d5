"""Episodes in lockstep: batches stay full, the same answers make the same episodes, replayed or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import pool
from phonebook_student import PhonebookStudent, two_step

from sloop.benchmarks.environment import EnvironmentBenchmark
from sloop.records import Decode, Grade, Prediction, Sample
from sloop.rollout import MAX_STEPS, Given, replay, rollout


def bench(folder: Path, tasks: int = 12) -> EnvironmentBenchmark:
    return two_step(folder, num_tasks=tasks)


def answered(benchmark: EnvironmentBenchmark, size: int, sizes: list[int] | None = None) -> list[Prediction]:
    """Every episode's answers, in batches of so many episodes."""
    student = PhonebookStudent(skill=0.6)

    async def answer(samples: Sequence[Sample]) -> list[Prediction]:
        if sizes is not None:
            sizes.append(len(samples))
        return student.predict(samples, Decode())

    episodes = list(benchmark.episodes())
    groups = [episodes[start : start + size] for start in range(0, len(episodes), size)]
    return [given for group in groups for given in asyncio.run(rollout(group, answer))]


@settings(deadline=None)
@given(size=st.integers(1, 12))
def test_side_by_side_or_one_by_one_the_answers_are_the_same(
    size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    benchmark = bench(tmp_path_factory.mktemp("cache"))
    assert answered(benchmark, size) == answered(benchmark, 1)


def test_a_batch_holds_every_episode_that_is_still_open(tmp_path: Path) -> None:
    sizes: list[int] = []
    answered(bench(tmp_path), 12, sizes)
    assert sizes[0] == 12
    assert sizes == sorted(sizes, reverse=True)
    assert 1 < len(sizes) <= 6


def test_recorded_answers_make_the_same_episode_again(tmp_path: Path) -> None:
    benchmark = bench(tmp_path)
    answers = {given.sample_id: given for given in answered(benchmark, 12)}
    for first, second in zip(benchmark.episodes(), benchmark.episodes(), strict=True):
        steps = replay(first, lambda sample: answers[sample.id])
        replay(second, lambda sample: answers[sample.id])
        assert [step.asked.id for step in steps] == [step.answer.sample_id for step in steps]
        assert first.grade() == second.grade()


def test_given_questions_are_asked_in_their_order_whatever_is_answered() -> None:
    samples = pool()[:3]
    steps = replay(Given(samples), lambda sample: Prediction(sample_id=sample.id, error="format"))
    assert [step.asked for step in steps] == samples
    assert Given(samples).grade() == ()


class Endless:
    """Asks the same for ever."""

    id, cluster = "endless", "endless"

    def ask(self) -> Sample | None:
        return pool()[0]

    def tell(self, answer: Prediction) -> None: ...

    def grade(self) -> tuple[Grade, ...]:
        return ()


def test_an_episode_that_never_ends_is_a_mistake_of_its_author() -> None:
    with pytest.raises(RuntimeError, match=f"asks on after {MAX_STEPS} steps"):
        replay(Endless(), lambda sample: Prediction(sample_id=sample.id))
