"""The arguments that commands on runs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sloop.records import UserError
from sloop.records.ranges import checked

RUN_FORMS = (
    "folder, name, id or MLflow run id (or the beginning of one), or a search such as variant=full,seed=0; "
    "RUN@ROUND for a round of a loop"
)


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """The arguments that every command on runs has."""
    made = argparse.ArgumentParser(prog=f"sloop {command}", description=description)
    made.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of the runs (default: outputs)")
    return made


def of(kind: Any, name: str) -> Callable[[str], Any]:
    """What reads an argument as one of the types of `sloop.records.ranges`; ``name``: of the argument."""

    def read(text: str) -> Any:
        try:
            return checked(kind, text, name)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read
