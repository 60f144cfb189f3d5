"""Where runs are logged: who says so, what helps where it cannot be reached, and artifacts that were moved.

Keys of ours (``tracking.uri``, ``paths.mlruns``, ``name``) decide, and below them MLflow's variables.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from sloop.records import UserError

DATABASE, ARTIFACTS = "mlflow.db", "artifacts"
"""What ``mlruns`` holds."""
MLRUNS = "mlruns"
"""``paths.mlruns`` where nobody has given one (``conf/config.yaml``)."""
STUDY = "study"
"""``name`` where nobody has given one (``conf/config.yaml``)."""
URI_VARIABLE, EXPERIMENT_VARIABLE = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
ID_VARIABLE = "MLFLOW_EXPERIMENT_ID"

ADVICE = (
    ("'active' state", "It was deleted there: bring it back with: mlflow experiments restore, or mlflow runs restore"),
    ("failed with exception", "Start the server"),
    ("error code 401|error code 403|Permission denied", "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    (
        "error code 404|valid JSON|unsupported URI",
        "Give the address of an MLflow server, such as http://127.0.0.1:5000",
    ),
    ("out-of-date database schema", "Do so"),
)
"""What helps, by what MLflow says (a pattern)."""
OTHERWISE = "go on without it (tracking.enabled=false), and log later with: sloop runs sync"


@contextmanager
def reached(where: str | Path) -> Iterator[None]:
    """Turn what MLflow and its database raise into one sentence, with what says where runs are logged."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OSError, SQLAlchemyError, sqlite3.Error) as error:
        first = public((str(error).splitlines() or [type(error).__name__])[0])
        raise UserError(
            f"{given_as(where)}: {first}. Move the database away or make room for it, or {OTHERWISE}"
        ) from error
    except MlflowException as error:
        said = public(error.message)
        helps = next((f"{advice}, or " for pattern, advice in ADVICE if re.search(pattern, said)), "Mend that, or ")
        raise UserError(f"{given_as(where)}: {said.rstrip('.')}. {helps}{OTHERWISE}") from error


@contextmanager
def led(uri: str, experiment: str) -> Iterator[None]:
    """Lead what of MLflow knows no client to a server, by address, and an experiment, by id; then as it was before."""
    import mlflow

    before = mlflow.get_tracking_uri()
    kept = {name: os.environ.pop(name, None) for name in (URI_VARIABLE, EXPERIMENT_VARIABLE, ID_VARIABLE)}
    mlflow.set_tracking_uri(uri)
    os.environ[ID_VARIABLE] = experiment
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # which sets a variable, too
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def given_as(where: str | Path) -> str:
    """Where runs are logged, with what says so."""
    if isinstance(where, Path) or where.startswith("sqlite:"):
        return f"tracking to {where}"
    return f"{URI_VARIABLE if where == os.environ.get(URI_VARIABLE) else 'tracking.uri'}={public(where)}"


def public(text: str) -> str:
    """A text without the name and the password that may stand in an address."""
    text = re.sub(r"(?<=:)(//)?([^/\s:@]*:(?!\d+/)\S*|[^/\s:@]*)@", r"\1", text)
    return re.sub(r"(?<=password=)[^&\s'\"]+", "...", text)


def tracking_uri(given: str | None, mlruns: str = MLRUNS) -> str | None:
    """Where runs are logged: what is given by a key of ours, or else MLflow's variable; None: the embedded database, as
    where somebody has given a folder for it.
    """
    return given or (mlruns == MLRUNS and os.environ.get(URI_VARIABLE)) or None


def experiment_of(study: str) -> str:
    """The experiment of a study: its name, or MLflow's variable where nobody has given it one."""
    return (study == STUDY and os.environ.get(EXPERIMENT_VARIABLE)) or study


def find_moved(database: sqlite3.Connection, mlruns: Path) -> None:
    """Lead the experiments of a project that was moved or copied to their artifacts: MLflow keeps whole paths."""
    rows = database.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
    for experiment, old in rows:
        before, ours, name = str(old).rpartition(f"/{ARTIFACTS}/")
        here = mlruns / ARTIFACTS / unquote(name)
        there = Path(unquote(before.removeprefix("file://"))) / ARTIFACTS / unquote(name)
        if (
            not ours
            or "/" in name
            or not old.startswith("file://")
            or here == there
            or (there.is_dir() and not here.is_dir())
        ):
            continue
        database.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (here.as_uri(), experiment)
        )
        for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                (here.as_uri(), len(old) + 1, experiment, len(old) + 1, f"{old}/"),
            )
    database.commit()
