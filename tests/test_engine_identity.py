"""What a result depends on: configurations, components, code, stages."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import acme_tools
import pytest
from test_engine_build import OUTER, _changed

import sloop
from sloop.cli import conf_folder
from sloop.engine.build import MOVED, build, find
from sloop.engine.identity import config_hash, describe, modules_of, package_digest, source_digest, stage_key
from sloop.loop import SHOWN
from sloop.records import Checkpoint
from sloop.stages.corrupt import Corrupt
from sloop.stages.evaluate import Evaluate
from sloop.stages.gen import Gen
from sloop.stages.optimize.stage import Optimize
from sloop.stages.portions import Portions
from sloop.stages.probe import Probe
from sloop.stages.samplers import CoverageSampler
from sloop.stages.train import Start, Train
from sloop.store import Dataset, file_digest

PACKAGE = Path(sloop.__file__).parent
CONF = conf_folder()

# --- describe -----------------------------------------------------------------------------------------------------


def test_a_component_is_described_by_what_it_was_built_from():
    assert describe(build(OUTER)) == OUTER


def test_a_file_is_described_by_its_content(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("x")
    second.write_text("x")
    spec = {"_target_": "test_engine_build.Reader", "note": "no.file", "path": str(first)}
    described = describe(build(spec))
    assert described["path"] == {"file": file_digest(first)}
    assert described["note"] == "no.file"
    assert describe(build(_changed(spec, path=str(second)))) == described


def test_a_component_made_by_hand_is_described_by_class_and_attributes():
    assert describe(CoverageSampler(decay=0.5)) == {"_target_": "sloop.stages.samplers.CoverageSampler", "decay": 0.5}


def test_what_a_component_does_later_changes_nothing_of_its_description():
    student = acme_tools.LookupStudent(name="lookup", skill=0.5)
    before = describe(student)
    student._skill = 0.7
    assert describe(student) == before


@pytest.mark.parametrize("text", ["Say it. " * 1000, "a/" * 5000, "nul.\0", "./" + "x" * 300])
def test_a_text_that_cannot_be_the_name_of_a_file_is_described_as_it_is(text):
    spec = {"_target_": "test_engine_build.Reader", "note": text, "path": "x"}
    assert describe(build(spec))["note"] == text


# --- code ---------------------------------------------------------------------------------------------------------

BASE = 'LIMIT = 3\n\n\ndef twice(x):\n    """Double."""\n    return 2 * x if x in {"a", "b", "c"} else 0\n'


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("Double.", "Another docstring,\n    of two lines."),
        "# why\n\n" + BASE.replace("    return", "    # because\n    return"),
        BASE.replace("2 * x", "(2 * x)"),
    ],
)
def test_words_about_the_code_are_no_part_of_what_it_does(text: str, tmp_path: Path) -> None:
    first, second = _written(tmp_path, BASE, text)
    assert first == second


@pytest.mark.parametrize(
    "change",
    [("2 * x", "3 * x"), ("LIMIT = 3", "LIMIT = 4"), ("(x)", "(x=1)"), ("twice", "double"), ('"c"', '"d"')],
)
def test_whatever_the_code_does_is_part_of_it(change: tuple[str, str], tmp_path: Path) -> None:
    first, second = _written(tmp_path, BASE, BASE.replace(*change))
    assert first != second


def test_code_that_is_kept_compiled_is_known_by_its_content_and_not_by_its_time(tmp_path: Path) -> None:
    path = tmp_path / "rule.py"
    found = []
    for text in (BASE, BASE, BASE.replace("2 * x", "3 * x")):
        path.write_text(text)
        os.utime(path, (0, 0))
        found.append(source_digest(path))
    assert found[0] == found[1] != found[2]


def _written(folder: Path, *texts: str) -> list[str]:
    paths = [folder / f"{number}.py" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return [source_digest(path) for path in paths]


def test_the_digest_of_code_is_the_same_in_every_process() -> None:
    command = "from sloop.engine.identity import package_digest; print(package_digest())"
    found = {
        subprocess.run(
            [sys.executable, "-c", command],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {package_digest()}


def test_a_component_names_its_modules_and_those_of_its_parts() -> None:
    assert modules_of(OUTER) == {"test_engine_build", "sloop.stages.samplers"}
    assert modules_of(build(OUTER)) == modules_of(OUTER)


class Caller:
    """A component that runs what a dotted path names."""

    MODULES: ClassVar[tuple[str, ...]] = ("sloop.records.base",)
    CODE: ClassVar[frozenset[str]] = frozenset({"tools"})

    def __init__(self, *, tools: list[str] | None) -> None:
        self.tools = tools


@pytest.mark.parametrize(
    ("tools", "theirs"), [(["acme_tools.look_up", "toys.double"], {"acme_tools", "toys"}), (None, set())]
)
def test_code_that_an_argument_names_counts(tools: list[str] | None, theirs: set[str]) -> None:
    spec = {"_target_": "test_engine_identity.Caller", "tools": tools}
    assert modules_of(spec) == modules_of(build(spec)) == {"sloop.records.base", *theirs}


def _imports(module: str) -> set[str]:
    """The modules of sloop that a module comes to import, itself among them."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name == "sloop.records.ranges":  # of the keepers: what it imports comes with whatever it is a part of
            continue
        path = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return seen


def _covered(module: str, named: Sequence[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in named)


KEEPERS = (
    "sloop.engine",  # decides when work is done; its bytes are held by the tests of resuming and of same bytes
    "sloop.store",  # moves bytes as they are
    "sloop.records.ranges",  # refuses, and changes no value
    "sloop.records.episodes", "sloop.records.judging", "sloop.records.runs", "sloop.version",
    "sloop.judges.base", "sloop.students.base", "sloop.trainers.base", "sloop.benchmarks.base",  # protocols
    "sloop.models.endpoint", "sloop.models.environment", "sloop.models.preflight", "sloop.models.replay",
    "sloop.models.throttle",
    "sloop.models.usage",  # how, when and at what price is asked
    "sloop.students.freed",  # gives memory back
    "sloop.tools.launch",  # starts a process, and leaves none behind
    "sloop.stages.samplers",  # a component of its own
)  # fmt: skip
"""Modules that results pass through and that change none."""
TARGETS = {
    target for path in CONF.glob("*/*.yaml") for target in re.findall(r"_target_: (sloop\.[\w.]+)", path.read_text())
}
COMPONENTS = [find(target, "") for target in sorted({*TARGETS, SHOWN})]
STAGES = [Gen, Corrupt, Start, Train, Probe, Evaluate, Optimize, Portions]


def _named(cls: Any) -> Sequence[str]:
    return getattr(cls, "MODULES", (cls.__module__,))


@pytest.mark.parametrize("cls", [*STAGES, *COMPONENTS])
def test_every_module_behind_a_result_is_named_or_known_to_change_none(cls: Any) -> None:
    found = _imports(cls.__module__)
    parts = [part for part in COMPONENTS if part.__module__ in found - {cls.__module__}]  # they name their own
    named = [*_named(cls), *(name for part in parts for name in _named(part)), *KEEPERS]
    assert {module for module in found if not _covered(module, named)} == set()


@pytest.mark.parametrize("cls", [*STAGES, *COMPONENTS])
def test_what_is_named_is_there(cls: Any) -> None:
    for name in _named(cls):
        path = PACKAGE.parent / (name if "/" in name else name.replace(".", "/"))
        assert path.exists() or path.with_suffix(".py").is_file(), name


# --- stages -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A stage of every type of field."""

    name: ClassVar[str] = "toy"
    MODULES: ClassVar[tuple[str, ...]] = ("sloop.records.base",)
    NOT_RESULTS: ClassVar[frozenset[str]] = frozenset({"workers"})

    data: Dataset
    answers: Path
    start: Checkpoint
    sampler: Any
    seed: int = 0
    workers: int = 1


def _toy(folder: Path, **changes: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    for name in ("data.jsonl", "answers.jsonl"):
        (folder / name).write_text("")
    fields: dict[str, Any] = {
        "data": Dataset(folder / "data.jsonl"),
        "answers": folder / "answers.jsonl",
        "start": Checkpoint(path=str(folder / "weights"), digest="d"),
        "sampler": {"_target_": "sloop.stages.samplers.RandomSampler"},
    }
    return stage_key(Toy(**{**fields, **changes}))


def test_files_and_checkpoints_are_known_by_their_content_wherever_they_lie(tmp_path: Path) -> None:
    assert _toy(tmp_path / "a") == _toy(tmp_path / "b")


def test_what_changes_no_result_is_no_part_of_a_stage_and_everything_else_is(tmp_path: Path) -> None:
    key = _toy(tmp_path)
    assert _toy(tmp_path, workers=9) == key
    assert set(key) == {"stage", "code", "data", "answers", "start", "sampler", "seed"}
    changes = {"seed": 1, "start": Checkpoint(path="x", digest="e"), "sampler": CoverageSampler(decay=0.5)}
    for name, value in changes.items():
        assert _toy(tmp_path, **{name: value})[name] != key[name]


def test_an_instance_stands_for_its_specification(tmp_path: Path) -> None:
    spec = {"_target_": "sloop.stages.samplers.CoverageSampler", "decay": 0.5}
    assert _toy(tmp_path, sampler=build(spec)) == _toy(tmp_path, sampler=spec)


# --- configurations -----------------------------------------------------------------------------------------------


def test_a_class_that_has_moved_is_found_and_changes_no_hash() -> None:
    for old, new in MOVED.items():
        assert find(old, "x") is find(new, "x")
        assert config_hash({"judge": {"_target_": old}}) == config_hash({"judge": {"_target_": new}})
