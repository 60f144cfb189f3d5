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
from sloop.records import CodeState, Machine, RunRecord, SweepRecord, UserError
from sloop.store import file_digest, now
from sloop.version import __version__

PACKAGES = (
    "datasets", "hydra-core", "jsonschema", "mlflow", "numpy", "openai", "pandas", "pydantic", "scipy", "statsmodels",
    "tokenizers", "torch", "transformers",
)  # fmt: skip
ARITHMETIC = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "CUBLAS_WORKSPACE_CONFIG",
)  # fmt: skip
"""Environment variables by which the last bits of a sum may differ."""
ENVIRONMENT = (*ARITHMETIC, "CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE")
"""The only environment variables that are recorded: a list of what is allowed, so that no key slips in."""
FEATURES = frozenset(
    [
        "sse4_1",
        "avx",
        "avx2",
        "fma",
        "avx512f",
        "avx512vl",
        "avx512_vnni",
        "avx512_bf16",
        "amx_tile",
        "amx_bf16",
        "asimd",
        "sve",
        "bf16",
    ]
)
"""Of a processor, as Linux calls them: those by which torch, oneDNN and BLAS choose their kernels."""
LARGEST_SOURCE = 16 << 20
"""Bytes of an untracked file whose content is recorded: what is larger is data, and hashing it would keep a run up."""

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
            "untracked_sha256": {
                name: file_digest(root / name)
                for name in untracked
                if (root / name).is_file() and (root / name).stat().st_size <= LARGEST_SOURCE
            },
        }
    )


def check_clean(code: CodeState, asked: str) -> None:
    """Refuse sources that no commit names.

    Args:
        code: the sources.
        asked: who wants them clean, as the reader wrote it.

    Raises:
        UserError: a checkout differs from its commit; names the files.
    """
    if code.changed:
        named, more = ", ".join(code.changed[:10]), len(code.changed) - 10
        raise UserError(
            f"{asked}: the sources differ from commit {str(code.commit)[:12]}: {named}"
            f"{f' and {more} more' if more > 0 else ''}. Commit them (git add, git commit) or put them away "
            "(git stash --include-untracked), and give the same command again."
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
    model, features = _processor()
    return Machine(
        host=socket.gethostname(),
        pid=os.getpid(),
        system=platform.platform(),
        processor=platform.machine(),
        model=model,
        features=features,
        cpus=os.cpu_count(),
        gpus=_gpus(),
    )


def _processor() -> tuple[str, tuple[str, ...]]:
    """Name and features of the first processor, as Linux tells them; elsewhere the name alone."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    told = {name.strip().lower(): value.strip() for name, _, value in lines}
    flags = told.get("flags") or told.get("features", "")
    return told.get("model name") or platform.processor(), tuple(sorted(FEATURES & set(flags.split())))


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
