"""The arrows: who may import whom, and the libraries that belong to one module alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import sloop

ROOT = Path(sloop.__file__).parent
LAYERS = (
    {"version"},
    {"records"},
    {"calls"},
    {"store"},
    {"engine", "tools"},
    {"environments"},
    {"intake"},
    {"models"},
    {"judges", "teachers"},
    {"simulation"},
    {"rollout"},
    {"students"},
    {"measures"},
    {"benchmarks", "trainers"},
    {"stages"},
    {"loop"},
    {"runs"},
    {"show"},
    {"config", "serve"},
    {"run"},
    {"sweeps"},
    {"cli"},
    {"__main__"},
)
"""Rooms from left to right: a module imports its own room and those further left, never one of its own step."""
FREE = {"__init__"}
"""The version, open to all; what else it names is loaded when asked for."""
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
ONE_ROOM = {
    "mlflow": {
        "runs/track.py",
        "runs/destination.py",
        "runs/entries.py",
        "runs/failures.py",
        "runs/loops.py",
        "runs/prompts.py",
    },
    "hydra": {"cli.py", "sweeps/"},
    "omegaconf": {"cli.py", "sweeps/"},
    "submitit": {"sweeps/"},
    "optuna": {"sweeps/"},
    "openai": {"models/"},
    "plotly": {"show/figures.py", "show/pages.py"},
    "aiohttp": {"environments/verifiers_worker.py", "models/", "tools/builtin/web.py", "tools/openapi.py"},
    "fastapi": {"serve/"},
    "uvicorn": {"serve/"},
    "verifiers": {"environments/verifiers_worker.py", "serve/verifiers.py"},
    "jinja2": {"models/prompts.py", "serve/"},
    "torch": {"students/", "trainers/"},
    "transformers": {"students/", "trainers/"},
    "trl": {"trainers/"},
    "peft": {"trainers/"},
    "ray": {"engine/cluster.py", "engine/hand.py", "sweeps/launchers.py"},
}
HEAVY = {
    "fastapi",
    "openai",
    "torch",
    "transformers",
    "trl",
    "peft",
    "ray",
    "tokenizers",
    "datasets",
    "mlflow",
    "pandas",
    "plotly",
    "hydra",
    "scipy",
    "statsmodels",
    "uvicorn",
}
LIGHT = [
    "sloop",
    "sloop.records",
    "sloop.store",
    "sloop.stages.gen",
    "sloop.stages.optimize.stage",
    "sloop.loop",
    "sloop.run",
    "sloop.show.commands",
]


def _room(relative):
    return relative.parts[0].removesuffix(".py")


@cache  # every library asks every module
def _imported(path):
    """Dotted names that a module imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _rooms_of(path):
    for name in _imported(path):
        parts = name.split(".")
        if parts[0] == "sloop" and len(parts) > 1:
            room = parts[1]
            if (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file():
                yield room


def test_every_room_has_its_place():
    assert {_room(module) for module in MODULES} - FREE == set().union(*LAYERS)


@pytest.mark.parametrize("module", [m for m in MODULES if _room(m) not in FREE], ids=str)
def test_imports_point_left(module):
    room = _room(module)
    (place,) = (number for number, rooms in enumerate(LAYERS) if room in rooms)
    found = set(_rooms_of(ROOT / module)) - FREE - {room}
    assert not found - set().union(*LAYERS[:place])


@pytest.mark.parametrize("library", ONE_ROOM)
def test_a_library_is_imported_in_its_own_room_alone(library):
    users = {str(m) for m in MODULES if any(name.split(".")[0] == library for name in _imported(ROOT / m))}
    assert not {user for user in users if not any(user.startswith(home) for home in ONE_ROOM[library])}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_only_measures_read_the_truth(module):
    """The record of what a noisy annotator was given may be written while data is made, and read for metrics."""
    text = (ROOT / module).read_text(encoding="utf-8")
    if _room(module) == "measures":
        return
    reads = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) in {"read_rows", "Rows"}
        and any(isinstance(part, ast.Name) and part.id in {"Truth", "TRUTH"} for part in ast.walk(node))
    ]
    assert not reads
    if "truth.jsonl" in text:
        assert str(module) in {"stages/gen.py", "stages/corrupt.py", "stages/optimize/stage.py"}  # who write it


def test_no_judge_knows_the_noise_or_the_truth():
    names_of_judges = ("class GroundingJudge", "class LLMJudge", "class SimulatedModel")
    judges = [m for m in MODULES if any(name in (ROOT / m).read_text() for name in names_of_judges)]
    waiting, seen = list(judges), set()
    while waiting:
        module = waiting.pop()
        names = set(_imported(ROOT / module))
        assert "sloop.records.Truth" not in names
        for name in names:
            path = Path(*name.split(".")[1:]).with_suffix(".py") if name.startswith("sloop.") else None
            if path and (ROOT / path).is_file() and path not in seen:
                seen.add(path)
                waiting.append(path)
    assert len(judges) == len(names_of_judges)
    assert not {Path(f"simulation/{name}.py") for name in ("noisy", "mistakes", "corruption")} & seen
    assert Path("stages/corrupt.py") not in seen


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
