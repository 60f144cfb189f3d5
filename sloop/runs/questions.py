"""What a run was asked, kept in its folder: whoever reads it needs nothing but the folder."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterator
from pathlib import Path

from sloop.store import Dataset, writing
from sloop.store.files import reading

QUESTIONS = "questions"
"""Folder of the samples that a run was asked and that no stage writes; part of no key, covered by no digest."""


def keep_questions(folder: Path, *asked: tuple[str, Dataset]) -> None:
    """Copy questions into a run's folder, once: the benchmark's of a loop or an evaluation, the data of a probe.

    Args:
        folder: of the run.
        asked: with the name that each set of them has.
    """
    for name, data in asked:
        path = folder / QUESTIONS / f"{name}.jsonl.gz"
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):  # of a process that was killed
            left.unlink(missing_ok=True)
        if not path.is_file():
            with reading(data.path, packed=True) as given, writing(path, pack=data.path.suffix != ".gz") as file:
                shutil.copyfileobj(given, file)


def questions_of(folder: Path) -> Iterator[Path]:
    """The files that `keep_questions` has written."""
    return (folder / QUESTIONS).glob("[!.]*.jsonl.gz")
