"""Hydra's sweeper as sloop has it: every cell is known before any runs, and what became of it is asked of the disk.

A job raises nothing (`sloop.runs.sweeps.keeping_cell`), so that what a launcher raises is about the launcher itself: a
worker that was killed, and with joblib all workers of its pool. Cells that this cut short or kept from beginning are
launched again, at most `ATTEMPTS` times each: they go on where they stopped.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from sloop.config import Config, parse_config
from sloop.engine.identity import config_hash
from sloop.records import Cell, Status, SweepRecord, UserError, digest
from sloop.run import run_folder, tracker_of
from sloop.runs.cite import sweep_record
from sloop.runs.files import is_run
from sloop.runs.sweeps import (
    PATIENCE,
    SWEEP_FILE,
    SWEEP_VARIABLE,
    SWEEPS,
    bury,
    forget,
    is_busy,
    is_held,
    is_over,
    opened,
    seen,
    write_sweep,
)
from sloop.show.console import console
from sloop.show.tables import print_note, print_sweep
from sloop.store import now
from sloop.sweeps.launchers import launch

ATTEMPTS = 3
"""Of a cell whose process is killed. Before the last it ran beside others, whose fault it may have been."""


class Grid(Sweeper):
    """All combinations of the values that are given, as Hydra's own sweeper has them."""

    folder: Path
    """Of the sweep."""
    record: SweepRecord
    retries_failed = True
    """Whether the same command runs again what has failed."""

    def __init__(self, max_batch_size: int | None, params: dict[str, str]) -> None:
        """Take the settings of ``conf/hydra/sweeper/grid.yaml``."""
        self.max_batch_size, self.params = max_batch_size, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra has; launchers are made when they are needed."""
        self._context, self._given, self._task = hydra_context, config, task_function
        self.launched = 0
        self.cut: set[str] = set()
        """Folders of the runs whose processes were killed: what they had to log may not have been."""

    def sweep(self, arguments: list[str]) -> None:
        """Run all cells; ends with status 1 where one is not finished.

        Raises:
            UserError: a cell has a setting that is none, two are one run, or no cell could be launched.
        """
        # Here, for Hydra's search for plugins executes that module anew
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        (rows,) = BasicSweeper.split_arguments(self.parsed(arguments), None)
        found = [self.cell(row) for row in rows]
        cells = [cell for cell, _ in found]
        settings = found[0][1]
        check_apart(cells, settings)
        key = digest([settings.stage, sorted(cell.config_hash for cell in cells)])
        with self.kept(key, settings, cells):
            size = self.max_batch_size or len(cells)
            for start in range(0, len(cells), size):
                self.run(cells[start : start + size], settings.resume)

    def parsed(self, arguments: Sequence[str]) -> list[Override]:
        """What the command line and the sweeper's ``params`` say."""
        parser = OverridesParser.create(config_loader=self._context.config_loader)
        found: list[Override] = parser.parse_overrides(
            [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        )
        return found

    def cell(self, row: Sequence[str]) -> tuple[Cell, Config]:
        """The cell of some overrides, with its settings."""
        composed = self._context.config_loader.load_sweep_config(self._given, list(row))
        plain = plain_of(composed)
        settings = parse_config(plain)
        folder = str(run_folder(settings, plain))
        return Cell(overrides=tuple(row), folder=folder, config_hash=config_hash(plain)), settings

    @contextmanager
    def kept(self, key: str, settings: Config, cells: Sequence[Cell]) -> Iterator[None]:
        """Keep the record of the sweep, on disk and in MLflow, and say at the end what became of every cell."""
        self.folder = (Path(settings.paths.outputs) / settings.name / SWEEPS / key[:16]).absolute()
        self._pass_on()
        begun = sweep_record(settings.name, settings.stage).model_copy(update={"cells": tuple(cells)})
        ended: Status = "KILLED"
        with opened(self.folder, begun) as self.record:
            tracker = _tracker(settings, self.record)
            try:
                yield
                ended = "FINISHED"
            except UserError:
                ended = "FAILED"
                raise
            finally:
                told = tuple(self.now(cell, buries=True) for cell in self.record.cells)
                if ended == "FINISHED" and any(cell.status != "FINISHED" for cell in told):
                    ended = "FAILED"
                update = {"finished": now(), "status": ended, "cells": told}
                self.record = self.record.model_copy(update=update)
                write_sweep(self.folder, self.record)
                if tracker:
                    _log(tracker, self.record, self.cut)
                if settings.stage == "loop":
                    print_sweep(Path(settings.paths.outputs) / settings.name)
                print_cells(self.record, self.folder, self.retries_failed)
        if ended != "FINISHED":
            sys.exit(1)

    def _pass_on(self) -> None:
        """Give every job the sweep's folder, by an override: not every launcher hands on the environment."""
        quoted = str(self.folder).replace("\\", "\\\\").replace("'", "\\'")
        with read_write(self._given):
            self._given.hydra.overrides.hydra.append(f"++hydra.job.env_set.{SWEEP_VARIABLE}='{quoted}'")

    def run(self, cells: Sequence[Cell], resume: bool) -> None:
        """Launch cells until each has ended, or has been cut short too often."""
        self.add(cells)
        forget(self.folder, cells)
        owed = [cell for cell in cells if not (resume and is_over(cell)) and not is_busy(self.folder, cell)]
        if kept := len(cells) - len(owed):
            print_note(f"{kept} of {len(cells)} cells are finished, or another process is at them: not started")
        attempts: Counter[str] = Counter()
        while owed:
            batch = [cell for cell in owed if attempts[cell.config_hash] < ATTEMPTS - 1] or owed[:1]
            forget(self.folder, batch)
            fault = self._launch(batch)
            held = {cell.config_hash for cell in batch if self._is_running(cell) and self._outlives(cell)}
            if fault and not any(seen(self.folder, cell).status for cell in batch):
                raise UserError(f"nothing could be launched: {type(fault).__name__}: {fault}") from fault
            for cell in batch:
                # Where the launcher was well, a job that did not even begin has died, too
                if (running := self._is_running(cell)) or (not fault and seen(self.folder, cell).status is None):
                    attempts[cell.config_hash] += 1
                    self.cut |= {cell.folder} if running else set()
            owed = [
                cell
                for cell in owed
                if seen(self.folder, cell).status in (None, "RUNNING")
                and cell.config_hash not in held
                and attempts[cell.config_hash] < ATTEMPTS
            ]

    def add(self, cells: Iterable[Cell]) -> None:
        """Take cells into the sweep's record, where they are not in it yet: their jobs look themselves up there."""
        known = {cell.config_hash: cell for cell in (*self.record.cells, *cells)}
        self.record = self.record.model_copy(update={"cells": tuple(known.values())})
        write_sweep(self.folder, self.record)

    def _is_running(self, cell: Cell) -> bool:
        return seen(self.folder, cell).status == "RUNNING"

    def _outlives(self, cell: Cell) -> bool:
        return is_held(self.folder, cell, PATIENCE)

    def _launch(self, batch: Sequence[Cell]) -> Exception | None:
        """Launch cells and wait for their jobs; returns what the launcher failed of."""
        first, self.launched = self.launched, self.launched + len(batch)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self._context, task_function=self._task, config=self._given
        )
        try:
            launch(launcher, [list(cell.overrides) for cell in batch], first)
        except Exception as error:  # it is anybody's plugin, and raises whatever its library does
            return error
        return None

    def now(self, cell: Cell, buries: bool = False) -> Cell:
        """A cell as it stands on disk; one that was killed is marked so, if wanted."""
        told = seen(self.folder, cell)
        if told.status is None and is_over(cell):
            return cell.model_copy(update={"status": "FINISHED"})
        if told.status == "RUNNING" and buries and not self._outlives(cell):
            self.cut.add(cell.folder)
            return bury(self.folder, cell)
        return told


def plain_of(composed: DictConfig) -> dict[str, Any]:
    """The configuration as plain data, without Hydra's own part."""
    ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    plain: Any = OmegaConf.to_container(ours, resolve=True)
    return dict(plain)


def check_apart(cells: Sequence[Cell], settings: Config) -> None:
    """Refuse two cells that would work in one folder."""
    known: dict[str, Cell] = {}
    for cell in cells if settings.stage != "check" and not settings.preview else ():
        if (twin := known.setdefault(cell.folder, cell)) is not cell:
            raise UserError(
                f"two cells of the sweep are one run, {cell.folder}: {shlex.join(twin.overrides)} and "
                f"{shlex.join(cell.overrides)}. Give values that change what is computed, and no output_dir."
            )


def _tracker(settings: Config, record: SweepRecord) -> Any:
    """Where the sweep is logged; None where nowhere, or where the server fails: the disk has it all."""
    if not settings.tracking.enabled:
        return None
    try:
        tracker = tracker_of(settings)
        tracker.sweep(record)
    except UserError as error:
        print_note(f"the sweep is not logged: {error}")
        return None
    return tracker


def _log(tracker: Any, record: SweepRecord, cut: set[str]) -> None:
    """Log how the sweep ended, and anew the runs whose processes cannot have logged all: those that were cut short, and
    those that finished when nobody waited for them any more.
    """
    try:
        for folder in map(Path, sorted(cut | {cell.folder for cell in record.cells if cell.status == "FINISHED"})):
            if is_run(folder) and (str(folder) in cut or not tracker.has_ended(folder)):
                tracker.project(folder)
        tracker.sweep(record)
    except UserError as error:
        print_note(f"not logged: {error}. Log it later: sloop runs sync")


def print_cells(record: SweepRecord, folder: Path, retries_failed: bool) -> None:
    """How many cells ended how, and of each that is not finished what it failed of, where, and how to run it again."""
    out = console()
    counts = Counter(cell.status or "not begun" for cell in record.cells)
    told = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    out.say(f"{record.name}: {len(record.cells)} cells: {told} ({folder / SWEEP_FILE})")
    common = set.intersection(*(set(cell.overrides) for cell in record.cells)) if record.cells else set()
    unfinished = [cell for cell in record.cells if cell.status != "FINISHED"]
    for cell in unfinished:
        own = [word for word in cell.overrides if word not in common] or cell.overrides
        out.say(f"{cell.status or 'not begun'}: {shlex.join(own)}")
        if cell.error:
            out.say(f"  {' '.join(cell.error.split())}")
        if is_run(Path(cell.folder)):
            out.say(f"  folder: {cell.folder}")
        out.say(f"  alone:  {_command(record, cell)}")
    if any(retries_failed or cell.status != "FAILED" for cell in unfinished):
        words = shlex.split(record.command)
        out.say(f"what is not finished: {shlex.join(dict.fromkeys([*words, 'resume=true']))}")


def _command(record: SweepRecord, cell: Cell) -> str:
    """The command that runs one cell alone."""
    program, stage, *rest = shlex.split(record.command)
    options = [word for word in rest if word not in ("-m", "--multirun")]
    options = [word for word in options if word.startswith("-") or not ("=" in word or word.startswith("~"))]
    return shlex.join([program, stage, *options, *(word for word in cell.overrides if word != f"stage={stage}")])
