"""What must be known to cite a run and to run it again: written to ``run.json`` when the run starts."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sloop
from sloop.store import code_digest, now
from sloop.types import digest

PACKAGES = (
    "accelerate", "datasets", "hydra-core", "jsonschema", "mlflow", "numpy", "openai", "pandas", "pydantic", "scipy",
    "statsmodels", "tokenizers", "torch", "transformers", "trl",
)  # fmt: skip
ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE")
"""The only environment variables that are recorded: a list of what is allowed, so that no key slips in."""

NOT_RESULTS = (
    "output_dir", "paths", "tracking", "executor", "preview", "cache",
    "student.limits", "student.cache", "student.cache_path",
)  # fmt: skip
"""Configuration that says where and how a run is kept, not what it computes."""


def config_hash(config: Mapping[str, Any]) -> str:
    """64 hex digits over what a run computes; `NOT_RESULTS` is left out."""
    return digest(_results(config))


def _results(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return {
        key: _results(value, f"{key}.") if isinstance(value, Mapping) and not prefix else value
        for key, value in config.items()
        if prefix + key not in NOT_RESULTS
    }


def run_record(
    *, kind: str, name: str, config: Mapping[str, Any], overrides: Sequence[str], sweep: str | None
) -> dict[str, Any]:
    """The content of a new ``run.json``.

    Args:
        kind: ``loop`` or the stage's name.
        name: of the run, as shown.
        config: resolved, plain data.
        overrides: as given on the command line.
        sweep: id of the sweep that the run belongs to.
    """
    return {
        "id": uuid.uuid4().hex,
        "kind": kind,
        "name": name,
        "study": config["name"],
        "seed": config["seed"],
        "config_hash": config_hash(config),
        "config": dict(config),
        "overrides": list(overrides),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "sweep": sweep,
        "code": code_state(),
        "versions": versions(),
        "machine": machine(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "status": "RUNNING",
        "began": now(),
        "finished": None,
    }


def code_state() -> dict[str, Any]:
    """The sources that run: version, digest, and for a checkout commit, branch and the digest of what differs."""
    state: dict[str, Any] = {"version": sloop.__version__, "digest": code_digest()}
    root = Path(sloop.__file__).parents[1]
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or not (root / "pyproject.toml").is_file():
        return {**state, "commit": None}
    changed = _git(root, "diff", "HEAD") or ""
    untracked = (_git(root, "ls-files", "--others", "--exclude-standard") or "").splitlines()
    return {
        **state,
        "commit": commit.strip(),
        "branch": (_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "dirty": bool(changed or untracked),
        "diff_sha256": hashlib.sha256(changed.encode()).hexdigest() if changed else None,
        "untracked": untracked,
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None: not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def machine() -> dict[str, Any]:
    """Where it runs; process id and host tell a running run from an abandoned one."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


def sweep_record(study: str, stage: str) -> dict[str, Any]:
    """What is known of a sweep when it starts."""
    return {
        "id": uuid.uuid4().hex,
        "name": f"sweep {stage} {now()[5:16]}",
        "study": study,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "status": "RUNNING",
        "began": now(),
        "finished": None,
    }
