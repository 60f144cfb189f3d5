"""``run.json``, ``round.json`` and ``stage.json``: the one place that reads them for whatever shows results.

A run may come from anybody: what is read of it lies in its folder (`holds`), wherever its links and its records lead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from sloop.engine.folder import STAGE_FILE
from sloop.records import ROUND_FILE, RUN_FILE, RoundRecord, RunRecord, StageRecord, UserError, Versioned
from sloop.store import read_record, write_json

V = TypeVar("V", bound=Versioned)


def holds(folder: Path, path: Path) -> bool:
    """Whether a path is a file that lies in a folder, every link followed."""
    there = os.path.isfile(path)  # noqa: PTH113 - of a name that no file can have it says no, and does not raise
    return there and path.resolve().is_relative_to(folder.resolve())


def read_run(folder: Path) -> RunRecord:
    """The record of a run.

    Raises:
        UserError: it has none, one that lies elsewhere, a broken one, or one of a later version.
    """
    return _read(folder, RUN_FILE, RunRecord)


def read_round(folder: Path) -> RoundRecord:
    """The record of a complete round; errors as of `read_run`."""
    return _read(folder, ROUND_FILE, RoundRecord)


def read_stage(folder: Path) -> StageRecord:
    """The record of a finished stage; errors as of `read_run`."""
    return _read(folder, STAGE_FILE, StageRecord)


def _read(folder: Path, name: str, kind: type[V]) -> V:
    path = folder / name
    if path.is_symlink() and not holds(folder, path):
        raise UserError(
            f"{path}: a link that leads out of its folder, which is not followed. Put the file in its place."
        )
    return read_record(path, kind)


def write_run(folder: Path, record: RunRecord) -> None:
    """Write the record of a run, whole or not at all."""
    write_json(folder / RUN_FILE, record.plain())


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, or something in the place of its record, which `read_run` tells of."""
    return os.path.lexists(folder / RUN_FILE)


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished stage, or something in the place of its record."""
    return os.path.lexists(folder / STAGE_FILE)
