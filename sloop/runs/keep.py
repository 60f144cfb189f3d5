"""The record of a run is kept while it runs: opened or resumed, then closed as FINISHED, FAILED or KILLED."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sloop.engine.folder import BEGUN_FILE
from sloop.engine.identity import differing
from sloop.measures.overlap import Overlap
from sloop.records import RUN_FILE, InputRecord, OutOfBudget, Retry, RunRecord, Score, Status, UserError
from sloop.runs.files import is_done, is_run, read_run, write_run
from sloop.runs.questions import QUESTIONS
from sloop.runs.read import Run, failures
from sloop.store import now

GIVEN = ("stage.json", "sidecar/times.json")
"""Files of a start stage that made no weights: they were given."""


@dataclass
class Kept:
    """What a stage used alone has to say for its run's record; left as it was recorded before where it says nothing."""

    inputs: list[InputRecord] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    metrics: list[Score] = field(default_factory=list)
    contamination: list[Overlap] = field(default_factory=list)

    def into(self, record: RunRecord) -> RunRecord:
        """The record with what was said."""
        said = {
            "inputs": tuple(self.inputs),
            "told": tuple(dict.fromkeys(self.told)),
            "metrics": tuple(self.metrics),
            "contamination": tuple(overlap.model_dump(mode="json") for overlap in self.contamination),
        }
        return record.model_copy(update={name: part for name, part in said.items() if part})


def is_finished(folder: Path) -> bool:
    """Whether all is there: a process that was killed while it asked again for failures had no time to say so."""
    if not is_run(folder):
        return False
    record = read_run(folder)
    return record.status == "FINISHED" and (record.is_loop or is_done(folder))


@contextmanager
def keeping(
    folder: Path, begun: RunRecord, *, owed: Mapping[str, int], project: Callable[[Path], None]
) -> Iterator[Kept]:
    """Keep ``run.json`` through a run. A mistake of the reader's that shows before anything is made leaves none behind.

    Args:
        folder: of the run; made where it is missing.
        begun: the record of the run if it is a new one.
        owed: how much of what failed is asked for again.
        project: told the folder when the record is closed.

    Raises:
        UserError: the folder cannot be made, or holds a run with another configuration.
    """
    made = _make(folder)
    cut_short = not is_done(folder)
    finished = is_finished(folder)
    record = _resumed(folder, begun, finished) if is_run(folder) else begun
    if any(owed.values()):
        again = Retry(began=now(), finished=None, failed=dict(owed))
        record = record.model_copy(update={"retried": (*record.retried, again)})
    write_run(folder, record)
    kept = Kept()
    ended: Status | None = None
    try:
        yield kept
        if any(owed.values()) or (cut_short and record.retried):
            record = _retried(record, failures(folder))
        ended = "FINISHED"
    except (KeyboardInterrupt, SystemExit, OutOfBudget):
        ended = "KILLED"
        raise
    finally:
        # What was finished stays so, whatever becomes of another look at it, unless that has begun to write it anew.
        stays = finished and (record.is_loop or is_done(folder))
        if ended is None and not stays and _is_bare(folder):
            _take_away(folder, made)
        else:
            told = record if stays and ended != "FINISHED" else kept.into(record)  # what was refused says nothing of it
            _close(folder, told, "FINISHED" if stays else ended or "FAILED")
            project(folder)


def _resumed(folder: Path, begun: RunRecord, finished: bool) -> RunRecord:
    """The record that a folder holds, of a run that goes on in this process or is looked at again."""
    before = read_run(folder)
    if before.config_hash != begun.config_hash:
        raise UserError(
            f"{folder} holds the run {before.name} with another configuration (differing: "
            f"{', '.join(differing(before.config, begun.config))}). Choose another output_dir, or delete the folder."
        )
    config = {**before.config, "prices": begun.config["prices"]}  # they may have been mended
    if finished:
        return before.model_copy(update={"config": config})
    moved = [getattr(before.machine, part) != getattr(begun.machine, part) for part in ("model", "features", "gpus")]
    elsewhere = (*before.elsewhere, before.machine) if any(moved) else before.elsewhere
    again = {
        "elsewhere": elsewhere,
        "status": "RUNNING",
        "finished": None,
        "machine": begun.machine,
        "sweep": begun.sweep or before.sweep,
    }
    return before.model_copy(update={"config": config, "resumed": before.resumed + 1, **again})


def _retried(record: RunRecord, failed: Mapping[str, int]) -> RunRecord:
    """The record once what had failed was asked for again."""
    *earlier, last = record.retried
    done = last.model_copy(update={"finished": now(), "failed_again": dict(failed)})
    return record.model_copy(update={"retried": (*earlier, done)})


def _close(folder: Path, record: RunRecord, status: Status) -> None:
    """Write the end of the run, keeping what the tracker has noted meanwhile and the first time of finishing."""
    noted: dict[str, Any] = {"mlflow": read_run(folder).mlflow, "status": status, "finished": record.finished or now()}
    if record.finished is None and "torch" in sys.modules:  # a stage that computes nothing does not wait for it
        from sloop.students.arithmetic import arithmetic

        noted["machine"] = record.machine.model_copy(update={"arithmetic": arithmetic()})
    write_run(folder, Run(folder, record).complete().model_copy(update=noted))


def _make(folder: Path) -> list[Path]:
    """Make a folder; returns those that were not there before, deepest first."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"output_dir={folder}: this folder cannot be made ({error.strerror}). Give one that you may write to, "
            "such as output_dir=outputs/mine"
        ) from error
    return missing


def _is_bare(folder: Path) -> bool:
    """Whether a run's folder holds no more than how it was begun: no unit is done, and no weights are made."""
    begun = {RUN_FILE, *(f"sidecar/start/{name}" for name in GIVEN)}
    begun |= {str(path.relative_to(folder)) for path in folder.glob(f"{QUESTIONS}/*")}
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != BEGUN_FILE)
    return all(str(path.relative_to(folder)) in begun or not path.stat().st_size for path in files)


def _take_away(folder: Path, made: Sequence[Path]) -> None:
    """Leave no trace of a run that made nothing, nor the folders that were made for it alone."""
    (folder / RUN_FILE).unlink(missing_ok=True)
    for begun in folder.rglob(BEGUN_FILE):
        begun.unlink()
    shutil.rmtree(folder / QUESTIONS, ignore_errors=True)
    if made:
        shutil.rmtree(folder)
    for parent in made[1:]:
        links = parent / ".stages"  # a loop's stages lock there; whoever else runs has a folder beside it
        with suppress(OSError):  # another run has put its folder there, or has taken this one away
            if list(parent.iterdir()) == [links] and not any(path.stat().st_size for path in links.iterdir()):
                shutil.rmtree(links)
            parent.rmdir()
