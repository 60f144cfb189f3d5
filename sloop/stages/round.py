"""What a round measured, and its record."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sloop.engine.stage import Made
from sloop.measures.audit import audit_dataset, audit_rulings
from sloop.measures.constants import constant_of
from sloop.measures.metrics import probe_scores
from sloop.measures.overlap import Contamination, write_evidence
from sloop.records import ROUND_FILE, DataRecord, RoundRecord, Score, StageFiles
from sloop.stages.evaluate import SCORES, grades_of
from sloop.stages.optimize.stage import rulings_at, unjudged_at
from sloop.stages.probe import PREDICTIONS
from sloop.stages.train import train_scores
from sloop.store import Dataset, is_file, now, predictions_at, read_record, read_rows, write_json

Stages = Mapping[str, Made[Any]]
"""The finished stages of a round, by their place in its folder."""


def round_metrics(
    held: Mapping[str, Contamination], stages: Stages, data: Dataset | None, truths: Sequence[Path]
) -> list[Score]:
    """Every number of a round. Truths are read here for metrics alone, after all decisions have been taken.

    Args:
        held: by benchmark: what it shares with the training sets so far.
        stages: of the round.
        data: what was trained on; None in round 0.
        truths: files of truths, of all rounds so far.
    """
    metrics: list[Score] = []
    if data is not None:
        metrics += [Score(name="data/size", value=len(data), n=len(data)), *audit_dataset(data, truths)]
        for source, count in sorted(Counter(data.column("source")).items()):
            metrics.append(Score(name=f"data/share/{source}", value=count / len(data), n=len(data)))
        metrics += train_scores(stages["train"].summary, len(data))
    for name, contamination in held.items():
        folder = stages[f"evaluate/{name}"].folder
        found = [*read_rows(folder / SCORES, Score), *contamination.split(grades_of(folder))]
        scores = [score for score in found if not (score.slice and constant_of(score.name))]
        metrics += [score.model_copy(update={"name": f"eval/{name}/{score.name}"}) for score in scores]
        metrics += contamination.overlap().scores()
    if "optimize" in stages:
        folder = stages["optimize"].folder
        rulings = list(rulings_at(folder))
        answers = predictions_at(stages["probe"].folder / PREDICTIONS)
        metrics += probe_scores(answers, (r.sample_id for r in rulings if r.verdict_prediction is not None))
        metrics += audit_rulings(rulings, answers, unjudged_at(folder), truths)
        summary = stages["optimize"].summary
        for source, count in summary.composition.items():
            metrics.append(Score(name=f"optimize/next/{source}", value=count, n=summary.samples))
        metrics.append(Score(name="optimize/shortfall", value=summary.shortfall, n=summary.samples))
    return metrics


def write_round(
    folder: Path,
    number: int,
    began: str,
    data: Dataset | None,
    short: int,
    stages: Stages,
    held: Mapping[str, Contamination],
    metrics: Sequence[Score],
) -> RoundRecord:
    """Write ``round.json``, which is kept as it is where nothing has changed but the time, and the evidence of
    contamination.

    Args:
        folder: of the round.
        number: from 1; 0 of the checkpoint as it came.
        began: when its first stage did.
        data: what was trained on; None in round 0.
        short: how many samples the stage that made it reported to be missing.
        stages: of the round.
        held: by benchmark: what it shares with the training sets so far.
        metrics: see `round_metrics`.
    """
    path, trained = folder / ROUND_FILE, None
    if data is not None:
        place = os.path.relpath(data.path, folder.parent)
        trained = DataRecord(path=place, rows=len(data), shortfall=short, sha256=data.sha256)
    before = read_record(path, RoundRecord) if is_file(path) else None
    record = RoundRecord(
        round=number,
        began=before.began if before else began,
        finished=before.finished if before else now(),
        steps=stages["train"].summary.steps if "train" in stages else 0,
        data=trained,
        stages={name: StageFiles(key=made.key, files=made.record.files) for name, made in stages.items()},
        metrics=tuple(metrics),
        contamination=tuple(overlap.model_dump(mode="json") for overlap in write_evidence(folder, held.values())),
    )
    if record != before:
        write_json(path, record.plain())
    return record
