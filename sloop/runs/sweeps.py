"""Sweeps on disk: a folder each, with what its cells are (``sweep.json``) and a file a cell that says how it ended.

Launchers lose the errors of jobs, and know nothing of one that was killed. So a job writes itself that it began and how
it ended, and holds a lock as long as it lives: a cell that says RUNNING and is not locked was killed, on whatever host.
"""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sloop.records import Cell, OutOfBudget, SweepRecord, UserError
from sloop.runs.files import is_run, read_run, write_run
from sloop.runs.keep import is_finished
from sloop.runs.read import Run
from sloop.store import now, read_record, write_json

SWEEPS, SWEEP_FILE = ".sweeps", "sweep.json"
"""Folder of a study for its sweeps, and the record in the folder of each."""
SWEEP_VARIABLE = "SLOOP_SWEEP"
"""Environment variable of a job: the folder of the sweep that it belongs to."""
PATIENCE = 20.0
"""Seconds in which a job that was told to end lets go of its cell."""


def read_sweep(folder: Path) -> SweepRecord:
    """The record of a sweep; errors as of `sloop.store.read_record`."""
    return read_record(folder / SWEEP_FILE, SweepRecord)


def write_sweep(folder: Path, record: SweepRecord) -> None:
    """Write the record of a sweep, whole or not at all."""
    write_json(folder / SWEEP_FILE, record.plain())


@contextmanager
def opened(folder: Path, begun: SweepRecord) -> Iterator[SweepRecord]:
    """Keep a sweep's folder while its cells run; one that ran before goes on as the same sweep.

    Yields:
        The record as it is now on disk.

    Raises:
        UserError: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            if (folder / SWEEP_FILE).is_file():
                before = read_sweep(folder)
                begun = begun.model_copy(update={"id": before.id, "name": before.name, "began": before.began})
            write_sweep(folder, begun)
            yield begun
    except Timeout as error:
        machine = read_sweep(folder).machine
        raise UserError(
            f"{folder}: this sweep runs already, in process {machine.pid} on {machine.host}. Wait for it, or stop it; "
            "the same command then does what is left."
        ) from error


def _file(folder: Path, cell: Cell) -> Path:
    return folder / f"{cell.config_hash[:16]}.json"


def _lock(folder: Path, cell: Cell) -> FileLock:
    """One for all sweeps of a study: several may have a cell in common."""
    return FileLock(folder.parent / f"{cell.config_hash[:16]}.lock")


def forget(folder: Path, cells: Iterable[Cell]) -> None:
    """Take away what an earlier attempt at some cells has left in the sweep's folder."""
    for cell in cells:
        _file(folder, cell).unlink(missing_ok=True)


def seen(folder: Path, cell: Cell) -> Cell:
    """A cell as its job has left it; as it was given where none has begun it."""
    path = _file(folder, cell)
    return read_record(path, Cell) if path.is_file() else cell.model_copy(update={"status": None, "error": ""})


def is_held(folder: Path, cell: Cell, patience: float = 0) -> bool:
    """Whether a job of a sweep is at the cell, on whatever host; it is waited for, for some seconds."""
    try:
        with _lock(folder, cell).acquire(timeout=patience):
            return False
    except Timeout:
        return True


def is_busy(folder: Path, cell: Cell) -> bool:
    """The same, or a run of its own on this host."""
    run = Path(cell.folder)
    if is_held(folder, cell):
        return True
    if not is_run(run):
        return False
    at = read_run(run).machine
    return at.host == socket.gethostname() and at.pid != os.getpid() and Run.at(run).is_running


def is_over(cell: Cell) -> bool:
    """Whether the disk holds the finished run of a cell."""
    folder = Path(cell.folder)
    return is_finished(folder) and read_run(folder).config_hash == cell.config_hash


@contextmanager
def keeping_cell(folder: Path, config_hash: str) -> Iterator[SweepRecord]:
    """Keep the file of a cell while its job runs; yields the record of the sweep.

    What a cell fails of is written down and goes no further: some launchers would end the others for it, and no
    launcher tells of more than one.
    """
    sweep = read_sweep(folder)
    cell = next(cell for cell in sweep.cells if cell.config_hash == config_hash)
    with _lock(folder, cell):
        _write(folder, cell, status="RUNNING")
        try:
            yield sweep
        except OutOfBudget as error:
            _write(folder, cell, status="KILLED", error=str(error))
        except UserError as error:
            _write(folder, cell, status="FAILED", error=str(error))
        except (KeyboardInterrupt, SystemExit) as error:
            _write(folder, cell, status="KILLED", error=f"stopped ({type(error).__name__})")
            raise
        except Exception as error:  # the boundary of a job: whatever it is, the others go on
            said = "".join(traceback.format_exception_only(error)).strip()
            _write(folder, cell, status="FAILED", error=said, trace=traceback.format_exc())
        else:
            _write(folder, cell, status="FINISHED")


def bury(folder: Path, cell: Cell) -> Cell:
    """Mark a cell as KILLED, and the run that it has left, of which no process is there to say so.

    One whose run was finished by then, and not yet logged, is FINISHED.
    """
    if is_over(cell):
        return _write(folder, cell, status="FINISHED")
    run = Path(cell.folder)
    if is_run(run) and (record := read_run(run)).status == "RUNNING":
        write_run(run, record.model_copy(update={"status": "KILLED", "finished": now()}))
    why = "its process was killed before it could say why: by hand, or by the system for want of memory"
    return _write(folder, cell, status="KILLED", error=why)


def _write(folder: Path, cell: Cell, **how: str) -> Cell:
    told = cell.model_copy(update={"error": "", "trace": "", **how})
    write_json(_file(folder, cell), told.plain())
    return told


def find_sweeps(root: Path) -> list[Path]:
    """The folders of the sweeps under a folder, by path."""
    return sorted(path.parent for path in root.rglob(SWEEP_FILE))


def reap(folder: Path) -> SweepRecord | None:
    """Mark a sweep, and its cells, as KILLED that say RUNNING although no process is at them; None: there is none."""
    record = read_sweep(folder)
    try:
        with FileLock(folder / "lock", timeout=0):
            if record.status != "RUNNING":
                return None
            cells = tuple(seen(folder, cell) for cell in record.cells)
            cells = tuple(
                bury(folder, cell) if cell.status == "RUNNING" and not is_held(folder, cell) else cell for cell in cells
            )
            record = record.model_copy(update={"status": "KILLED", "finished": now(), "cells": cells})
            write_sweep(folder, record)
            return record
    except Timeout:
        return None
