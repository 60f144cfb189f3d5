"""What must be known to cite a run and to run it again: recorded when the run starts."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sloop.engine.identity import config_hash, package_digest
from sloop.records import CodeState, Machine, RunRecord, SweepRecord
from sloop.store import now
from sloop.version import __version__

PACKAGES = (
    "datasets", "hydra-core", "jsonschema", "mlflow", "numpy", "openai", "pandas", "pydantic", "scipy", "statsmodels",
    "tokenizers", "torch", "transformers",
)  # fmt: skip
ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE")
"""The only environment variables that are recorded: a list of what is allowed, so that no key slips in."""

COMMAND_VARIABLE = "SLOOP_COMMAND"
"""Environment variable that carries the command line as given to whatever process runs it."""


def run_record(
    *, kind: str, name: str, config: Mapping[str, Any], overrides: Sequence[str], sweep: str | None
) -> RunRecord:
    """The record of a new run.

    Args:
        kind: ``loop`` or the stage's name.
        name: of the run, as shown.
        config: resolved, plain data.
        overrides: as given on the command line.
        sweep: id of the sweep that the run belongs to.
    """
    hashed, began = config_hash(config), now()
    return RunRecord(
        id=uuid.uuid4().hex,
        kind=kind,
        name=name,
        study=config["name"],
        seed=config["seed"],
        config_hash=hashed,
        config=dict(config),
        overrides=tuple(overrides),
        command=command(),
        sweep=sweep,
        code=code_state(),
        versions=versions(),
        machine=machine(),
        environment={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        bibtex=bibtex(name, config["name"], hashed, began),
        status="RUNNING",
        began=began,
        finished=None,
    )


def command() -> str:
    """The command as it was given: Hydra has its own words in this process, and none in a worker."""
    return os.environ.get(COMMAND_VARIABLE) or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def bibtex(name: str, study: str, hashed: str, began: str, bundle: str = "") -> str:
    """An entry for the run, to stand beside the software's (CITATION.cff).

    Args:
        name: of the run.
        study: its study.
        hashed: hash of its configuration.
        began: when it did.
        bundle: SHA-256 that stands for its bundle (`sloop.runs.bundle.Bundle.sha256`).
    """
    key = re.sub(r"[^A-Za-z0-9:_.-]", "-", f"sloop:{name}")
    note = f"configuration {hashed}" + (f", bundle {bundle}" if bundle else "")
    title = f"sloop run {_in_tex(name)} of the study {_in_tex(study)}"
    return f"@misc{{{key},\n  title = {{{title}}},\n  year = {{{began[:4]}}},\n  note = {{{note}}}\n}}"


def _in_tex(text: str) -> str:
    r"""A text as TeX prints it: ``_`` as ``\_``, and no brace that ends an entry early."""
    spelled = {"\\": "/", "{": "(", "}": ")", "~": "-", "^": "-", '"': "''"}
    return "".join(spelled.get(mark, f"\\{mark}" if mark in "_&%$#" else mark) for mark in text)


def unclean(code: CodeState) -> tuple[str, ...]:
    """What stands between a run's code and whoever fetches it again by its commit, a sentence each; none: nothing."""
    if code.commit is None:
        return ("the code was no checkout: version and digest are all that is known of it",)
    changed = ["files differ from the commit (the diff is recorded)"] if code.diff_sha256 else []
    strange = (
        [f"{len(code.untracked)} files are in no commit: {', '.join(code.untracked[:5])}"] if code.untracked else []
    )
    return (*changed, *strange)


def code_state() -> CodeState:
    """The sources that run: version, digest, and for a checkout commit, branch and the digest of what differs."""
    state = CodeState(version=__version__, digest=package_digest())
    root = Path(__file__).parents[2]
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or not (root / "pyproject.toml").is_file():
        return state
    changed = _git(root, "diff", "HEAD") or ""
    untracked = tuple((_git(root, "ls-files", "--others", "--exclude-standard") or "").splitlines())
    return state.model_copy(
        update={
            "commit": commit.strip(),
            "branch": (_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
            "dirty": bool(changed or untracked),
            "diff": changed or None,
            "diff_sha256": hashlib.sha256(changed.encode()).hexdigest() if changed else None,
            "untracked": untracked,
        }
    )


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None: not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def machine() -> Machine:
    """Where it runs; process id and host tell a running run from an abandoned one."""
    return Machine(
        host=socket.gethostname(),
        pid=os.getpid(),
        system=platform.platform(),
        processor=platform.machine(),
        cpus=os.cpu_count(),
        gpus=_gpus(),
    )


def is_gone(host: str, pid: int) -> bool:
    """Whether a process ran on this host and runs no more."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _gpus() -> tuple[str, ...]:
    """Names of NVIDIA GPUs, asked of the driver's own tool; none where it is not installed."""
    try:
        result = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(result.stdout.splitlines()) if result.returncode == 0 else ()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


def sweep_record(study: str, stage: str) -> SweepRecord:
    """What is known of a sweep when it starts."""
    began = now()
    return SweepRecord(
        id=uuid.uuid4().hex,
        name=f"sweep {stage} {began[5:16]}",
        study=study,
        command=command(),
        machine=machine(),
        status="RUNNING",
        began=began,
        finished=None,
    )
