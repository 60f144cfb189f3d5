"""The texts that models were asked with, in MLflow's prompt registry, against a real database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from running import fresh_database, run_plain

from sloop.engine.build import find
from sloop.engine.identity import ROOT, package_digest
from sloop.records import RUN_FILE, RunRecord
from sloop.runs.destination import EXPERIMENT_VARIABLE, ID_VARIABLE, URI_VARIABLE
from sloop.runs.prompts import ASKING, FOLDER, prompts_of
from sloop.runs.track import connect
from sloop.store import write_json

VARIABLES = (EXPERIMENT_VARIABLE, ID_VARIABLE, URI_VARIABLE)
JUDGED = {"teacher": {"_target_": "sloop.teachers.llm.LLMTeacher"}, "judge": {"_target_": "sloop.judges.llm.LLMJudge"}}


def plain(name: str, **config: Any) -> dict[str, Any]:
    given = run_plain(name)
    return given | {"config": given["config"] | config, "code": {"version": "0", "digest": package_digest()}}


def test_every_packaged_text_is_that_of_a_component() -> None:
    texts = {name for names in ASKING.values() for name in names}
    assert texts == {path.stem for path in (ROOT / FOLDER).glob("*.jinja")}
    for target in ASKING:
        find(target, "component")


def test_texts_that_are_not_known_to_have_been_asked_are_left_out() -> None:
    assert set(prompts_of(RunRecord.model_validate(plain("a", **JUDGED)))) == {"assistant", "judge", "user"}
    own = JUDGED | {"teacher": {**JUDGED["teacher"], "prompts": "mine"}}
    assert set(prompts_of(RunRecord.model_validate(plain("a", **own)))) == {"judge"}
    assert prompts_of(RunRecord.model_validate(plain("a"))) == {}
    assert prompts_of(RunRecord.model_validate(run_plain("a") | {"config": plain("a", **JUDGED)["config"]})) == {}


def test_a_text_is_one_version_and_linked_to_every_run_that_used_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {name: os.environ.get(name) for name in VARIABLES}
    fresh_database(tmp_path / "mlruns")
    runs = {}
    for name, study in (("a", "one"), ("b", "one"), ("c", "two")):
        write_json(tmp_path / name / RUN_FILE, plain(name, **JUDGED) | {"study": study})
        tracker = connect(None, tmp_path / "mlruns", study)
        runs[name] = tracker.project(tmp_path / name)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    (version,) = client.search_prompt_versions("sloop-judge")
    assert version.template == (ROOT / FOLDER / "judge.jinja").read_text()
    for run_id in runs.values():
        assert '"sloop-judge"' in client.get_run(run_id).data.tags["mlflow.linkedPrompts"]
    for study in ("one", "two"):
        experiment = client.get_experiment_by_name(study)
        assert experiment is not None
        listed = client.search_prompts(f"experiment_id = '{experiment.experiment_id}'")
        assert {prompt.name for prompt in listed} == {"sloop-assistant", "sloop-judge", "sloop-user"}
    assert {name: os.environ.get(name) for name in VARIABLES} == before
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "mlruns"}, "no database of MLflow's own"
