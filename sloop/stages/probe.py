"""Greedy capability probing: the student answers a dataset, batch by batch, with the probability of each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sloop.engine.build import describe
from sloop.engine.executor import concurrent
from sloop.engine.folder import Stage, stage_key
from sloop.records import Checkpoint, Decode, Prediction, Record, Rejected, Sample, trial_id
from sloop.store import Dataset, predictions_at
from sloop.students.base import RemoteStudent, Student

PREDICTIONS = "predictions.jsonl"


def prompt_size(sample: Sample) -> int:
    """A cheap stand-in for the prompt's length, by which samples are put into batches of similar length."""
    listing = sum(len(tool.name) + sum(map(len, tool.properties)) for tool in sample.tools)
    return listing + sum(len(message.content) for message in sample.messages)


def plan_batches(datasets: Sequence[Dataset], batch_size: int) -> dict[str, list[str]]:
    """Batches of sample ids, by key, ordered by prompt size, then id: fixed before anything runs."""
    sizes: dict[str, int] = {}
    for data in datasets:
        for sample in data:
            sizes[sample.id] = prompt_size(sample)
    ordered = sorted(sizes, key=lambda sample_id: (sizes[sample_id], sample_id))
    starts = range(0, len(ordered), batch_size)
    return {f"b{number:06d}": ordered[start : start + batch_size] for number, start in enumerate(starts)}


def pick_all(datasets: Sequence[Dataset], ids: Sequence[str]) -> dict[str, Sample]:
    """The samples with these ids, whichever dataset they stand in."""
    return {sample.id: sample for data in datasets for sample in data.pick(i for i in ids if i in data)}


class Batch(NamedTuple):
    """Samples that are answered together, for one of the trials."""

    trial: int
    ids: list[str]


def plan_trials(datasets: Sequence[Dataset], student: Student, batch_size: int, trials: int = 1) -> dict[str, Batch]:
    """Every batch of every trial, by key, one trial after another.

    A student over a network gets one sample at a time, many at once: a batch would wait for its slowest. The order of
    the answers is the same for any size of batch.
    """
    batches = plan_batches(datasets, 1 if isinstance(student, RemoteStudent) else batch_size)
    return {
        f"t{trial}-{key}" if trial else key: Batch(trial, ids)
        for trial in range(trials)
        for key, ids in batches.items()
    }


def answer_batches(
    stage: Stage,
    datasets: Sequence[Dataset],
    student: Student,
    checkpoint: Checkpoint,
    *,
    decode: Decode,
    batches: Mapping[str, Batch],
    report: Callable[[int, int], None] | None = None,
) -> int:
    """Answer the batches (see `plan_trials`) and write ``predictions.jsonl``, in their order.

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
        found = pick_all(datasets, batch.ids)
        samples = [found[sample_id] for sample_id in batch.ids]
        asked = decode.model_copy(update={"trial": batch.trial})
        answers = [await remote.answer(samples[0], asked)] if remote else student.predict(samples, asked)
        return [answer.model_copy(update={"trial": batch.trial}) for answer in answers] if batch.trial else answers

    run = concurrent(remote.in_flight if remote else 1)
    answered = stage.map(batches, work, run, (Prediction,), report)
    with stage.writing(PREDICTIONS) as append:
        for key, records in answered:
            for answer in _answers(batches[key], records):
                append[PREDICTIONS](answer)
                failed += answer.error == "model"
    return failed


def _answers(batch: Batch, records: Sequence[Record]) -> list[Prediction]:
    """One answer a sample: those of a batch that failed, so often that it was given up, are model errors."""
    if any(isinstance(record, Rejected) for record in records):
        return [Prediction(sample_id=sample_id, error="model", trial=batch.trial) for sample_id in batch.ids]
    return [record for record in records if isinstance(record, Prediction)]


def answered_batches(stage: Stage, batches: Mapping[str, Batch]) -> Iterator[tuple[str, list[Prediction]]]:
    """The batches of a finished stage in which no answer failed, with their answers."""
    answers = predictions_at(stage.folder / PREDICTIONS)
    for key, (trial, ids) in batches.items():
        found = list(answers.pick(trial_id(sample_id, trial) for sample_id in ids))
        if all(answer.error != "model" for answer in found):
            yield key, found


def probe(
    *,
    data: Sequence[Dataset],
    student: Student,
    checkpoint: Checkpoint,
    decode: Decode,
    batch_size: int,
    out: Path,
    experiment: Path | None = None,
    report: Callable[[int, int], None] | None = None,
    retry_failed: bool = False,
) -> Stage:
    """Answer the training data, and what may join it, greedily.

    Args:
        data: the datasets to answer.
        student: who answers.
        checkpoint: with which weights.
        decode: how long an answer may get.
        batch_size: samples in a batch, where the student takes batches.
        out: the stage's folder; ``predictions.jsonl`` holds one `Prediction` a sample.
        experiment: where a finished stage with the same key is looked for.
        report: told (batches done, batches in all).
        retry_failed: of a finished stage, ask again for the batches in which an answer failed, and only for those.

    Returns:
        The finished stage; its summary's ``failed`` says how many answers could not be had.
    """
    key = stage_key("probe", **answer_key(data, student, checkpoint, decode, batch_size))
    with Stage(out, key, experiment) as stage:
        finished = stage.done  # looked at once: another process may take the stage up meanwhile
        if finished and not (retry_failed and any(stage.summary["failed"].values())):
            return stage
        batches = plan_trials(data, student, batch_size)
        if finished:
            stage.reopen(answered_batches(stage, batches))
        failed = answer_batches(stage, data, student, checkpoint, decode=decode, batches=batches, report=report)
        stage.finish({"samples": sum(len(part) for part in data), "failed": {"answers": failed}})
    return stage


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
