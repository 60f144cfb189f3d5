"""MLflow as a projection of the disk, against a real database."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from running import ALONE, acme, acme_loop, fresh_database, rounds, sloop

from sloop.records import UserError
from sloop.runs.cite import sweep_record
from sloop.runs.find import find_run
from sloop.runs.read import Run as RunFolder
from sloop.runs.track import Refused, Tracker, connect
from sloop.runs.views import COMPARISON, ROUNDS, TAG
from sloop.show import pages
from sloop.store import Dataset, read_json, write_json

ASKED, PER_SAMPLE = "evaluate/dev", {"grades.jsonl", "predictions.jsonl", "scores.jsonl"}


def client_of(mlruns: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{mlruns / 'mlflow.db'}")


def runs_of(mlruns: Path, study: str = "acme") -> list[Run]:
    client = client_of(mlruns)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=100))


def kind(runs: Sequence[Run], name: str) -> list[Run]:
    return [run for run in runs if run.data.tags["sloop.kind"] == name]


def points(mlruns: Path, runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(step, value) of every point of every metric, by the run's own id."""
    client = client_of(mlruns)
    return {
        (run.data.tags["sloop.id"], name): sorted(
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)
        )
        for run in runs
        for name in run.data.metrics
    }


def figures_logged(mlruns: Path, run: Run) -> bytes | None:
    """The page of figures among a run's artifacts; None where there is none."""
    client = client_of(mlruns)
    if "figures.html" not in [item.path for item in client.list_artifacts(run.info.run_id)]:
        return None
    return Path(client.download_artifacts(run.info.run_id, "figures.html")).read_bytes()


def projected(mlruns: Path, folder: Path) -> Tracker:
    tracker = connect(None, mlruns, "acme", pages.page_of)
    tracker.project(folder)
    return tracker


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loop of two rounds that was logged as it ran."""
    root = tmp_path_factory.mktemp("tracked")
    fresh_database(root / "mlruns")
    words = (f"output_dir={root / 'outputs' / 'run'}", f"paths.mlruns={root / 'mlruns'}", "loop.rounds=2")
    assert sloop("loop", *acme(), *words) == 0
    return root


def test_rounds_are_nested_in_the_loop(finished: Path) -> None:
    found = runs_of(finished / "mlruns")
    (loop,) = kind(found, "loop")
    children = kind(found, "round")
    assert sorted(run.data.tags["sloop.round"] for run in children) == ["1", "2"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {loop.info.run_id}
    assert "mlflow.parentRunId" not in loop.data.tags
    assert {run.info.status for run in found} == {"FINISHED"}


def test_the_loop_has_one_point_a_round_with_the_round_as_step(finished: Path) -> None:
    (loop,) = kind(runs_of(finished / "mlruns"), "loop")
    measured = points(finished / "mlruns", [loop])[loop.data.tags["sloop.id"], "eval/dev/call_accuracy"]
    on_disk = [
        (content["round"], row["value"])
        for content in rounds(finished / "outputs" / "run")
        for row in content["metrics"]
        if row["name"] == "eval/dev/call_accuracy" and not row["slice"]
    ]
    assert measured == on_disk
    assert len(measured) == 2


def test_every_metric_of_the_disk_is_logged(finished: Path) -> None:
    (loop,) = kind(runs_of(finished / "mlruns"), "loop")
    wanted = {
        "/".join(filter(None, (row["name"], row["slice"])))
        for content in rounds(finished / "outputs" / "run")
        for row in content["metrics"]
        if row["value"] is not None
    }
    assert wanted <= set(loop.data.metrics)
    assert "interval/eval/dev/call_accuracy/low" in loop.data.metrics


def test_slices_of_any_name_are_logged_each_by_itself(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished / "outputs" / "run", tmp_path / "run")
    first = read_json(folder / "round_1" / "round.json")
    slices = ["n<10 (easy)", "n>10 (easy)", "..", "Prüfung", "x" * 300]
    score = {"name": "eval/dev/call_accuracy", "value": 0.5, "n": 4, "low": 0.2, "high": 0.8}
    first["metrics"] = [{**score, "slice": name} for name in slices]
    write_json(folder / "round_1" / "round.json", first)
    shutil.rmtree(folder / "round_2")
    fresh_database(tmp_path / "mlruns")
    projected(tmp_path / "mlruns", folder)
    (one,) = kind(runs_of(tmp_path / "mlruns"), "loop")
    found = {name.removeprefix("eval/dev/call_accuracy/") for name in one.data.metrics if name.startswith("eval/")}
    assert len(found) == len(slices)
    assert "Prüfung" in found
    assert sum(name.startswith("n_10 _easy__") for name in found) == 2


def test_times_are_those_of_the_disk(finished: Path) -> None:
    from datetime import datetime

    (loop,) = kind(runs_of(finished / "mlruns"), "loop")
    record = read_json(finished / "outputs" / "run" / "run.json")
    told = [int(datetime.fromisoformat(record[key]).timestamp() * 1000) for key in ("began", "finished")]
    assert [loop.info.start_time, loop.info.end_time] == told


def test_the_configuration_is_params_and_the_code_is_tags(finished: Path) -> None:
    (loop,) = kind(runs_of(finished / "mlruns"), "loop")
    assert loop.data.params["loop.budget"] == "60"
    assert loop.data.params["student._target_"] == "acme_tools.LookupStudent"
    record = read_json(finished / "outputs" / "run" / "run.json")
    assert loop.data.tags["sloop.config_hash"] == record["config_hash"]
    assert loop.data.tags["sloop.variant"] == "full"


def test_datasets_have_our_digest(finished: Path) -> None:
    found = runs_of(finished / "mlruns")
    (loop,) = kind(found, "loop")
    wanted = [content["data"]["sha256"] for content in rounds(finished / "outputs" / "run")]
    for run, expected in ((loop, wanted), *zip(kind(found, "round"), wanted[::-1], strict=True)):
        logged = run.inputs.dataset_inputs
        tags = [{tag.key: tag.value for tag in entry.tags} for entry in logged]
        told = [tag["sloop.sha256"] for tag in tags]
        trained = [tag["sloop.sha256"] for tag in tags if tag["mlflow.data.context"] == "training"]
        assert sorted(trained) == sorted(expected if isinstance(expected, list) else [expected])
        (asked,) = [e.dataset.name for e, tag in zip(logged, tags, strict=True) if tag["sloop.sha256"] not in trained]
        assert asked == "dev"
        assert all(digest.startswith(entry.dataset.digest) for digest, entry in zip(told, logged, strict=True))


def test_records_by_sample_are_artifacts_and_weights_are_not(finished: Path) -> None:
    client = client_of(finished / "mlruns")
    first = next(run for run in kind(runs_of(finished / "mlruns"), "round") if run.data.tags["sloop.round"] == "1")
    places = [item.path for item in client.list_artifacts(first.info.run_id, "optimize")]
    assert "optimize/rulings.jsonl" in places
    assert {item.path.rpartition("/")[2] for item in client.list_artifacts(first.info.run_id, ASKED)} >= PER_SAMPLE
    logged = client.download_artifacts(first.info.run_id, f"{ASKED}/grades.jsonl")
    assert Path(logged).read_bytes() == (finished / "outputs" / "run" / "round_1" / ASKED / "grades.jsonl").read_bytes()
    assert [item.path for item in client.list_artifacts(first.info.run_id, "round")] == ["round/contamination.jsonl"]
    assert first.data.metrics["contamination/dev/same_requests"] == 0
    names = {path.name for path in (finished / "mlruns").rglob("*")}
    assert "weights.json" not in names


def test_figures_are_an_artifact_of_the_loop(finished: Path) -> None:
    found = runs_of(finished / "mlruns")
    (loop,) = kind(found, "loop")
    page = figures_logged(finished / "mlruns", loop)
    assert page is not None
    run = find_run(finished, str(finished / "outputs" / "run"))
    assert page == pages.page(run.name, pages.figures_of(run)).encode()
    assert [figures_logged(finished / "mlruns", run) for run in kind(found, "round")] == [None, None]


def test_projecting_again_changes_nothing(finished: Path) -> None:
    mlruns, folder = finished / "mlruns", finished / "outputs" / "run"
    before = runs_of(mlruns)
    measured = points(mlruns, before)
    drawn = [figures_logged(mlruns, run) for run in kind(before, "loop")]
    projected(mlruns, folder)
    record = read_json(folder / "run.json")
    del record["mlflow"]  # as after a copy to another machine: everything is logged anew into the same run
    (folder / "run.json").write_text(json.dumps(record))
    projected(mlruns, folder)
    after = runs_of(mlruns)
    assert {run.info.run_id for run in after} == {run.info.run_id for run in before}
    assert points(mlruns, after) == measured
    assert [figures_logged(mlruns, run) for run in kind(after, "loop")] == drawn
    assert [len(run.inputs.dataset_inputs) for run in after] == [len(run.inputs.dataset_inputs) for run in before]


def test_figures_are_drawn_again_where_a_round_has_changed(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished / "outputs" / "run", tmp_path / "run")
    fresh_database(tmp_path / "mlruns")
    drawn = []
    for value in (0.25, 0.25, 0.75):
        content = read_json(folder / "round_1" / "round.json")
        for row in content["metrics"]:
            row |= {"value": value} if row["name"] == "eval/dev/call_accuracy" else {}
        write_json(folder / "round_1" / "round.json", content)
        projected(tmp_path / "mlruns", folder)
        drawn.append(figures_logged(tmp_path / "mlruns", kind(runs_of(tmp_path / "mlruns"), "loop")[0]))
    assert drawn[0] == drawn[1] != drawn[2]


def test_sync_makes_a_new_database_from_the_disk(finished: Path, tmp_path: Path) -> None:
    fresh_database(tmp_path / "mlruns")
    words = ("--outputs", str(finished / "outputs"), "--mlruns", str(tmp_path / "mlruns"))
    for _ in range(2):
        assert sloop("runs", "sync", *words) == 0
    old, new = runs_of(finished / "mlruns"), runs_of(tmp_path / "mlruns")
    assert points(tmp_path / "mlruns", new) == points(finished / "mlruns", old)
    for part in ("sloop.id", "sloop.kind", "mlflow.runName"):
        assert sorted(run.data.tags[part] for run in new) == sorted(run.data.tags[part] for run in old)


def test_a_sweep_holds_its_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fresh_database(tmp_path / "mlruns")
    assert sloop("loop", "-m", *acme(), "variant=full,static", "loop.rounds=1") == 0
    found = runs_of(tmp_path / "mlruns")
    (sweep,) = kind(found, "sweep")
    loops = kind(found, "loop")
    assert sorted(run.data.tags["sloop.variant"] for run in loops) == ["full", "static"]
    assert {run.data.tags["mlflow.parentRunId"] for run in loops} == {sweep.info.run_id}
    assert {run.data.tags["mlflow.parentRunId"] for run in kind(found, "round")} == {run.info.run_id for run in loops}
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in loops:
        record = read_json(next(tmp_path.glob(f"outputs/acme/{run.data.tags['sloop.run']}/run.json")))
        assert f"variant={run.data.tags['sloop.variant']}" in record["overrides"], "each job's own, not the sweep's"
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["mlruns", "outputs"]


@pytest.mark.slow
def test_jobs_side_by_side_share_their_sweep_and_their_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that each import everything."""
    monkeypatch.chdir(tmp_path)
    fresh_database(tmp_path / "mlruns")
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert sloop("loop", "-m", *acme(), "variant=full,static", "loop.rounds=1", *side_by_side) == 0
    found = runs_of(tmp_path / "mlruns")
    (sweep,) = kind(found, "sweep")
    assert [run.data.tags["mlflow.parentRunId"] for run in kind(found, "loop")] == [sweep.info.run_id] * 2
    pools = [path.stat().st_ino for path in tmp_path.glob("outputs/acme/*/seed/pool/train.jsonl")]
    assert len(pools) == 2
    assert len(set(pools)) == 1, "made once, linked once"


def test_a_failed_sweep_is_marked_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fresh_database(tmp_path / "mlruns")
    assert sloop("loop", "-m", *acme(), "loop.rounds=1", "student.skill=0.4,high") == 1
    found = runs_of(tmp_path / "mlruns")
    assert [run.info.status for run in kind(found, "sweep")] == ["FAILED"]
    assert [run.info.status for run in kind(found, "loop")] == ["FINISHED"]


def test_a_stage_alone_is_a_run_with_its_datasets(tmp_path: Path) -> None:
    fresh_database(tmp_path / "mlruns")
    into = f"paths.mlruns={tmp_path / 'mlruns'}"
    data = tmp_path / "data" / "train.jsonl"
    assert sloop("gen", *acme(), "num_samples=40", f"output_dir={data.parent}", into) == 0
    assert sloop("train", *acme(), f"data={data}", "steps=2", f"output_dir={tmp_path / 'model'}", into) == 0
    model = f"student.path={tmp_path / 'model' / 'checkpoint'}"
    assert sloop("probe", *acme(), f"data={data}", model, f"output_dir={tmp_path / 'probe'}", into) == 0
    answers = f"predictions={tmp_path / 'probe' / 'predictions.jsonl'}"
    assert sloop("optimize", *acme(), f"data={data}", answers, f"output_dir={tmp_path / 'next'}", into) == 0
    assert sloop("eval", *acme(), model, f"output_dir={tmp_path / 'eval'}", into) == 0
    found = {run.data.tags["sloop.kind"]: run for run in runs_of(tmp_path / "mlruns")}
    assert set(found) == {"gen", "train", "probe", "optimize", "eval"}
    contexts = {
        name: {tag.value for entry in run.inputs.dataset_inputs for tag in entry.tags if tag.key.startswith("mlflow")}
        for name, run in found.items()
    }
    assert contexts["eval"] == {"evaluation"}
    assert contexts["train"] == {"training"}
    sha256 = Dataset(data).sha256
    for name, run in found.items():
        digests = [tag.value for entry in run.inputs.dataset_inputs for tag in entry.tags if tag.key == "sloop.sha256"]
        assert digests, name
        assert sha256 in digests or name == "eval"
        assert run.info.status == "FINISHED"
    assert found["eval"].data.metrics["eval/dev/call_accuracy"] > 0
    assert found["train"].data.metrics["train/curve/loss"] > 0
    logged = client_of(tmp_path / "mlruns").list_artifacts(found["eval"].info.run_id, "eval")
    assert {f"eval/{name}" for name in PER_SAMPLE} <= {item.path for item in logged}
    assert [name for name in found if figures_logged(tmp_path / "mlruns", found[name])] == ["eval"]


def test_reap_marks_what_was_abandoned_here_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = acme_loop(tmp_path / "outputs" / "run", "loop.rounds=1")
    fresh_database(tmp_path / "mlruns")
    path = folder / "run.json"
    machine = read_json(path)["machine"]
    gone = 2**22 + 1  # above the largest process id of Linux
    cases = {"abandoned": {"pid": gone}, "alive": {}, "elsewhere": {"pid": gone, "host": "another"}}
    ids = {}
    for name, change in cases.items():
        record = read_json(path)
        record.pop("mlflow", None)
        record |= {"id": name, "name": name, "status": "RUNNING", "finished": None, "machine": {**machine, **change}}
        path.write_text(json.dumps(record))
        tracker = connect(None, tmp_path / "mlruns", "acme")
        ids[name] = tracker.project(folder)
    words = ("--outputs", str(tmp_path / "outputs"), "--mlruns", str(tmp_path / "mlruns"))
    assert sloop("runs", "reap", *words) == 0
    client = client_of(tmp_path / "mlruns")
    status = {name: client.get_run(run_id).info.status for name, run_id in ids.items()}
    assert status == {"abandoned": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING"}
    assert "marked as KILLED: full-s0-acme-abandoned" in capsys.readouterr().out


def test_a_resumed_run_is_known_by_its_new_process(tmp_path: Path) -> None:
    folder = acme_loop(tmp_path / "run", "loop.rounds=1")
    fresh_database(tmp_path / "mlruns")
    tracker = connect(None, tmp_path / "mlruns", "acme")
    path = folder / "run.json"
    run_id = tracker.project(folder)
    record = read_json(path)
    path.write_text(json.dumps({**record, "machine": {**record["machine"], "pid": 77}}))
    assert tracker.project(folder) == run_id
    assert client_of(tmp_path / "mlruns").get_run(run_id).data.tags["sloop.pid"] == "77"


def test_an_abandoned_sweep_is_reaped(tmp_path: Path) -> None:
    fresh_database(tmp_path / "mlruns")
    tracker = connect(None, tmp_path / "mlruns", "acme")
    record = sweep_record("acme", "loop")
    gone = record.machine.model_copy(update={"pid": 2**22 + 1})
    run_id = tracker.sweep(record.model_copy(update={"machine": gone}))
    assert tracker.reap() == [record.name]
    assert client_of(tmp_path / "mlruns").get_run(run_id).info.status == "KILLED"


@pytest.mark.parametrize("stage", ["gen", pytest.param("eval", marks=pytest.mark.slow)])
def test_any_stage_sweeps(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fresh_database(tmp_path / "mlruns")
    assert sloop("gen", *acme(), "num_samples=20", "output_dir=data", ALONE) == 0
    assert sloop("train", *acme(), "data=data/train.jsonl", "steps=2", "output_dir=model", ALONE) == 0
    words = ("num_samples=8",) if stage == "gen" else ("student.path=model/checkpoint",)
    assert sloop(stage, "-m", *acme(), *words, "seed=0,1") == 0
    found = runs_of(tmp_path / "mlruns")
    (sweep,) = kind(found, "sweep")
    ran = kind(found, stage)
    assert sorted(run.data.tags["sloop.seed"] for run in ran) == ["0", "1"]
    assert {run.data.tags["mlflow.parentRunId"] for run in ran} == {sweep.info.run_id}
    assert all(run.inputs.dataset_inputs for run in ran)


def test_a_checkpoint_is_a_logged_model_whose_scores_are_tied_to_their_data(finished: Path) -> None:
    client = client_of(finished / "mlruns")
    found = runs_of(finished / "mlruns")
    (loop,) = kind(found, "loop")
    models = client.search_logged_models([loop.info.experiment_id])
    rounds_run = {run.data.tags["sloop.round"]: run for run in kind(found, "round")}
    assert sorted(model.tags["sloop.round"] for model in models) == ["1", "2"]
    for model in models:
        number = int(model.tags["sloop.round"])
        content = rounds(finished / "outputs" / "run")[number - 1]
        run = rounds_run[str(number)]
        assert model.params == {"trained_on": content["data"]["sha256"]}
        assert Path(model.tags["sloop.checkpoint"]).is_dir()
        assert [out.model_id for out in run.outputs.model_outputs] == [model.model_id]
        (measured,) = [metric for metric in model.metrics if metric.key == "eval/dev/call_accuracy"]
        assert measured.value == run.data.metrics["eval/dev/call_accuracy"]
        (dataset,) = [one.dataset for one in run.inputs.dataset_inputs if one.dataset.name == "dev"]
        assert (measured.dataset_name, measured.dataset_digest) == ("dev", dataset.digest)


def test_links_open_views_that_are_saved_with_the_study(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("ui", "--links", "--mlruns", str(finished / "mlruns"), "--port", "5999")
    tags = []
    for _ in range(2):
        assert sloop(*words) == 0
        experiment = client_of(finished / "mlruns").get_experiment_by_name("acme")
        assert experiment is not None
        tags.append(experiment.tags)
        out = capsys.readouterr().out
    assert tags[0] == tags[1]
    page = f"http://127.0.0.1:5999/#/experiments/{experiment.experiment_id}/runs?compareRunsMode=CHART"
    assert f"acme charts: {page}&viewStateShareKey={ROUNDS}" in " ".join(out.split())
    view = json.loads(json.loads(tags[0][f"{TAG}{ROUNDS}"])["state"])
    (loop,) = kind(runs_of(finished / "mlruns"), "loop")
    shown = [card["metricKey"] for card in view["compareRunCharts"]]
    assert shown[0] == "eval/dev/call_accuracy"
    assert set(shown) <= set(loop.data.metrics)
    assert {card["metricSectionId"] for card in view["compareRunCharts"]} == {
        section["uuid"] for section in view["compareRunSections"]
    }
    compared = json.loads(json.loads(tags[0][f"{TAG}{COMPARISON}"])["state"])
    (table,) = [card for card in compared["compareRunCharts"] if card["type"] == "DIFFERENCE"]
    columns = {section["uuid"]: section.get("columns") for section in compared["compareRunSections"]}
    assert columns == {"eval": None, table["metricSectionId"]: 1}


def test_a_port_that_is_taken_is_told_before_links_are_printed(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert sloop("ui", "--mlruns", str(finished / "mlruns"), "--port", str(port)) == 2
    said = capsys.readouterr()
    assert "viewStateShareKey" not in said.out
    assert f"--port={port}: nothing can listen there" in " ".join(said.err.split())


@pytest.mark.slow
def test_the_server_of_the_ui_ends_with_it(finished: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ("ui", "--mlruns", str(finished / "mlruns"), "--port", str(port))
    process = subprocess.Popen([sys.executable, "-m", "sloop", *words])
    try:
        assert answers(port, within=120)
    finally:
        process.terminate()
        process.wait(30)
    assert not answers(port, within=0)


def answers(port: int, *, within: float) -> bool:
    """Whether something listens on a port of this machine, within so many seconds."""
    ends = time.monotonic() + within
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        if time.monotonic() >= ends:
            return False
        time.sleep(0.2)


def test_a_name_in_mlflow_tells_loops_apart_within_what_a_column_shows(finished: Path) -> None:
    run = RunFolder.at(finished / "outputs" / "run")
    assert run.label.startswith("full-s0-")
    (loop,) = kind(runs_of(finished / "mlruns"), "loop")
    assert loop.info.run_name == run.label
    assert find_run(finished / "outputs", run.label).folder == run.folder


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"tracking\.uri=http://127\.0\.0\.1:9"):
        connect("http://127.0.0.1:9", tmp_path / "mlruns", "acme")


def test_a_server_that_is_down_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = tmp_path / "outputs" / "run"
    words = (f"output_dir={folder}", "tracking.uri=http://127.0.0.1:9", f"paths.mlruns={tmp_path / 'mlruns'}")
    assert sloop("loop", *acme(), *words, "loop.rounds=2") == 0
    err = capsys.readouterr().err
    assert err.count("not logged") == 1
    assert "sloop runs sync" in err
    assert read_json(folder / "run.json")["status"] == "FINISHED"
    fresh_database(tmp_path / "later")
    assert sloop("runs", "sync", "--outputs", str(tmp_path), "--mlruns", str(tmp_path / "later")) == 0
    assert len(runs_of(tmp_path / "later")) == 3


def test_a_run_without_tracking_touches_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    acme_loop(tmp_path / "outputs" / "run", "loop.rounds=1", ALONE)
    assert not (tmp_path / "mlruns").exists()


def test_artifacts_of_a_project_that_was_moved_are_found(finished: Path, tmp_path: Path) -> None:
    place = shutil.copytree(finished, tmp_path / "before")
    fresh_database(place / "fresh")
    connect(None, place / "fresh", "acme").project(place / "outputs" / "run")
    moved = place.rename(tmp_path / "after project")
    tracker = connect(None, moved / "fresh", "acme")
    found = runs_of(moved / "fresh")
    here = (moved / "fresh" / "artifacts").as_uri() + "/"
    assert [run.info.artifact_uri.startswith(here) for run in found] == [True] * 3
    models = client_of(moved / "fresh").search_logged_models([found[0].info.experiment_id])
    assert [model.artifact_location.startswith(here) for model in models] == [True] * 2
    (loop,) = kind(found, "loop")
    assert [item.path for item in client_of(moved / "fresh").list_artifacts(loop.info.run_id)] == ["run.json"]
    assert tracker.find(RunFolder.at(moved / "outputs" / "run")) == loop.info.run_id, "it is the run that is there"


def test_a_project_that_was_copied_has_its_own_runs(finished: Path, tmp_path: Path) -> None:
    place = shutil.copytree(finished / "outputs" / "run", tmp_path / "first" / "run")
    fresh_database(tmp_path / "first" / "mlruns")
    run_id = connect(None, tmp_path / "first" / "mlruns", "acme").project(place)
    copy = shutil.copytree(tmp_path / "first", tmp_path / "second")
    assert connect(None, copy / "mlruns", "acme").project(copy / "run") == run_id


def test_artifacts_of_a_copied_database_alone_stay_where_they_are(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    for file in (finished / "mlruns").glob("mlflow.db*"):
        shutil.copy(file, tmp_path / "mlruns")
    connect(None, tmp_path / "mlruns", "acme")
    (loop,) = kind(runs_of(tmp_path / "mlruns"), "loop")
    assert figures_logged(tmp_path / "mlruns", loop) is not None


def logged_state(mlruns: Path) -> list[tuple[object, ...]]:
    """All that MLflow shows of the study's runs."""
    return [(run.info.run_id, run.info.status, run.info.end_time, run.data.metrics, run.data.tags, run.data.params)
            for run in runs_of(mlruns)]  # fmt: skip


@pytest.mark.parametrize("change", [{}, {"config_hash": "0" * 64}, {"kind": "eval"}, {"sweep": "abc"}], ids=str)
def test_a_run_folder_with_the_id_of_ones_own_is_not_logged_over_it(
    finished: Path, tmp_path: Path, change: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    place = shutil.copytree(finished / "outputs" / "run", tmp_path / "outputs" / "own")
    fresh_database(tmp_path / "mlruns")
    connect(None, tmp_path / "mlruns", "acme").project(place)
    before = logged_state(tmp_path / "mlruns")
    stranger = shutil.copytree(place, tmp_path / "outputs" / "strangers")
    record = read_json(stranger / "run.json")
    del record["mlflow"]
    write_json(stranger / "run.json", {**record, "name": "strangers", "status": "FAILED", **change})
    first = read_json(stranger / "round_1" / "round.json")
    first["metrics"] = [{**row, "value": 0.9} for row in first["metrics"]]
    write_json(stranger / "round_1" / "round.json", first)
    words = ("--outputs", str(tmp_path / "outputs"), "--mlruns", str(tmp_path / "mlruns"))
    assert sloop("runs", "sync", *words) == 2
    told = capsys.readouterr()
    assert f"not logged: {stranger}: the run that MLflow has under its id {record['id']}" in told.err
    assert f"logged: {read_json(place / 'run.json')['name']}" in told.out
    assert logged_state(tmp_path / "mlruns") == before


def test_a_run_folder_whose_id_is_that_of_a_round_is_not_logged_over_it(finished: Path, tmp_path: Path) -> None:
    place = shutil.copytree(finished / "outputs" / "run", tmp_path / "own")
    fresh_database(tmp_path / "mlruns")
    tracker = connect(None, tmp_path / "mlruns", "acme")
    tracker.project(place)
    before = logged_state(tmp_path / "mlruns")
    record = read_json(place / "run.json")
    stranger = shutil.copytree(place, tmp_path / "strangers")
    write_json(stranger / "run.json", {**record, "id": f"{record['id']}-1"})
    with pytest.raises(Refused, match="has another configuration"):
        tracker.project(stranger)
    assert logged_state(tmp_path / "mlruns") == before
