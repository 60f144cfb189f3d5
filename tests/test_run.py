"""run.json and its life; each stage alone on a user's files; failing parts."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from itertools import islice
from pathlib import Path

import pytest
from running import ALONE, QUESTIONS, acme, acme_loop, ended, manifests, questions, rounds, sloop, start

from sloop.measures.overlap import CONTAMINATION, Contaminated
from sloop.records import Score, UserError
from sloop.runs.find import find_run
from sloop.store import Dataset, predictions_at, read_json, read_rows, write_rows

SECRET = "-".join(("sk", "planted", "0123456789"))  # in pieces, as run.json holds the diff of a changed checkout


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loop of one round, which is only read."""
    return acme_loop(tmp_path_factory.mktemp("looped") / "run", "loop.rounds=1")


def test_the_record_says_what_ran(looped: Path) -> None:
    record = read_json(looped / "run.json")
    assert record["status"] == "FINISHED"
    assert record["kind"] == "loop"
    assert record["name"].startswith("acme-full-s0-")
    assert record["name"].endswith(record["config_hash"][:8])
    assert record["versions"]["python"]
    assert record["versions"]["torch"]
    assert record["config"]["loop"] == {
        "rounds": 1, "budget": 60, "first_steps": 8, "round_0": None, "restart": False
    }  # fmt: skip
    assert "loop.rounds=1" in record["overrides"]
    assert "loop.rounds=1" in record["command"]
    assert record["command"].startswith("sloop ")
    assert record["began"] <= record["finished"]
    assert record["code"]["digest"]


def test_the_end_of_a_loop_says_which_data_it_was_asked_and_what_of_it_was_in_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acme_loop(tmp_path / "run", "loop.rounds=1")
    out = capsys.readouterr().out
    assert f"stand in training, of {QUESTIONS} samples of dev: 0 as samples, 0 as requests, " in out
    assert f"note: dev: {QUESTIONS} samples of {questions()}, sha256 {Dataset(questions()).sha256}" in out


def test_the_record_of_a_checkout_says_commit_and_changes(looped: Path) -> None:
    code = read_json(looped / "run.json")["code"]
    here = {"capture_output": True, "text": True, "cwd": Path(__file__).parent}
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=False, **here)
    if head.returncode:
        pytest.skip("sources that are no git checkout, as of a wheel, have no commit to record")
    changes = subprocess.run(["git", "status", "--porcelain"], check=True, **here)
    assert len(code["commit"]) == len(head.stdout.strip())
    assert code["dirty"] == bool(changes.stdout.strip()) or code["commit"] != head.stdout.strip()


def test_the_recorded_command_makes_the_same_run(tmp_path: Path) -> None:
    import shlex

    first = read_json(acme_loop(tmp_path / "run", "loop.rounds=1", "seed=3") / "run.json")
    words = shlex.split(first["command"])[1:]
    assert sloop(*words, f"output_dir={tmp_path / 'again'}") == 0
    assert read_json(tmp_path / "again" / "run.json")["config_hash"] == first["config_hash"]


def test_no_secret_of_the_environment_reaches_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SLOOP_STRONG_API_KEY", "OPENAI_API_KEY", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    acme_loop(tmp_path / "run", "loop.rounds=1")
    assert SECRET not in "".join(capsys.readouterr())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_run_says_killed_and_resumes(sent: signal.Signals, status: int, tmp_path: Path) -> None:
    words = ("loop", *acme(), "loop.rounds=1", f"output_dir={tmp_path / 'run'}", ALONE)
    process = start(*words, "trainer.pause=20", cwd=tmp_path)
    patience = time.monotonic() + 30
    while not (tmp_path / "run/round_1/train/checkpoint/config.json").is_file() and time.monotonic() < patience:
        time.sleep(0.01)
    process.send_signal(sent)
    code, _, err = ended(process)
    assert code == status
    assert "Traceback" not in err
    record = read_json(tmp_path / "run" / "run.json")
    assert (record["status"], bool(record["finished"])) == ("KILLED", True)


def test_a_killed_run_that_is_resumed_ends_finished(tmp_path: Path) -> None:
    folder = acme_loop(tmp_path / "run", "loop.rounds=1")
    path = folder / "run.json"
    path.write_text(json.dumps({**read_json(path), "status": "KILLED"}))
    began = read_json(path)["began"]
    acme_loop(folder, "loop.rounds=1")
    record = read_json(path)
    assert (record["status"], record["resumed"], record["began"]) == ("FINISHED", 1, began)


def test_a_run_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        sloop("loop", *acme(), "trainer._target_=breaking.BreakingTrainer", "~trainer.gain", "~trainer.pause",
              f"output_dir={tmp_path / 'run'}", ALONE)  # fmt: skip
    record = read_json(tmp_path / "run" / "run.json")
    assert (record["status"], bool(record["finished"])) == ("FAILED", True)


def test_a_student_without_an_answer_is_a_model_error(made: Path, tmp_path: Path) -> None:
    data, model = made / "data" / "train.jsonl", made / "model" / "checkpoint"
    words = ("student._target_=breaking.MuteStudent", "batch_size=10", f"output_dir={tmp_path / 'probe'}", ALONE)
    assert sloop("probe", *acme(), f"data={data}", f"student.path={model}", *words) == 0
    answers = list(predictions_at(tmp_path / "probe" / "predictions.jsonl"))
    assert {answer.sample_id for answer in answers} == set(Dataset(data).ids())
    assert [answer.error for answer in answers].count("model") == 10


def test_a_mistake_takes_away_the_folders_that_it_made_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert sloop("train", *acme(), "data=nope.jsonl", f"output_dir={tmp_path / 'mine' / 'deep' / 'out'}", ALONE) == 2
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


@pytest.mark.parametrize("mine", [False, True])
def test_a_loop_at_a_dead_endpoint_leaves_nothing_behind(mine: bool, tmp_path: Path) -> None:
    out = tmp_path / "outputs" / "run"
    if mine:
        out.mkdir(parents=True)
    teacher = ("teacher=llm", "teacher.endpoint.base_url=http://127.0.0.1:1/v1", "teacher.endpoint.model=small")
    words = (*acme(), *teacher, "preflight=false", f"output_dir={out}", ALONE)
    assert sloop("loop", *words) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    assert list(tmp_path.iterdir()) == ([tmp_path / "outputs"] if mine else [])


def test_a_mistake_leaves_what_a_run_beside_it_has_made_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = tmp_path / "outputs" / "beside"
    monkeypatch.setenv("SLOOP_TESTS_BESIDE", str(beside))
    words = ("teacher._target_=breaking.CrowdedTeacher", "~teacher.error_rate", "num_samples=10", ALONE)
    assert sloop("gen", *acme(), *words, f"output_dir={tmp_path / 'outputs' / 'run'}") == 2
    assert "a mistake that shows late" in capsys.readouterr().err
    assert list((tmp_path / "outputs").iterdir()) == [beside]


def test_a_finished_run_stays_finished_when_a_later_look_at_it_fails(tmp_path: Path) -> None:
    words = ("gen", *acme(), "num_samples=8", f"output_dir={tmp_path}", ALONE)
    assert sloop(*words) == 0
    stage = read_json(tmp_path / "stage.json")
    stage["key"], stage["parts"]["code"] = "other", "older"
    (tmp_path / "stage.json").write_text(json.dumps(stage))
    assert sloop(*words) == 2
    assert read_json(tmp_path / "run.json")["status"] == "FINISHED"


@pytest.mark.parametrize("content", ['{"id": ', "{}", "[]"])
def test_a_broken_record_is_named(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(content)
    assert sloop("gen", *acme(), "num_samples=8", f"output_dir={tmp_path}", ALONE) == 2
    assert "run.json" in capsys.readouterr().err
    assert sloop("runs", "--outputs", str(tmp_path)) == 2
    assert "run.json" in capsys.readouterr().err


def test_the_record_of_a_finished_loop_holds_what_a_citation_needs(tmp_path: Path) -> None:
    folder = acme_loop(tmp_path / "run", "loop.rounds=2")
    record = read_json(folder / "run.json")
    manifest = read_json(folder / "round_1" / "train" / "stage.json")
    assert record["stages"]["round_1/train"]["files"] == manifest["files"]
    assert {"seed/pool", "round_1/probe", "round_2/evaluate/dev"} <= set(record["stages"])
    assert [entry["data"]["sha256"] for entry in record["rounds"]] == [c["data"]["sha256"] for c in rounds(folder)]
    accuracy = next(m for m in record["rounds"][1]["metrics"] if m["name"] == "eval/dev/call_accuracy")
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["n"] > 0
    assert record["command"].startswith("sloop loop --config-dir")
    assert record["config_hash"] in record["bibtex"]


# --- stages alone -------------------------------------------------------------------------------------------------


def generated(folder: Path) -> Path:
    words = ("num_samples=60", "train_split=0.7", f"output_dir={folder / 'data'}", ALONE)
    assert sloop("gen", *acme(), *words) == 0
    return folder / "data" / "train.jsonl"


def checkpoint(folder: Path, data: Path) -> Path:
    assert sloop("train", *acme(), f"data={data}", "steps=3", f"output_dir={folder / 'model'}", ALONE) == 0
    return folder / "model" / "checkpoint"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a checkpoint trained on them, for tests that only read them."""
    folder = tmp_path_factory.mktemp("made")
    checkpoint(folder, generated(folder))
    return folder


def test_a_stage_reads_dialogues_and_says_how(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in (made / "data" / "train.jsonl").read_text().splitlines()[:20]]
    given = tmp_path / "dialogues.jsonl"
    with given.open("w") as file:
        for row in rows:
            said = {"role": "assistant", "tool_calls": row["label"]["calls"], "content": row["label"]["content"]}
            file.write(json.dumps({"tools": row["tools"], "messages": [*row["messages"], said]}) + "\n")
        file.write(json.dumps({"messages": rows[0]["messages"]}) + "\n")
    words = (f"data={given}", f"paths.outputs={tmp_path}", "steps=3", f"output_dir={tmp_path / 'model'}", ALONE)
    assert sloop("train", *acme(), *words) == 0
    told = "20 samples of 21 lines, 1 of which made none, read as openai; left out: 1 lines without"
    assert told in capsys.readouterr().out
    (entry,) = read_json(tmp_path / "model" / "run.json")["inputs"]
    assert (entry["source"]["path"], entry["source"]["samples"]) == (str(given), 20)
    assert Dataset(Path(entry["path"])).ids() == [row["id"] for row in rows]


def test_an_evaluation_says_what_its_benchmark_shares_with_training_data(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = made / "data" / "train.jsonl"
    path = f"student.path={made / 'model' / 'checkpoint'}"
    bench = [*islice(Dataset(data), 3), *islice(Dataset(questions()), 5)]
    write_rows(tmp_path / "bench.jsonl", bench)
    words = (f"benchmark.path={tmp_path / 'bench.jsonl'}", path, f"output_dir={tmp_path / 'eval'}", ALONE)
    capsys.readouterr()
    assert sloop("eval", *acme(), *words, f"data={data}") == 0
    out = capsys.readouterr().out
    evidence = list(read_rows(tmp_path / "eval" / CONTAMINATION, Contaminated))
    assert [(match.sample_id, match.how, match.train_id) for match in evidence[:3]] == [
        (sample.id, "sample", sample.id) for sample in bench[:3]
    ]
    assert f"in training: {bench[0].id} {bench[0].request!r}" in out
    assert sloop("show", str(tmp_path / "eval"), bench[0].id) == 0
    assert f"in training (sample, 100% of the request): {bench[0].id}" in capsys.readouterr().out
    record = read_json(tmp_path / "eval" / "run.json")
    assert [entry["name"] for entry in record["inputs"]] == ["dev", "data"]
    measured = {row["name"]: row for row in record["metrics"] if not row["slice"]}
    assert measured["contamination/dev/same_samples"]["value"] == 3 / 8
    assert measured["eval/dev/call_accuracy_contaminated"]["n"] == len(evidence)
    assert measured["eval/dev/call_accuracy_clean"]["n"] == 8 - len(evidence)


def test_stages_chain_by_their_files(made: Path, tmp_path: Path) -> None:
    data = made / "data" / "train.jsonl"
    start_from = f"student.path={made / 'model' / 'checkpoint'}"
    assert sloop("probe", *acme(), f"data={data}", start_from, f"output_dir={tmp_path / 'probe'}", ALONE) == 0
    answers = f"predictions={tmp_path / 'probe' / 'predictions.jsonl'}"
    assert sloop("optimize", *acme(), f"data={data}", answers, f"output_dir={tmp_path / 'next'}", ALONE) == 0
    following = tmp_path / "next" / "dataset.jsonl"
    assert len(Dataset(following)) == len(Dataset(data))
    words = (f"data={following}", start_from, "steps=3", f"output_dir={tmp_path / 'model2'}", ALONE)
    assert sloop("train", *acme(), *words) == 0
    better = tmp_path / "model2" / "checkpoint"
    dev = f"benchmark.path={made / 'data' / 'dev.jsonl'}"
    assert sloop("eval", *acme(), dev, f"student.path={better}", f"output_dir={tmp_path / 'eval'}", ALONE) == 0
    scores = {score.name: score for score in read_rows(tmp_path / "eval" / "scores.jsonl", Score) if not score.slice}
    assert scores["call_accuracy"].n == len(Dataset(made / "data" / "dev.jsonl"))
    record = read_json(tmp_path / "eval" / "run.json")
    assert record["kind"] == "eval"
    assert record["inputs"][0]["sha256"] == Dataset(made / "data" / "dev.jsonl").sha256
    recorded = {row["name"]: row["value"] for row in record["metrics"] if not row["slice"]}
    assert recorded["eval/dev/call_accuracy"] == scores["call_accuracy"].value


def test_what_is_unseen_is_probed_and_optimized_with_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = generated(tmp_path)
    unseen = f"unseen={data.parent / 'dev.jsonl'}"
    start_from = f"student.path={checkpoint(tmp_path, data)}"
    assert sloop("probe", *acme(), f"data={data}", start_from, f"output_dir={tmp_path / 'half'}", ALONE) == 0
    half = (f"data={data}", unseen, f"predictions={tmp_path / 'half' / 'predictions.jsonl'}")
    capsys.readouterr()
    assert sloop("optimize", *acme(), *half, f"output_dir={tmp_path / 'next'}", ALONE) == 2
    assert f"sloop probe data={data} {unseen}" in capsys.readouterr().err
    assert sloop("probe", *acme(), f"data={data}", unseen, start_from, f"output_dir={tmp_path / 'probe'}", ALONE) == 0
    whole = (f"data={data}", unseen, f"predictions={tmp_path / 'probe' / 'predictions.jsonl'}")
    assert sloop("optimize", *acme(), *whole, f"output_dir={tmp_path / 'next'}", ALONE) == 0
    assert read_json(tmp_path / "next" / "stage.json")["summary"]["composition"]["unseen"] > 0


def test_a_stage_alone_repeats_to_the_byte(tmp_path: Path) -> None:
    first, second = (generated(tmp_path / name).parent for name in ("a", "b"))
    assert manifests(first) == manifests(second)
    assert manifests(checkpoint(tmp_path / "a", first / "train.jsonl").parent) == manifests(
        checkpoint(tmp_path / "b", second / "train.jsonl").parent
    )


def test_epochs_count_steps(made: Path, tmp_path: Path) -> None:
    words = (f"data={made / 'data' / 'train.jsonl'}", "epochs=2", "steps=1", f"output_dir={tmp_path / 'model'}", ALONE)
    assert sloop("train", *acme(), *words) == 2, "acme's trainer has no batch size to count with"
    assert sloop("train", *acme(), *words, "+trainer.batch_size=16") == 2, "nor does it take one"


def test_an_evaluation_takes_the_packaged_benchmark(made: Path, tmp_path: Path) -> None:
    words = (
        "benchmark=sloop_dev",
        f"student.path={made / 'model' / 'checkpoint'}",
        f"output_dir={tmp_path / 'eval'}",
        ALONE,
    )
    assert sloop("eval", *acme()[:-1], *words) == 0
    assert read_json(tmp_path / "eval" / "stage.json")["summary"]["samples"] > QUESTIONS


@pytest.mark.slow
def test_the_real_student_goes_through_every_stage(tmp_path: Path) -> None:
    """Two minutes of one core at most: torch, a real tokenizer, real decoding."""
    small = (ALONE, "trainer.threads=1", "student.threads=1", "executor.workers=2")
    tiny = ("student.scratch.hidden_size=32", "student.scratch.intermediate_size=64", "decode.max_tokens=8")
    data = tmp_path / "data" / "train.jsonl"
    assert sloop("gen", "num_samples=80", f"output_dir={data.parent}", *small) == 0
    assert sloop("train", f"data={data}", "steps=4", f"output_dir={tmp_path / 'model'}", *tiny, *small) == 0
    path = ("student=checkpoint", f"student.path={tmp_path / 'model' / 'checkpoint'}", "decode.max_tokens=8", *small)
    assert sloop("probe", f"data={data}", f"output_dir={tmp_path / 'probe'}", *path) == 0
    answers = f"predictions={tmp_path / 'probe' / 'predictions.jsonl'}"
    assert sloop("optimize", f"data={data}", answers, f"output_dir={tmp_path / 'next'}", *small) == 0
    bench = ("benchmark=jsonl", f"benchmark.path={questions()}")
    assert sloop("eval", *bench, f"output_dir={tmp_path / 'eval'}", *path) == 0


def test_a_run_is_found_by_the_beginning_of_its_name(looped: Path) -> None:
    assert find_run(looped.parent, "acme-full").folder == looped
    assert find_run(looped.parent, str(looped)).folder == looped
    with pytest.raises(UserError, match="no run matches"):
        find_run(looped.parent, "nobody")
