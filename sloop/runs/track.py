"""MLflow as a projection of the disk: `Tracker.project` replays a run's files, with their own times, as often as asked.

With `sloop.runs.entries` (what becomes which entry), `sloop.runs.failures`, `sloop.runs.destination` (where to) and
`sloop.runs.loops` (what was logged, read again) the only module that imports mlflow, and only once it is needed. What
is on disk is the truth: a server that was down, or a resumed run, is made good by projecting again. A run is found by
its tag ``sloop.id``, so that projecting twice gives one run; ``sloop.folder`` says which folder it is the run of, so
that a copy of that folder, whatever was done to it, is not logged over it.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shlex
import socket
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from sloop.records import RUN_FILE, RoundRecord, Score, SweepRecord, Tracked, UserError, digest
from sloop.runs.cite import is_gone
from sloop.runs.destination import (
    ARTIFACTS,
    DATABASE,
    OTHERWISE,
    URI_VARIABLE,
    experiment_of,
    find_moved,
    given_as,
    public,
    reached,
)
from sloop.runs.entries import (
    TAG_LENGTH,
    counts_of,
    dataset_of,
    flattened,
    loss_curve,
    metrics_of,
    milliseconds,
    params_of,
    tags_of,
)
from sloop.runs.failures import failures_of, log_failures, log_questions
from sloop.runs.files import is_done, is_run, read_run, read_stage, write_run
from sloop.runs.prompts import log_prompts, prompts_of
from sloop.runs.read import Run
from sloop.runs.views import COMPARISON, LOOPS, ROUNDS, views

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as Logged

SHOWN = 500
"""Loops of a study whose metrics are looked at for its views."""
BATCH_METRICS = 1000
BATCH_PARAMS = 100
UPLOADED = ("*.jsonl", "card.md")
"""Files of a stage that go to MLflow: per-sample records. Weights and half-made files do not."""

WEIGHTS = "checkpoint/"
"""What the files of a trained student begin with, in its stage."""
MODEL_TAGS = ("sloop.run", "sloop.variant", "sloop.seed", "sloop.student")
"""Tags of a run that its models have too."""
NOT_IN_NAMES = r"[/:.%\"']"
"""Characters that MLflow allows in no model's name."""
FIGURES = "figures.html"
FOLDER = "sloop.folder"
"""Tag: where a run's folder is. At a server its host and path, in the embedded database its path from that, so that
both may be moved or copied together."""
Page = Callable[[Run], str]
"""Draws the figures of a run."""


class Refused(UserError):
    """A run that is not logged, as what MLflow has under its id is another one."""


class Tracker:
    """One MLflow experiment, named after the study."""

    def __init__(self, *, uri: str | None, mlruns: Path, experiment: str, page: Page | None = None) -> None:
        """Connect; makes database and experiment where they are missing, under a lock.

        Args:
            uri: tracking server; None: the sqlite database ``mlruns/mlflow.db``.
            mlruns: folder of the embedded database and its artifacts.
            experiment: its name.
            page: draws a run's figures as one page, empty where there is nothing to draw; None: none are logged.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # with the password in it
        # A server that is down is told of within seconds; MLflow's own patience is minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        mlruns = mlruns.resolve()
        self.uri = uri or f"sqlite:///{mlruns / DATABASE}"
        self.where = f"{public(uri) if uri else mlruns}, experiment {experiment}"
        """For people."""
        self._page = page
        self._mlruns = None if uri else mlruns
        if uri is not None:
            try:
                self.client: MlflowClient = MlflowClient(tracking_uri=uri)
                self.experiment_id = self._experiment(experiment, None)
            except (ImportError, ValueError) as error:  # a database whose driver is not installed; no address at all
                helps = "Install that" if isinstance(error, ImportError) else "Give an address that can be read"
                raise UserError(f"{given_as(uri)}: {public(str(error))}. {helps}, or {OTHERWISE}") from error
            return
        try:
            mlruns.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"paths.mlruns={mlruns}: this folder cannot be made ({error.strerror}). Give one that you may write to."
            ) from error
        # Several processes that open a new database at once corrupt its schema for good.
        with FileLock(mlruns / ".lock"):
            self.client = MlflowClient(tracking_uri=self.uri)
            self.experiment_id = self._experiment(
                experiment, (mlruns / ARTIFACTS / experiment.replace("/", "_")).as_uri()
            )
            with closing(sqlite3.connect(mlruns / DATABASE)) as database:
                database.execute("PRAGMA journal_mode=WAL")
                find_moved(database, mlruns)

    def _experiment(self, name: str, location: str | None) -> str:
        """The id of the experiment, made if it is missing.

        Raises:
            UserError: it was deleted.
        """
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, artifact_location=location))
            except MlflowException as error:  # another process, perhaps on another machine, was first
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise UserError(
                f"tracking to {public(self.uri)}: the experiment {name} was deleted there. Bring it back with: "
                f"{URI_VARIABLE}={shlex.quote(public(self.uri))} mlflow experiments restore --experiment-id "
                f"{found.experiment_id}; or log under another name (name=...), or nowhere (tracking.enabled=false)."
            )
        return str(found.experiment_id)

    def project(self, folder: Path) -> str:
        """Bring MLflow up to date with a run folder; returns the MLflow run id. Idempotent.

        Raises:
            Refused: MLflow has another run under its id.
            UserError: the server cannot be reached, or refuses.
        """
        with reached(self.uri):
            return self._project(folder)

    def _project(self, folder: Path) -> str:
        run = Run.at(folder)
        record = run.record
        parent = self._run_id(record.sweep) if record.sweep else None
        here = folder.resolve()
        place = f":{os.path.relpath(here, self._mlruns)}" if self._mlruns else f"{socket.gethostname()}:{here}"
        tags = tags_of(run) | {FOLDER: place[:TAG_LENGTH]}
        if (found := self._found(record.id)) and (difference := self._difference(found, run)):
            raise Refused(
                f"{folder}: the run that MLflow has under its id {record.id} {difference}, and is not logged over "
                f"({self.where}). Log this one elsewhere (sloop runs sync --mlruns FOLDER), or move one of them away."
            )
        run_id = self._run(record.id, run.label, record.began, tags, parent)
        logged = record.mlflow
        if logged is None or logged.run_id != run_id:
            config = flattened({key: part for key, part in record.config.items() if key != "prices"})
            for start in range(0, len(config), BATCH_PARAMS):
                self.client.log_batch(run_id, params=params_of(config[start : start + BATCH_PARAMS]))
            if texts := prompts_of(record):
                log_prompts(self.client, self.uri, self.experiment_id, run_id, texts)
            logged = Tracked(run_id=run_id, experiment_id=self.experiment_id)
        rounds = self._rounds(run, logged.rounds, run_id) if record.is_loop else self._stage(run, logged.rounds, run_id)
        logged = logged.model_copy(update={"rounds": rounds, "cost": self._costs(run, logged.cost, run_id)})
        # A resumed run has another process, and may belong to another sweep; one that was moved has another folder.
        now_so = {name: tags[name] for name in ("sloop.host", "sloop.pid", FOLDER)} | {"sloop.status": record.status}
        self._tag(run_id, now_so | ({"mlflow.parentRunId": parent} if parent else {}))
        if record.finished:
            logged = logged.model_copy(update={"figures": self._figures(run, logged.figures, run_id)})
            self.client.log_artifact(run_id, str(folder / RUN_FILE))
            self.client.set_terminated(run_id, record.status, milliseconds(record.finished))
        else:
            self.client.update_run(run_id, status="RUNNING")
        write_run(folder, read_run(folder).model_copy(update={"mlflow": logged}))
        return run_id

    def has_ended(self, folder: Path) -> bool:
        """Whether MLflow has the run of a folder, with the status that it has on disk."""
        record = read_run(folder)
        with reached(self.uri):
            found = self._found(record.id)
        return found is not None and str(found.info.status) == record.status

    def find(self, run: Run) -> str | None:
        """The MLflow run id of a run; None where it was never logged here, or what is here is another."""
        found = self._found(run.record.id)
        return str(found.info.run_id) if found and not self._difference(found, run) else None

    def sweep(self, record: SweepRecord) -> str:
        """The parent run of a sweep: made, and finished, by the parent process; found again where the sweep goes on."""
        tags = {
            "sloop.kind": "sweep",
            "sloop.command": record.command,
            "sloop.host": record.machine.host,
            "sloop.pid": str(record.machine.pid),
        }
        with reached(self.uri):
            run_id = self._run(record.id, record.name, record.began, tags, None)
            if record.finished:
                self.client.set_terminated(run_id, record.status, milliseconds(record.finished))
            else:  # one that goes on has another process
                self.client.update_run(run_id, status="RUNNING")
                self._tag(run_id, tags)
        return run_id

    def links(self, server: str) -> dict[str, str]:
        """Deep links to the loops of the study, by round and compared, which open as `sloop.runs.views` says.

        The views are saved with the experiment, so that whoever opens the page finds them. None without a loop.
        """
        with reached(self.uri):
            found = self.client.search_runs([self.experiment_id], LOOPS, max_results=SHOWN)
            wanted = views(name for run in found for name in run.data.metrics)
            known = self.client.get_experiment(self.experiment_id).tags
            for key in (key for key, view in wanted.items() if known.get(key) != view):
                self.client.set_experiment_tag(self.experiment_id, key, wanted[key])
        page = f"{server}/#/experiments/{self.experiment_id}/runs?compareRunsMode=CHART&viewStateShareKey="
        shown = {"charts": ROUNDS, **({"compare": COMPARISON} if len(found) > 1 else {})}
        return {what: f"{page}{view}" for what, view in shown.items() if wanted}

    def reap(self) -> list[str]:
        """Mark as KILLED what still says RUNNING although its process is gone from this host; returns names.

        For what has no record on disk, such as sweeps; runs are marked on disk (`sloop.runs.read.Run.reap`) first.
        """
        reaped = []
        for run in self.client.search_runs([self.experiment_id], "attributes.status = 'RUNNING'", max_results=1000):
            host, pid = run.data.tags.get("sloop.host", ""), run.data.tags.get("sloop.pid", "")
            if pid and is_gone(host, int(pid)):
                self.client.set_terminated(run.info.run_id, "KILLED")
                reaped.append(run.info.run_name)
        return reaped

    def _rounds(self, run: Run, logged: Mapping[str, str], run_id: str) -> dict[str, str]:
        """Log the rounds that are new or changed; returns the state of all."""
        states = {str(round.round): digest(round.content()) for round in run.rounds}
        for round, state in zip(run.rounds, states.values(), strict=True):
            if logged.get(str(round.round)) != state:
                self._round(run, round, run_id)
        return {**logged, **states}

    def _round(self, run: Run, round: RoundRecord, run_id: str) -> None:
        number, when = round.round, milliseconds(round.finished)
        self._log_metrics(run_id, list(metrics_of(round.metrics, number, when)))
        tags = {**tags_of(run), "sloop.kind": "round", "sloop.round": str(number)}
        child = self._run(f"{run.record.id}-{number}", f"round {number}", round.began, tags, run_id)
        trained = round.data
        asked = {
            name: run.data_sha256(name, number)
            for kind, _, name in (stage.partition("/") for stage in round.stages)
            if kind == "evaluate"
        }
        overall = [score for score in round.metrics if not score.slice]  # slices stand in the loop's run, by round
        model = self._model(run, round, child) if "train" in round.stages else None
        loss = loss_curve(run, f"round_{number}/train", when)
        self._log_metrics(child, [*metrics_of(overall, number, when, model=model, asked=asked), *loss])
        data = [dataset_of(str(run.folder / trained.path), trained.sha256, f"round_{number}")] if trained else []
        data += [dataset_of(name, sha256, name, "evaluation") for name, sha256 in asked.items()]
        for target in (run_id, child):
            self.client.log_inputs(target, datasets=data)
        for stage in round.stages:
            self._upload(child, run, f"round_{number}/{stage}", stage)
        self._upload(child, run, f"round_{number}", "round")
        shown = int(run.field("tracking.questions") or 0)
        if shown and number == run.rounds[0].round:  # they are the same in all
            log_questions(self.client, self.uri, self.experiment_id, run, asked, shown)
        most = int(run.field("tracking.failures") or 0)
        if most and (found := [one for name in asked for one in failures_of(run, number, name, most)]):
            log_failures(self.client, self.uri, self.experiment_id, child, run, round, found)
        self.client.set_terminated(child, "FINISHED", when)

    def _model(self, run: Run, round: RoundRecord, run_id: str) -> str | None:
        """The entry of a round's checkpoint, made if it is missing: its weights stay on disk, as ``sloop.checkpoint``
        says. None where what was trained kept no weights. Where a score has changed since, it is made anew: MLflow
        takes no second value of a model's metric at one time.
        """
        from mlflow.entities import LoggedModelOutput

        weights = {name: file.sha256 for name, file in round.stages["train"].files.items() if name.startswith(WEIGHTS)}
        if not weights:
            return None
        number, sloop_id = round.round, f"{run.record.id}-{round.round}"
        found = self.client.search_logged_models([self.experiment_id], f"tags.`sloop.id` = '{sloop_id}'", max_results=1)
        if found:
            scores = {score.name: score.value for score in round.metrics if not score.slice}
            if all(scores.get(metric.key) == metric.value for metric in found[0].metrics or ()):
                return str(found[0].model_id)
            self.client.delete_logged_model(found[0].model_id)
        tags = {
            **{key: tag for key, tag in tags_of(run).items() if key in MODEL_TAGS},
            "sloop.id": sloop_id,
            "sloop.round": str(number),
            "sloop.checkpoint": f"{run.folder.resolve()}/round_{number}/train/{WEIGHTS}"[:TAG_LENGTH],
            "sloop.sha256": digest(weights),
        }
        trained = {"trained_on": round.data.sha256} if round.data else {}
        name = re.sub(NOT_IN_NAMES, "_", f"{run.label}-round-{number}")
        made = self.client.create_logged_model(self.experiment_id, name, run_id, tags, trained, "student")
        self.client.finalize_logged_model(made.model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, number)])
        return str(made.model_id)

    def _costs(self, run: Run, logged: Mapping[str, str], run_id: str) -> dict[str, str]:
        """What every round cost at endpoints, and how long they took, once it is complete or the run has ended; what
        was spent when a run was stopped is told then, and again, larger, when the round is complete. Returns the state
        of all that were logged.
        """
        ends = {round.round: round.finished for round in run.rounds}
        found: dict[int, list[Score]] = {}
        states = dict(logged)
        for number, score in chain(run.costs(), run.latencies()):
            found.setdefault(number, []).append(score)
        for number, scores in found.items():
            state, finished = digest([score.model_dump() for score in scores]), ends.get(number, run.record.ended)
            if finished is None or states.get(str(number)) == state:
                continue
            child = self._run_id(f"{run.record.id}-{number}")
            for target in (run_id, *([child] if child else [])):
                self._log_metrics(target, list(metrics_of(scores, number, milliseconds(finished))))
            states[str(number)] = state
        return states

    def _stage(self, run: Run, logged: Mapping[str, str], run_id: str) -> dict[str, str]:
        """Log a stage used alone, where it is new or its failures were retried; returns its state."""
        if not is_done(run.folder):
            return dict(logged)
        record, stage = run.record, read_stage(run.folder)
        state = digest({name: file.model_dump() for name, file in stage.files.items()})
        if logged.get("stage") == state:
            return dict(logged)
        when = milliseconds(record.ended or record.began)
        numbers = [*metrics_of(record.metrics, 0, when), *loss_curve(run, "", when)]
        self._log_metrics(run_id, [*numbers, *counts_of(stage.summary, when)])
        context = "evaluation" if record.kind == "eval" else "training"
        inputs = [dataset_of(given.path, given.sha256, given.name, context) for given in record.inputs]
        for name, file in stage.files.items():
            if name.endswith(".jsonl") and file.rows:
                inputs.append(dataset_of(str(run.folder / name), file.sha256, Path(name).stem, context))
        self.client.log_inputs(run_id, datasets=inputs)
        self._upload(run_id, run, "", record.kind)
        return {**logged, "stage": state}

    def _figures(self, run: Run, logged: str | None, run_id: str) -> str | None:
        """One page with all figures, once the run has ended: plotly's script makes it 5 MB. Returns its state."""
        rounds, scores = run.rounds, run.record.metrics
        state = digest([[round.content() for round in rounds], [score.model_dump() for score in scores]])
        if self._page is None or run.record.kind not in ("loop", "eval") or logged == state:
            return logged
        page = self._page(run)
        if page:
            self.client.log_text(run_id, page, FIGURES)
        return state if page else logged

    def _upload(self, run_id: str, run: Run, under: str, place: str) -> None:
        for pattern in UPLOADED:
            for path in run.files(pattern, under):
                self.client.log_artifact(run_id, str(path), artifact_path=place)

    def _found(self, sloop_id: str) -> Logged | None:
        found = self.client.search_runs([self.experiment_id], f"tags.`sloop.id` = '{sloop_id}'", max_results=1)
        return found[0] if found else None

    def _difference(self, found: Logged, run: Run) -> str:
        """In what the run that MLflow has under an id is not that of a folder; empty: it is the same, or was moved."""
        tags, record = found.data.tags, run.record
        if (tags.get("sloop.kind"), tags.get("sloop.config_hash")) != (record.kind, record.config_hash):
            return "has another configuration"
        host, told, path = tags.get(FOLDER, "").partition(":")
        place = ((self._mlruns or Path("/")) / path).resolve()
        known = told and host in ("", socket.gethostname())
        if known and place != run.folder.resolve() and _holds_run(place, record.id):
            return f"is that of {place}"
        return ""

    def _run_id(self, sloop_id: str) -> str | None:
        found = self._found(sloop_id)
        return str(found.info.run_id) if found else None

    def _run(self, sloop_id: str, name: str, began: str, tags: Mapping[str, str], parent: str | None) -> str:
        """The run with this id, made if it is missing."""
        if run_id := self._run_id(sloop_id):
            return run_id
        extra = {"sloop.id": sloop_id, **({"mlflow.parentRunId": parent} if parent else {})}
        run = self.client.create_run(self.experiment_id, milliseconds(began), {**tags, **extra}, name)
        return str(run.info.run_id)

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        for start in range(0, len(metrics), BATCH_METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH_METRICS])


def _holds_run(folder: Path, sloop_id: str) -> bool:
    try:
        return is_run(folder) and read_run(folder).id == sloop_id
    except UserError:  # a broken record claims nothing
        return False


def connect(uri: str | None, mlruns: Path, experiment: str, page: Page | None = None) -> Tracker:
    """A tracker, or a `UserError` where the server cannot be reached; arguments as of `Tracker`."""
    with reached(uri or mlruns):
        if uri is None and (database := mlruns / DATABASE).is_dir():  # MLflow would try for minutes to open it
            raise IsADirectoryError(errno.EISDIR, "it is a folder, and a database is wanted", str(database))
        return Tracker(uri=uri, mlruns=mlruns, experiment=experiment, page=page)


def attach(run: Run, file: Path, place: str, *, uri: str | None, mlruns: Path, page: Page | None = None) -> bool:
    """Log a file under a folder of a run's artifacts, where the reader's server or database knows the run.

    Args:
        run: whose record says nothing of where that is: it may be anybody's.
        file: to log.
        place: folder among the artifacts.
        uri: tracking server; None: the database under ``mlruns``, where there is one.
        mlruns: as of `Tracker`.
        page: as of `Tracker`.

    Returns:
        Whether it was logged.

    Raises:
        UserError: the server cannot be reached, or refuses.
    """
    experiment = experiment_of(run.record.study)
    if uri is None and experiment not in studies(mlruns):
        return False
    tracker = connect(uri, mlruns, experiment, page)
    with reached(tracker.uri):
        run_id = tracker.find(run)
    if run_id is None:
        return False
    if run.record.finished:  # one that is under way brings MLflow up to date itself: two would make its rounds twice
        run_id = tracker.project(run.folder)
    with reached(tracker.uri):
        tracker.client.log_artifact(run_id, str(file), artifact_path=place)
    return True


def studies(mlruns: Path) -> list[str]:
    """Names of the studies in the embedded database, newest first; none where there is no database."""
    if not (mlruns / DATABASE).is_file():
        return []
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    with reached(mlruns / DATABASE):
        client = MlflowClient(tracking_uri=f"sqlite:///{mlruns.resolve() / DATABASE}")
        return [experiment.name for experiment in client.search_experiments()]
