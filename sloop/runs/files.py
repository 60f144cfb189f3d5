"""``run.json``, ``round.json`` and ``stage.json``: the one place that reads them for whatever shows results."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from sloop.engine.folder import STAGE_FILE
from sloop.loop import ROUND_FILE
from sloop.records import RoundRecord, RunRecord, StageRecord, Unreadable, UserError
from sloop.store import read_json, write_json

RUN_FILE = "run.json"

V = TypeVar("V", RunRecord, RoundRecord, StageRecord)


def read_run(folder: Path) -> RunRecord:
    """The record of a run.

    Raises:
        UserError: it has none, a broken one, or one of a later version.
    """
    return _read(RunRecord, folder / RUN_FILE)


def read_round(folder: Path) -> RoundRecord:
    """The record of a complete round; errors as of `read_run`."""
    return _read(RoundRecord, folder / ROUND_FILE)


def read_stage(folder: Path) -> StageRecord:
    """The record of a finished stage; errors as of `read_run`."""
    return _read(StageRecord, folder / STAGE_FILE)


def write_run(folder: Path, record: RunRecord) -> None:
    """Write the record of a run, whole or not at all."""
    write_json(folder / RUN_FILE, record.plain())


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / RUN_FILE).is_file()


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished stage."""
    return (folder / STAGE_FILE).is_file()


def _read(kind: type[V], path: Path) -> V:
    try:
        return kind.read(read_json(path), path)
    except Unreadable as error:
        raise UserError(f"{error} Or move its folder away, or choose another.") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such record. The command that made its folder goes on.") from error
    except ValueError as error:
        raise UserError(f"{path}: broken JSON ({error}). Delete its folder to make it anew.") from error
