"""Where keys and addresses come from, in which order, and that a key does not get out."""

from __future__ import annotations

import copy
import os
import pickle
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from sloop.cli import conf_folder
from sloop.models.environment import VARIABLES, Key, key_for, load_env

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # undone afterwards, whatever a test puts there


def test_the_variable_of_the_role_wins_over_the_general_one() -> None:
    both = {"SLOOP_WEAK_API_KEY": "own", "OPENAI_API_KEY": "general"}
    assert key_for("student", both).reveal() == "own"
    assert key_for("teacher", both).reveal() == "general"
    assert key_for("teacher", both).variable == "OPENAI_API_KEY"
    assert key_for("student", {"SLOOP_WEAK_API_KEY": " ", "OPENAI_API_KEY": "general"}).reveal() == "general"
    assert key_for("student", {}).variable is None


def test_the_process_wins_over_the_file_and_the_role_in_the_file_over_the_general_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SLOOP_WEAK_API_KEY=file\nSLOOP_STRONG_API_KEY=file\nSLOOP_WEAK_MODEL=\n")
    monkeypatch.setenv("SLOOP_WEAK_API_KEY", "process")
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    load_env(tmp_path / ".env")
    assert key_for("student").reveal() == "process"
    assert key_for("teacher").reveal() == "file"
    assert "SLOOP_WEAK_MODEL" not in os.environ  # an empty value counts as none


def test_an_address_is_that_of_the_command_line_or_the_role_or_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def address(*overrides: str) -> str:
        load_env(Path("no such file"))
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = compose("config", ["student=endpoint", "student.endpoint.model=m", *overrides])
        return str(config.student.endpoint.base_url)

    assert address() == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://general/v1")
    assert address() == "http://general/v1"
    monkeypatch.setenv("SLOOP_WEAK_BASE_URL", "http://own/v1")
    assert address() == "http://own/v1"
    assert address("student.endpoint.base_url=http://here/v1") == "http://here/v1"


def test_a_file_sets_nothing_but_our_variables(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SLOOP_TEST_STRANGER=1\nSLOOP_WEAK_MODEL='m ${HOME}'\n")
    load_env(tmp_path / ".env")
    assert "SLOOP_TEST_STRANGER" not in os.environ
    assert os.environ["SLOOP_WEAK_MODEL"] == "m ${HOME}"


def test_a_key_is_neither_shown_nor_written() -> None:
    key = Key("sk-planted", "OPENAI_API_KEY")
    assert "sk-planted" not in f"{key} {key!r} {[key]} {vars(key) if hasattr(key, '__dict__') else ''}"
    assert key.hide_in("refused: sk-planted.") == "refused: ***."
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not to be written"):
            write(key)


def test_the_shipped_example_names_every_variable_and_no_value() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert {line.rstrip("=") for line in lines if re.match(r"[A-Z]", line)} == set(VARIABLES)
    assert all(line.endswith("=") for line in lines if re.match(r"[A-Z]", line))
