"""The arguments that commands on runs share."""

from __future__ import annotations

import argparse
from pathlib import Path

RUN_FORMS = (
    "folder, name, id or MLflow run id (or the beginning of one), or a search such as variant=full,seed=0; "
    "RUN@ROUND for a round of a loop"
)


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """The arguments that every command on runs has."""
    made = argparse.ArgumentParser(prog=f"sloop {command}", description=description)
    made.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of the runs (default: outputs)")
    return made
