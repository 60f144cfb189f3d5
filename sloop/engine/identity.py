"""What a result depends on."""

from __future__ import annotations

import functools
from pathlib import Path
from random import Random

from sloop.records import digest
from sloop.store import file_digest

NOT_RESULTS = frozenset({"conf", "runs", "serve", "show", "cli.py", "__main__.py"})
"""Modules that show results and cannot change them: an edit of theirs leaves finished stages valid."""


@functools.cache
def code_digest() -> str:
    """Digest of the package's sources, which every stage's key contains."""
    root = Path(__file__).parents[1]
    files = sorted(p for p in root.rglob("*") if p.suffix in {".py", ".jinja", ".json", ".yaml"})
    kept = [p for p in files if not NOT_RESULTS & {*p.relative_to(root).parts}]
    return digest({str(p.relative_to(root)): file_digest(p) for p in kept})


def unit_rng(seed: int, stage: str, round: int, key: str) -> Random:
    """The unit's own generator: the order of work, and other units, change nothing."""
    return Random(digest([seed, stage, round, key]))
