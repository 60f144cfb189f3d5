"""What of a run becomes which entry in MLflow: tags, metrics, parameters, datasets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from sloop.records import Score, UserError, digest
from sloop.runs.files import holds
from sloop.runs.read import Run, metric_name
from sloop.stages.train import LOSS
from sloop.store import Lines

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric

PARAM_LENGTH = 6000
TAG_LENGTH = 5000
NAME_LENGTH = 200
DIGEST = 32
"""Hex digits of a dataset's digest: its field holds 36 characters."""


def tags_of(run: Run) -> dict[str, str]:
    """What a run can be searched by."""
    record = run.record
    tags = {
        "sloop.kind": record.kind,
        "sloop.run": record.name,
        "sloop.seed": record.seed,
        "sloop.student": run.student,
        "sloop.variant": run.variant,
        "sloop.config_hash": record.config_hash,
        "sloop.code": record.code.digest,
        "sloop.command": record.command,
        "sloop.host": record.machine.host,
        "sloop.pid": record.machine.pid,
        "sloop.dirty": record.code.dirty,
        "mlflow.source.name": "sloop",
        "mlflow.source.git.commit": record.code.commit,
    }
    return {key: str(value)[:TAG_LENGTH] for key, value in tags.items() if value not in (None, "")}


def metrics_of(
    scores: Iterable[Score], step: int, when: int, *, model: str | None = None, asked: Mapping[str, str] | None = None
) -> Iterator[Metric]:
    """Values, and the intervals of the overall ones under ``interval/``.

    Args:
        scores: what was measured.
        step: round.
        when: in milliseconds since 1970.
        model: id of the logged model whose they are, where they were measured on a benchmark.
        asked: SHA-256 of the data of each benchmark, by name.
    """
    from mlflow.entities import Metric

    for score in scores:
        if score.value is None:
            continue
        name = _fit(metric_name(score))
        benchmark = score.name.split("/")[1] if score.name.startswith("eval/") else ""
        tied = (
            {"model_id": model, "dataset_name": benchmark, "dataset_digest": asked[benchmark][:DIGEST]}
            if (model and asked and benchmark in asked)
            else {}
        )
        yield Metric(name, float(score.value), when, step, **tied)
        if score.low is not None and score.high is not None and not score.slice:
            yield Metric(f"interval/{name}/low", score.low, when, step)
            yield Metric(f"interval/{name}/high", score.high, when, step)


def _fit(name: str) -> str:
    """A name as MLflow takes it, which refuses all of a batch for one mark in the name of a slice.

    What had to be changed ends in letters of its digest, so that two slices do not become one.
    """
    parts = (re.sub(r"[^\w.\- :]", "_", part) for part in name.split("/"))
    fit = "/".join("_" if part in ("", ".", "..") else part for part in parts)[:NAME_LENGTH]
    return name if fit == name else f"{fit}_{digest(name)[:6]}"


class LossRow(BaseModel, extra="allow"):
    """A step of a training, and whatever numbers the trainer tells of it: each is a curve."""

    __pydantic_extra__: dict[str, float | None]

    step: int


def loss_curve(run: Run, under: str, when: int) -> Iterator[Metric]:
    """The curves over optimizer steps; steps that an interrupted training repeated count once."""
    from mlflow.entities import Metric

    path = run.folder / under / "sidecar" / LOSS
    if not holds(run.folder, path):
        return
    try:
        rows = {row.step: row for row in (LossRow.model_validate(line) for _, line in Lines(path).read())}
    except ValidationError as error:
        raise UserError(f"{path}: no curve of a training. Delete it: nothing but its figure depends on it.") from error
    for step, row in sorted(rows.items()):
        for name, value in row.__pydantic_extra__.items():
            if value is not None:
                yield Metric(_fit(f"train/curve/{name}"), value, when, step)


def counts_of(summary: Mapping[str, Any], when: int, prefix: str = "data") -> Iterator[Metric]:
    """The numbers of a stage's summary, those of its parts under their names."""
    from mlflow.entities import Metric

    for name, value in summary.items():
        if isinstance(value, Mapping):
            yield from counts_of(value, when, f"{prefix}/{name}")
        elif isinstance(value, int | float):
            yield Metric(_fit(f"{prefix}/{name}"), float(value), when, 0)


def dataset_of(path: str, sha256: str, name: str, context: str = "training") -> DatasetInput:
    """A dataset under our own digest: MLflow's ignores list columns and samples rows."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": path})
    dataset = Dataset(name=name, digest=sha256[:DIGEST], source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("sloop.sha256", sha256), InputTag("mlflow.data.context", context)])


def params_of(items: Sequence[tuple[str, str]]) -> list[Any]:
    """Parameters, as long as MLflow takes them."""
    from mlflow.entities import Param

    return [Param(key, value[:PARAM_LENGTH]) for key, value in items]


def flattened(config: Any, prefix: str = "") -> list[tuple[str, str]]:
    """The values of a configuration under their dotted keys."""
    if not isinstance(config, Mapping) or not config:
        return [(prefix, str(config))]
    before = f"{prefix}." if prefix else ""
    return [pair for key, value in config.items() for pair in flattened(value, f"{before}{key}")]


def milliseconds(when: str) -> int:
    """An ISO date and time as MLflow counts it, since 1970."""
    return int(datetime.fromisoformat(when).timestamp() * 1000)
