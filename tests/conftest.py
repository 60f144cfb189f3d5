"""A stranger's package beside sloop's, as a user's own would be: importable here and in the processes started here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"
sys.path.insert(0, str(PLUGIN))
for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):  # else tests would log to somebody's server
    os.environ.pop(variable, None)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PLUGIN), os.environ.get("PYTHONPATH"))))


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants over two seeds, of a stranger's parts."""
    from running import acme_loop

    root = tmp_path_factory.mktemp("outputs")
    for seed in (0, 1):
        for variant, skill in (("full", 0.4), ("static", 0.2)):
            words = (f"variant={variant}", f"seed={seed}", f"student.skill={skill}", "loop.rounds=2")
            acme_loop(root / "acme" / f"{variant}{seed}", *words)
    return root


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that holds the tables."""
    monkeypatch.setenv("COLUMNS", "200")
