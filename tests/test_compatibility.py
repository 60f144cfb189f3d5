from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from kinds import tables

SCRIPT = Path(__file__).parents[1] / "scripts" / "compatibility.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compatibility", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_tables_say(script: ModuleType) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run: python scripts/compatibility.py"


def test_kinds_have_names_of_their_own() -> None:
    for table in tables():
        names = [kind.name for kind in table.KINDS]
        assert len(names) == len(set(names)), table.__name__


def test_every_kind_names_its_source() -> None:
    assert [kind.name for table in tables() for kind in table.KINDS if not kind.source.strip()] == []
