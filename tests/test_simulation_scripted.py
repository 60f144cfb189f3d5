"""The scripted student: ways of answering, fixed by each sample's id."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from models import pool
from running import ALONE, questions, sloop

from sloop.engine.build import build
from sloop.records import Decode, UserError
from sloop.simulation.scripted import ScriptedStudent, Way
from sloop.store import read_json


@pytest.mark.parametrize("way", get_args(Way))
def test_every_way_gives_an_answer_to_every_sample(way: Way) -> None:
    answers = ScriptedStudent(name="s", script=[way]).predict(pool(), Decode())
    assert [answer.sample_id for answer in answers] == [sample.id for sample in pool()]
    assert {answer.error for answer in answers} == ({"format"} if way == "broken" else {None})


def test_the_right_way_is_the_label() -> None:
    for sample, answer in zip(
        pool(), ScriptedStudent(name="s", script=["right"]).predict(pool(), Decode()), strict=True
    ):
        assert sample.label is not None
        assert answer.calls == sample.label.calls


def test_an_empty_script_is_refused() -> None:
    with pytest.raises(UserError, match=r"student\.script=\[\]"):
        build({"_target_": "sloop.simulation.scripted.ScriptedStudent", "name": "s", "script": []}, "student")


def test_a_benchmark_is_tried_without_a_model(tmp_path: Path) -> None:
    words = ("student=scripted", "student.script=[right]", "benchmark=jsonl", f"benchmark.path={questions()}")
    assert sloop("eval", *words, f"output_dir={tmp_path / 'run'}", f"paths.outputs={tmp_path}", ALONE) == 0
    metrics = {row["name"]: row["value"] for row in read_json(tmp_path / "run" / "run.json")["metrics"]}
    assert 1.0 in {value for name, value in metrics.items() if name.endswith("/call_accuracy")}
