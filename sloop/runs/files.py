"""``run.json``, ``round.json`` and ``stage.json``: the one place that reads them for whatever shows results."""

from __future__ import annotations

import os
from pathlib import Path

from sloop.engine.folder import STAGE_FILE
from sloop.records import ROUND_FILE, RUN_FILE, RoundRecord, RunRecord
from sloop.store import read_record, write_json


def read_run(folder: Path) -> RunRecord:
    """The record of a run.

    Raises:
        UserError: it has none, a broken one, or one of a later version.
    """
    return read_record(folder / RUN_FILE, RunRecord)


def read_round(folder: Path) -> RoundRecord:
    """The record of a complete round; errors as of `read_run`."""
    return read_record(folder / ROUND_FILE, RoundRecord)


def write_run(folder: Path, record: RunRecord) -> None:
    """Write the record of a run, whole or not at all."""
    write_json(folder / RUN_FILE, record.plain())


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, or something in the place of its record, which `read_run` tells of."""
    return os.path.lexists(folder / RUN_FILE)


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished stage, or something in the place of its record."""
    return os.path.lexists(folder / STAGE_FILE)
