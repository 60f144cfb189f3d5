"""Bundles for tests: one of a small run, and what is left of it when somebody has changed something."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from running import acme_loop, questions

from sloop.runs.bundle import MANIFEST, read_bundle
from sloop.runs.check import check
from sloop.runs.papers import Authorship
from sloop.runs.publish import Cited, canonical_digest, publish
from sloop.runs.read import Run

DIFF = "+++ b/sloop/x.py\n+HOME = '/somewhere/of/a/machine'\n"
"""Of a checkout whose changes name a path: a bundle keeps a diff as it is."""
BY = Authorship(("Ada Lovelace", "Bletchley"), "CC-BY-4.0")
HUB = {"dev": "acme/dev"}


def small_run(root: Path) -> Run:
    """A loop of a stranger's parts over a benchmark that its configuration names by a relative path; `root` is where it
    is run. Its checkout is one that was changed, whatever the state of the one that the tests are in.
    """
    shutil.copy(questions(), root / "questions.jsonl")
    folder = acme_loop(root / "outputs" / "acme" / "run", "loop.rounds=2", "benchmark.path=questions.jsonl")
    changed = {"dirty": True, "diff": DIFF, "diff_sha256": hashlib.sha256(DIFF.encode()).hexdigest()}
    state = {"commit": "0" * 40, "branch": "main", "untracked": [], "untracked_sha256": {}, **changed}
    edit(folder / "run.json", lambda plain: plain["code"].update(state))
    return Run.at(folder)


def cited(run: Run, out: Path, **how: Any) -> Cited:
    """Its bundle."""
    return publish(run, out, [run], **{"by": BY, "hub": HUB, **how})


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file; a change in place returns nothing."""
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(change(plain) or plain, indent=1))


def edit_row(path: Path, change: Callable[[dict[str, Any]], Any], number: int = 0) -> None:
    """Change a line of a file of JSON lines."""
    lines = path.read_text().splitlines()
    row = json.loads(lines[number])
    change(row)
    lines[number] = json.dumps(row, ensure_ascii=False)
    path.write_text("\n".join(lines) + "\n")


def sealed(folder: Path) -> None:
    """Have the manifest tell the digests of the files as they are now: what a careful forger would do."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        if "canonical" in entry:
            entry["rows"], entry["canonical"] = canonical_digest(folder / name)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def mismatches(path: Path, **how: Any) -> list[str]:
    """The lines that do not match."""
    return [f"{one.what}: {one.wrong}" for one in check(read_bundle(path), **{"trust": True, **how}) if one.wrong]
