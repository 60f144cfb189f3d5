"""Questions of a benchmark and wrong answers of a round in MLflow, against a real database."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from running import acme, fresh_database, questions, sloop

from sloop.records import Sample
from sloop.runs.destination import led
from sloop.runs.read import Run
from sloop.runs.track import connect
from sloop.store import read_json, read_rows, write_json

MOST = 2


def test_questions_of_every_slice_and_wrong_answers_are_datasets_and_traces_once(tmp_path: Path) -> None:
    mlruns, folder = tmp_path / "mlruns", tmp_path / "run"
    fresh_database(mlruns)
    words = (
        f"output_dir={folder}",
        f"paths.mlruns={mlruns}",
        "loop.rounds=1",
        f"tracking.failures={MOST}",
        "tracking.questions=3",
    )
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
    found = client.search_datasets(experiment_ids=[experiment.experiment_id])
    asked: dict[str, list[str]] = {}
    for sample in read_rows(questions(), Sample):
        asked.setdefault(sample.slice, []).append(sample.id)
    run = Run.at(folder)
    with led(uri, experiment.experiment_id):
        rows = {dataset.name: {row.tags["sloop.sample"] for row in dataset.records} for dataset in found}
    assert rows == {
        f"{run.label} round 1: wrong on dev": set(wrong),
        **{f"dev {name} {run.data_sha256('dev', 1)[:8]}": set(sorted(ids)[:3]) for name, ids in asked.items()},
    }
