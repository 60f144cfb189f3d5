"""Wrong answers of a round in MLflow, against a real database."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from running import acme, fresh_database, sloop

from sloop.runs.read import Run
from sloop.runs.track import connect
from sloop.store import read_json, write_json

MOST = 2


def test_wrong_answers_are_traces_and_an_evaluation_dataset_once(tmp_path: Path) -> None:
    mlruns, folder = tmp_path / "mlruns", tmp_path / "run"
    fresh_database(mlruns)
    words = (f"output_dir={folder}", f"paths.mlruns={mlruns}", "loop.rounds=1", f"tracking.failures={MOST}")
    assert sloop("loop", *acme(), *words) == 0
    record = read_json(folder / "run.json")
    del record["mlflow"]
    write_json(folder / "run.json", record)
    connect(None, mlruns, "acme").project(folder)

    uri = f"sqlite:///{mlruns / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("acme")
    assert experiment is not None
    traces = client.search_traces(locations=[experiment.experiment_id])
    grades = Run.at(folder).grades("dev", 1)
    wrong = sorted(name for name, grade in grades.items() if grade.correct is False)[:MOST]
    assert sorted(trace.info.tags["sloop.failure"] for trace in traces) == [f"dev/{name}" for name in wrong]
    (child,) = client.search_runs([experiment.experiment_id], "tags.`sloop.kind` = 'round'")
    for trace in traces:
        assert trace.info.trace_metadata["mlflow.sourceRun"] == child.info.run_id
        said = {assessment.name: assessment for assessment in trace.info.assessments}
        grade = grades[trace.info.tags["sloop.failure"].removeprefix("dev/")]
        assert said["correct"].feedback.value is False
        assert said["correct"].rationale == (grade.reason or grade.error)
        assert said["label"].expectation.value["calls"] or not grade.calls_expected
    (dataset,) = client.search_datasets(experiment_ids=[experiment.experiment_id])
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    assert {row.tags["sloop.sample"] for row in dataset.records} == set(wrong)
    mlflow.set_tracking_uri(before)
