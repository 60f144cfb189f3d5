"""Greedy capability probing: the student answers a dataset, batch by batch, with the probability of each answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sloop.build import describe
from sloop.executor import concurrent
from sloop.store import Dataset, Stage, stage_key
from sloop.students.base import RemoteStudent, Student
from sloop.types import Checkpoint, Decode, Prediction, Record, Rejected, Sample

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


def answer_batches(
    stage: Stage,
    datasets: Sequence[Dataset],
    student: Student,
    checkpoint: Checkpoint,
    *,
    decode: Decode,
    batch_size: int,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Answer every sample of the datasets and write ``predictions.jsonl``, in batch order.

    A student over a network gets one sample at a time, many at once: a batch would wait for its slowest. The order of
    the file is the same for any size of batch.
    """
    remote = student if isinstance(student, RemoteStudent) else None
    batches = plan_batches(datasets, 1 if remote else batch_size)
    loaded = False

    async def work(ids: list[str]) -> Sequence[Record]:
        nonlocal loaded
        if not loaded:
            student.load(checkpoint)
            loaded = True
        found = pick_all(datasets, ids)
        samples = [found[sample_id] for sample_id in ids]
        return [await remote.answer(samples[0], decode)] if remote else student.predict(samples, decode)

    run = concurrent(remote.in_flight if remote else 1)
    answered = stage.map(batches, work, run, (Prediction,), report)
    stage.write(PREDICTIONS, (record for key, records in answered for record in _answers(batches[key], records)))


def _answers(ids: Sequence[str], records: Sequence[Record]) -> Sequence[Record]:
    """One answer a sample: those of a batch that failed, so often that it was given up, are model errors."""
    if any(isinstance(record, Rejected) for record in records):
        return [Prediction(sample_id=sample_id, error="model") for sample_id in ids]
    return records


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

    Returns:
        The finished stage.
    """
    key = stage_key("probe", **answer_key(data, student, checkpoint, decode, batch_size))
    with Stage(out, key, experiment) as stage:
        if not stage.done:
            answer_batches(stage, data, student, checkpoint, decode=decode, batch_size=batch_size, report=report)
            stage.finish({"samples": sum(len(part) for part in data)})
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
