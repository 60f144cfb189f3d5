"""What a file, a folder or a checkpoint is known by: its content, and never its path."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from sloop.records import Checkpoint, UserError, digest
from sloop.store.files import is_file, named, reading


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with reading(path, packed=True) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


def is_sidecar(relative: Path) -> bool:
    """True for what stands under ``sidecar/`` or is hidden: no digest covers it."""
    return any(part == "sidecar" or part.startswith(".") for part in relative.parts)


def folder_digest(path: Path, endings: Collection[str] | None = None) -> str:
    """SHA-256 over the names and bytes of a folder's files (hidden ones and ``sidecar/`` apart).

    Args:
        path: the folder.
        endings: of the files that count; None: all do.
    """
    files = (file for file in path.rglob("*") if file.is_file() and (endings is None or file.suffix in endings))
    found = {str(file.relative_to(path)): file for file in files}
    kept = {name: file for name, file in found.items() if not is_sidecar(file.relative_to(path))}
    return digest({name: file_digest(kept[name]) for name in sorted(kept)})


CHECKPOINT_ENDINGS = frozenset({".json", ".safetensors", ".jinja", ".model", ".txt"})
"""Of what is read of a checkpoint: weights, tokenizer, templates and settings, and no README or optimizer's state."""


def checkpoint_at(path: Path) -> Checkpoint:
    """The checkpoint in a folder, known by the content of whatever is read of it.

    Raises:
        UserError: the folder is missing or has no ``config.json``.
    """
    if not is_file(path / "config.json"):
        raise UserError(
            f"no checkpoint at {named(path)}: a checkpoint is a folder with config.json and model.safetensors."
        )
    return Checkpoint(path=str(path), digest=folder_digest(path, CHECKPOINT_ENDINGS))
