"""What docs/architecture.md says of additions: a part of the reader's own is a class and a file of configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import yaml
from acme_parts import Census
from running import acme_loop, manifests, questions, rounds

from sloop.cli import conf_folder
from sloop.engine.stage import Place, run_stage
from sloop.records import Kind
from sloop.store import Dataset

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_a_sampler_and_a_source_of_tools_of_the_readers_own_go_through_the_loop(tmp_path: Path) -> None:
    folder = acme_loop(tmp_path / "run", "sampler=acme", "tools=acme", "loop.rounds=1")
    called = {call.name for s in Dataset(folder / "seed/pool/train.jsonl") if s.label for call in s.label.calls}
    assert len(called) > 0
    assert len(rounds(folder)) == 1
    parts = yaml.safe_load(manifests(folder)["seed/pool/stage.json"])["parts"]
    assert parts["sampler"] == {"_target_": "acme_parts.FirstTools", "count": 2}


def test_a_benchmark_of_the_readers_own_goes_through_the_loop(tmp_path: Path) -> None:
    words = ("benchmark=acme", f"benchmark.path={questions()}", "benchmark.name=quiz", "loop.rounds=1")
    folder = acme_loop(tmp_path / "run", *words)
    metrics = {row["name"] for row in rounds(folder)[0]["metrics"]}
    assert "eval/quiz/call_accuracy" in metrics


def test_a_stage_of_the_readers_own_is_one_class(tmp_path: Path) -> None:
    folder = acme_loop(tmp_path / "run", "loop.rounds=1")
    data = Dataset(folder / "seed/pool/train.jsonl")
    made = run_stage(Census(data=data), Place(tmp_path / "census"))
    assert sum(made.summary.calls.values()) == sum(len(s.label.calls) for s in data if s.label)
    assert run_stage(Census(data=data), Place(tmp_path / "census")) == made


def test_every_kind_of_sample_has_its_share_in_the_configuration() -> None:
    shares = yaml.safe_load((conf_folder() / "config.yaml").read_text())["gen"]["kinds"]
    assert set(shares) == set(get_args(Kind))


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(
        re.findall(r"`((?:sloop|conf|tests|docs|benchmarks)/[\w./-]*\w/?)`", PAGE[: PAGE.index("## What comes next")])
    )
    assert named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_page_names_every_room() -> None:
    rooms = {path.name for path in (ROOT / "sloop").iterdir() if (path / "__init__.py").is_file()}
    assert sorted(room for room in rooms if f"`{room}`" not in PAGE) == []
