"""Greedy capability probing: the student answers a dataset, batch by batch, with the probability of each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from sloop.benchmarks.base import SampleEpisode
from sloop.engine.folder import Stage, stage_key
from sloop.measures.metrics import grade
from sloop.records import Checkpoint, Decode
from sloop.rollout import Episode
from sloop.store import Dataset
from sloop.students.answering import PREDICTIONS, answer_batches, answer_key, answered_batches, plan_trials
from sloop.students.base import Student

__all__ = ["PREDICTIONS", "probe"]


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
        opened = partial(_opened, data)
        batches = plan_trials(chain.from_iterable(data), student, batch_size)
        if finished:
            stage.reopen(answered_batches(stage, opened, batches))
        failed = answer_batches(stage, opened, student, checkpoint, decode=decode, batches=batches, report=report)
        stage.finish({"samples": sum(len(part) for part in data), "failed": {"answers": failed}})
    return stage


def _opened(data: Sequence[Dataset], ids: Sequence[str]) -> Iterator[Episode]:
    """The samples with these ids, whichever dataset they stand in, as episodes of length 1."""
    found = {sample.id: sample for part in data for sample in part.pick(i for i in ids if i in part)}
    return (SampleEpisode((found[sample_id],), grade) for sample_id in ids)
