"""``sloop reproduce BUNDLE``: a cited run is checked, made again in a folder of its own, and compared."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sloop.engine.identity import ROOT
from sloop.records import UserError
from sloop.runs.bundle import MANIFEST, RUN, Bundle, read_bundle
from sloop.runs.check import check
from sloop.runs.cite import code_state, machine, versions
from sloop.runs.differences import stage_pairs
from sloop.runs.read import Run
from sloop.runs.repeat import AGAIN, BUNDLE, environment, likeness, runnable, verdict
from sloop.show.console import Terminal, console
from sloop.store import write_bytes

CONFIG = "repeat"
"""Name of the configuration that is written: ``sloop loop --config-dir . --config-name repeat`` runs it."""
HYDRA: dict[str, Any] = {
    "output_subdir": None,
    "job": {"chdir": False},
    "run": {"dir": "."},
}
QUIET = [{"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}]
KINDS = ("gen", "train", "probe", "optimize", "eval", "loop")
"""Of runs; any other word would start another command."""
WITHOUT_TORCH = ("gen", "optimize")
"""Kinds of runs that compute no weights, whose environment is a gigabyte smaller."""
PINNED = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.!+-]+")
"""A line of constraints; any other form could name an address."""


def reproduce(arguments: Sequence[str]) -> None:
    """Make a cited run again and compare; exit status 1 where the runs are different."""
    made = argparse.ArgumentParser(
        prog="sloop reproduce",
        description="Check a bundle of sloop cite, make its run again in a folder, and compare every dataset and "
        "score. Exit status 0: the same bytes, or the same within the interval; 1: different.",
    )
    made.add_argument("bundle", type=Path, metavar="BUNDLE", help="zip, or the folder that it was unpacked to")
    made.add_argument("--folder", type=Path, help="empty, or where this was begun (default: reproduced/NAME)")
    made.add_argument("--here", action="store_true", help="use the packages at hand, and say which are others")
    made.add_argument("--sloop", metavar="SPEC", help="what pip installs (default: the sloop that this is)")
    made.add_argument("--input", action="append", default=[], metavar="KEY=PATH", help="a file that the bundle lacks")
    made.add_argument("--trust", action="store_true", help="run others' components, and ask the addresses it names")
    options = made.parse_args(arguments)
    given = dict(_input(text) for text in options.input)
    out = console()
    bundle = read_bundle(options.bundle)
    _check(bundle, options.trust, out)
    if (kind := bundle.manifest.run.kind) not in KINDS:
        raise UserError(
            f"{bundle.path}: a run of kind {kind!r} cannot be made again; of kind {', '.join(KINDS)} it can."
        )
    folder = options.folder or Path("reproduced") / bundle.manifest.run.name
    _unpack(bundle, folder)
    config = runnable(bundle, given, trust=options.trust)
    _write(folder / f"{CONFIG}.yaml", config)
    python = Path(sys.executable) if options.here else _environment(bundle, folder, options.sloop)
    _tell_apart(bundle, options.here, out)
    _run(bundle, folder, python, options, out)
    sys.exit(_compare(folder, out))


def _input(text: str) -> tuple[str, str]:
    key, equals, path = text.partition("=")
    if not equals or not os.path.lexists(path):
        raise UserError(f"--input {text}: give a key of the configuration and a path that there is, as data=FILE")
    return key, str(Path(path).resolve())


def _check(bundle: Bundle, trust: bool, out: Terminal) -> None:
    found = list(check(bundle, trust=trust))
    wrong = [one for one in found if one.wrong]
    for one in wrong:
        out.say(f"mismatch  {one.what}: {one.wrong}")
    if wrong:
        raise UserError(f"{bundle.path}: {len(wrong)} of {len(found)} checks do not match, so that nothing is run.")
    out.say(f"checked: {len(found)} of {len(found)} match; sha256 {bundle.sha256}")


def _unpack(bundle: Bundle, folder: Path) -> None:
    """Into an empty folder, or one in which this bundle's repetition was begun."""
    kept = folder / BUNDLE
    if (kept / MANIFEST).is_file() and read_bundle(kept).sha256 == bundle.sha256:
        return
    part = folder / f"{BUNDLE}.part"
    if folder.exists() and (not folder.is_dir() or any(path != part for path in folder.iterdir())):
        raise UserError(f"{folder} is not empty. Name a folder that is, or is not there yet: --folder DIR")
    shutil.rmtree(part, ignore_errors=True)
    bundle.unpack(part)
    part.rename(kept)


def _write(path: Path, config: dict[str, Any]) -> None:
    """A configuration for Hydra, in which every text stands for itself."""

    def literal(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: literal(item) for key, item in value.items()}
        if isinstance(value, list):
            return list(map(literal, value))
        return value.replace("${", "\\${") if isinstance(value, str) else value

    written = {"defaults": ["_self_", *QUIET], "hydra": HYDRA, **literal(config)}
    write_bytes(path, yaml.safe_dump(written, sort_keys=False, allow_unicode=True).encode())


def _environment(bundle: Bundle, folder: Path, spec: str | None) -> Path:
    """Python of an environment with the packages of the run, made where it is missing.

    Raises:
        UserError: the constraints are more than versions, or pip fails.
    """
    place = (folder / "env").absolute()  # the run's own folder is another
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = place / "done"
    if done.is_file():
        return python
    lines = bundle.read("constraints.txt").decode().splitlines()
    if strange := [line for line in lines if line and line[0] != "#" and not PINNED.fullmatch(line)]:
        raise UserError(f"constraints.txt: {strange[0]!r} is no name==version; nothing is installed by it.")
    venv.create(place, clear=True, with_pip=True)
    checkout = (ROOT / "pyproject.toml").is_file()
    source = spec or (str(ROOT) if checkout else f"sloop=={bundle.manifest.run.code.version}")
    extra = "" if source.endswith("]") or bundle.manifest.run.kind in WITHOUT_TORCH else "[train]"
    command = [str(python), "-m", "pip", "install", "-q", "-c", str(folder / BUNDLE / "constraints.txt")]
    command.append("--no-compile")  # of a gigabyte of packages the run imports a part
    if subprocess.run([*command, f"{source}{extra}"], check=False).returncode:
        raise UserError(
            f"{folder / 'env'}: pip cannot install {source} with the bundle's constraints (it says above why). Use the "
            "packages at hand: --here; or name a sloop that can be installed: --sloop SPEC"
        )
    done.touch()
    return python


def _tell_apart(bundle: Bundle, here: bool, out: Terminal) -> None:
    """What of code, Python and packages is not that of the run."""
    run = bundle.manifest.run
    mine = versions() if here else {"python": versions()["python"]}
    code = code_state()
    if code.digest != run.code.digest:
        then, this = (state.commit or state.version for state in (run.code, code))
        out.say(f"other code: the run's was {then}, this is {'that with other changes' if this == then else this}")
    if apart := [f"{name} {run.versions.get(name)} then, {mine[name]} now" for name in mine
                 if mine[name] != run.versions.get(name)]:  # fmt: skip
        out.say(f"other packages: {'; '.join(apart)}")
    before, now = run.machine, machine()
    if (before.model, before.features, before.gpus) != (now.model, now.features, now.gpus):
        out.say(
            f"other processor: {before.model or before.processor} ({' '.join(before.features)}) then, {now.model} "
            f"({' '.join(now.features)}) now"
        )


def _run(bundle: Bundle, folder: Path, python: Path, options: argparse.Namespace, out: Terminal) -> None:
    made = environment(bundle, machine(), trust=options.trust)
    made["PYTHONSAFEPATH"] = "1"  # the folder holds a stranger's files
    if options.here:
        made["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    words = ["-m", "sloop", bundle.manifest.run.kind, "--config-dir", str(folder.resolve()), "--config-name", CONFIG]
    out.say(f"made again in {folder}: sloop {' '.join(words[2:])}")
    status = subprocess.run([str(python), *words], cwd=folder, env=made, check=False).returncode
    if status:
        raise UserError(
            f"the run ended with status {status} (it says above why). The same command goes on from there; "
            "where a file is missing, give yours as well: --input KEY=PATH"
        )


def _compare(folder: Path, out: Terminal) -> int:
    first, again = Run.at(folder / BUNDLE / RUN), Run.at(folder / AGAIN)
    stages = likeness(stage_pairs(first, again), first, again)
    for stage in stages:
        out.say(f"{stage.likeness:<24}  {stage.place}: {stage.why}")
    said = verdict(stages)
    out.say(f"verdict: {said}")
    if said != "same bytes":
        out.say(f"what differs, and what can explain it: sloop diff {folder / BUNDLE / RUN} {folder / AGAIN}")
    return 1 if said == "different" else 0
