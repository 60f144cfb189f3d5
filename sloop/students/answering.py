"""The engine behind probe and evaluate: episodes in batches that are fixed beforehand, answered, kept, asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sloop.engine.build import describe
from sloop.engine.executor import concurrent
from sloop.engine.folder import Stage
from sloop.records import Checkpoint, Decode, Prediction, Record, Rejected, Sample, Step, trial_id
from sloop.rollout import Episode, replay, rollout
from sloop.store import Dataset, Rows, predictions_at
from sloop.students.base import RemoteStudent, Student

PREDICTIONS = "predictions.jsonl"

Opener = Callable[[Sequence[str]], Iterable[Episode]]
"""Fresh episodes with these ids, in this order."""


class Batch(NamedTuple):
    """Episodes that are answered together, for one of the trials."""

    trial: int
    ids: list[str]


def prompt_size(sample: Sample) -> int:
    """A cheap stand-in for the prompt's length, by which episodes are put into batches of similar length."""
    listing = sum(len(tool.name) + sum(map(len, tool.properties)) for tool in sample.tools)
    return listing + sum(len(message.content) for message in sample.messages)


def plan_batches(questions: Iterable[Sample], batch_size: int) -> dict[str, list[str]]:
    """Batches of episodes' ids, by key, ordered by the first question's size, then id: fixed before anything runs.

    Args:
        questions: the first one of each episode, by whose id the episode is known.
        batch_size: how many there are in a batch, but for the last.
    """
    sizes = {sample.id: prompt_size(sample) for sample in questions}
    ordered = sorted(sizes, key=lambda sample_id: (sizes[sample_id], sample_id))
    starts = range(0, len(ordered), batch_size)
    return {f"b{number:06d}": ordered[start : start + batch_size] for number, start in enumerate(starts)}


def plan_trials(questions: Iterable[Sample], student: Student, batch_size: int, trials: int = 1) -> dict[str, Batch]:
    """Every batch of every trial, by key, one trial after another; see `plan_batches`.

    A student over a network gets one episode at a time, many at once: a batch would wait for its slowest. The order of
    the answers is the same for any size of batch.
    """
    batches = plan_batches(questions, 1 if isinstance(student, RemoteStudent) else batch_size)
    return {
        f"t{trial}-{key}" if trial else key: Batch(trial, ids)
        for trial in range(trials)
        for key, ids in batches.items()
    }


def answer_batches(
    stage: Stage,
    opened: Opener,
    student: Student,
    checkpoint: Checkpoint,
    *,
    decode: Decode,
    batches: Mapping[str, Batch],
    report: Callable[[int, int], None] | None = None,
) -> int:
    """Answer the batches (see `plan_trials`) and write ``predictions.jsonl``: in their order, episode by episode.

    Returns:
        How many of the answers could not be had.
    """
    remote = student if isinstance(student, RemoteStudent) else None
    loaded, failed = False, 0

    async def work(batch: Batch) -> Sequence[Record]:
        nonlocal loaded
        if not loaded:
            student.load(checkpoint)
            loaded = True
        asked = decode.model_copy(update={"trial": batch.trial})

        async def answer(samples: Sequence[Sample]) -> Sequence[Prediction]:
            answers = [await remote.answer(samples[0], asked)] if remote else student.predict(samples, asked)
            return [given.model_copy(update={"trial": batch.trial}) for given in answers] if batch.trial else answers

        return await rollout(list(opened(batch.ids)), answer)

    run = concurrent(remote.in_flight if remote else 1)
    answered = stage.map(batches, work, run, (Prediction,), report)
    with stage.writing(PREDICTIONS) as append:
        for key, records in answered:
            for given in _answers(opened, batches[key], records):
                append[PREDICTIONS](given)
                failed += given.error == "model"
    return failed


def _answers(opened: Opener, batch: Batch, records: Sequence[Record]) -> list[Prediction]:
    """The answers of a batch; one that failed, so often that it was given up, has a model error at every question."""
    if any(isinstance(record, Rejected) for record in records):

        def missing(sample: Sample) -> Prediction:
            return Prediction(sample_id=sample.id, error="model", trial=batch.trial)

        return [step.answer for episode in opened(batch.ids) for step in replay(episode, missing)]
    return [record for record in records if isinstance(record, Prediction)]


def recorded(episode: Episode, answers: Rows[Prediction], trial: int) -> list[Step]:
    """Replay a fresh episode with the answers that stand in a file, whose ids its questions find again."""
    return replay(episode, lambda sample: next(answers.pick([trial_id(sample.id, trial)])))


def answered_batches(
    stage: Stage, opened: Opener, batches: Mapping[str, Batch]
) -> Iterator[tuple[str, list[Prediction]]]:
    """The batches of a finished stage in which no answer failed, with their answers."""
    answers = predictions_at(stage.folder / PREDICTIONS)
    for key, (trial, ids) in batches.items():
        found = [step.answer for episode in opened(ids) for step in recorded(episode, answers, trial)]
        if all(answer.error != "model" for answer in found):
            yield key, found


def answer_key(
    data: Sequence[Dataset], student: Student, checkpoint: Checkpoint, decode: Decode, batch_size: int
) -> dict[str, Any]:
    """What a student's answers depend on."""
    return {
        "data": [part.sha256 for part in data],
        "student": describe(student),
        "checkpoint": checkpoint.digest,
        "decode": decode.model_dump(),
        "batch_size": batch_size,
    }
