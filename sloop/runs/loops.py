"""The loops of a study with the grades of their answers, from disk or from MLflow: the same figures come of both."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sloop.records import RUN_FILE, Grade, RunRecord, Score, UserError, trial_id
from sloop.runs.destination import DATABASE, experiment_of, reached
from sloop.runs.files import read_run
from sloop.runs.find import find_runs
from sloop.stages.evaluate import GRADES
from sloop.store import read_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Loop:
    """A loop's record with its rounds, and what reads its grades by sample id: of a benchmark, in a round."""

    record: RunRecord
    grades: Callable[[str, int], dict[str, Grade]]

    @property
    def arm(self) -> tuple[str, str]:
        """Student and variant."""
        return self.record.called("student"), self.record.called("variant")

    @property
    def trains(self) -> bool:
        """Whether it has rounds of training: one that trains nothing has round 0 alone, however long others go on."""
        variant = self.record.config.get("variant")
        return not isinstance(variant, Mapping) or variant.get("data") != "none"

    def score(self, benchmark: str, round: int, metric: str) -> Score | None:
        """A metric over all samples of a round; None where there is none."""
        return next((score for score in self._scores(round) if score.name == f"eval/{benchmark}/{metric}"), None)

    def _scores(self, round: int) -> tuple[Score, ...]:
        return next((found.metrics for found in self.record.rounds if found.round == round), ())


def on_disk(root: Path) -> list[Loop]:
    """The loops under a folder that have a complete round."""
    runs = [run for run in find_runs(root) if run.record.is_loop and run.rounds]
    return [Loop(run.complete(), run.grades) for run in runs]


def in_mlflow(study: str, uri: str | None, mlruns: Path) -> list[Loop]:
    """The finished loops that MLflow has of a study, from the records that were logged with them.

    Args:
        study: its name.
        uri: tracking server; None: the database under ``mlruns``.
        mlruns: folder of the embedded database.

    Raises:
        UserError: there is no such database or experiment, or the server cannot be reached.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a line a file
    from mlflow import MlflowClient

    if uri is None and not (mlruns / DATABASE).is_file():
        raise UserError(
            f"no tracking database at {mlruns / DATABASE}. Name another (--mlruns, --uri), or read the disk."
        )
    client = MlflowClient(tracking_uri=uri or f"sqlite:///{mlruns.resolve() / DATABASE}")
    with reached(uri or mlruns / DATABASE):
        experiment = client.get_experiment_by_name(experiment_of(study))
        if experiment is None:
            raise UserError(f"MLflow has no experiment {study!r} there. Log what is on disk with: sloop runs sync")
        wanted = "tags.`sloop.kind` = 'loop' and attributes.status = 'FINISHED'"
        found = client.search_runs([experiment.experiment_id], wanted, order_by=["attributes.start_time ASC"])
        return [_logged(client, experiment.experiment_id, run.info.run_id) for run in found]


def _logged(client: MlflowClient, experiment: str, run_id: str) -> Loop:
    with tempfile.TemporaryDirectory() as folder:
        client.download_artifacts(run_id, RUN_FILE, folder)
        record = read_run(Path(folder))

    def grades(benchmark: str, round: int) -> dict[str, Grade]:
        with reached("MLflow"), tempfile.TemporaryDirectory() as folder:
            (child,) = client.search_runs([experiment], f"tags.`sloop.id` = '{record.id}-{round}'", max_results=1)
            path = client.download_artifacts(child.info.run_id, f"evaluate/{benchmark}/{GRADES}", folder)
            return {trial_id(grade.sample_id, grade.trial): grade for grade in read_rows(Path(path), Grade)}

    return Loop(record, grades)


def arms(loops: Iterable[Loop]) -> dict[tuple[str, str], dict[int, Loop]]:
    """The loops of each student and variant, by seed.

    Raises:
        UserError: two loops of a student and variant have one seed: which is meant?
    """
    found: dict[tuple[str, str], dict[int, Loop]] = {}
    for loop in loops:
        other = found.setdefault(loop.arm, {}).setdefault(loop.record.seed, loop)
        if other is not loop:
            raise UserError(
                f"{' '.join(loop.arm)} has two runs with seed {loop.record.seed}: {other.record.name} and "
                f"{loop.record.name}. Name one study, or move one of them away."
            )
    return dict(sorted(found.items()))
