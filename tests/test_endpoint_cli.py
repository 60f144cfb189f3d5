"""`sloop eval` and `sloop probe` against an endpoint, from the command line to the files."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import answer_right, everything_under
from endpoint import Endpoint, serving
from fault_proxy import faulty
from running import ALONE, ended, fresh_database, questions, sloop, start

from sloop.models.endpoint import WAITING_FACTOR
from sloop.models.environment import VARIABLES
from sloop.store import Dataset, predictions_at, read_json, write_json

KEY = "-".join(("sk", "planted", "0123456789"))  # in pieces, as run.json holds the diff of a changed checkout


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        answer_right(server, list(Dataset(questions())))
        yield server


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # undone afterwards, whatever a file puts there


def words(url: str, *more: str) -> tuple[str, ...]:
    return ("student=endpoint", f"student.endpoint.base_url={url}", "student.endpoint.model=small", *more)


def asked() -> tuple[str, ...]:
    return ("benchmark=jsonl", f"benchmark.path={questions()}")


def test_a_key_in_the_environment_file_reaches_the_endpoint_and_nothing_else(
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    endpoint.key = KEY
    fresh_database(tmp_path / "mlruns")
    (tmp_path / ".env").write_text(f"SLOOP_WEAK_API_KEY={KEY}\nSLOOP_WEAK_BASE_URL={endpoint.url}\n")
    monkeypatch.chdir(tmp_path)
    caplog.set_level("DEBUG")
    assert sloop("eval", "student=endpoint", "student.endpoint.model=small", *asked(), "output_dir=run") == 0
    record = read_json(tmp_path / "run" / "run.json")
    accuracy = next(row for row in record["metrics"] if row["name"].endswith("/call_accuracy") and not row["slice"])
    assert (accuracy["value"], accuracy["n"]) == (1.0, len(Dataset(questions())))
    assert record["config"]["student"]["endpoint"]["base_url"] == endpoint.url
    (tmp_path / ".env").unlink()
    shown = capfd.readouterr()
    assert "POST" in caplog.text
    for text in (everything_under(tmp_path), shown.out, shown.err, caplog.text):
        assert KEY not in text


def test_an_azure_resource_gets_its_version_and_its_key_in_its_own_way(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOOP_WEAK_API_KEY", KEY)
    azure = ("endpoint@student.endpoint=azure", *words(endpoint.url), f"data={questions()}", ALONE)
    assert sloop("probe", *azure, f"output_dir={tmp_path / 'run'}") == 0
    assert set(endpoint.queries) == {"api-version=preview"}
    assert {headers.get("api-key") for headers in endpoint.headers} == {KEY}
    assert KEY not in everything_under(tmp_path)


def test_a_probe_measures_perplexities(endpoint: Endpoint, tmp_path: Path) -> None:
    assert sloop("probe", *words(endpoint.url, f"data={questions()}", f"output_dir={tmp_path / 'run'}", ALONE)) == 0
    found = predictions_at(tmp_path / "run" / "predictions.jsonl")
    assert all(answer.perplexity is not None and answer.error is None for answer in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("down", "nobody listens there"),
        ("student.endpoint.model=large", "has no such model"),
        ("key", "Put the right one into SLOOP_WEAK_API_KEY"),
        ("student.endpoint.base_url=nowhere", "not an address"),
        ("student.answer_format=nonsense", "answer_format='nonsense': allowed: apertus"),
        ("cache=read_only", "Run with cache=use first"),
        ("student.endpoint.limits.concurrency=0", "student.endpoint.limits.concurrency=0"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    url = endpoint.url
    if change == "key":
        endpoint.key = "sk-right"
    if change == "down":
        url = "http://127.0.0.1:1/v1"
    more = (change,) if "=" in change else ()
    out = f"paths.outputs={tmp_path / 'outputs'}"
    assert sloop("eval", *words(url, *asked(), out, ALONE, *more)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert not [line for line in lines if "Traceback" in line]
    assert not (tmp_path / "outputs").exists()


def test_a_mistake_leaves_no_folder_that_was_named_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    assert sloop("eval", *words("http://127.0.0.1:1/v1", *asked(), "output_dir=run", ALONE)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_a_model_its_key_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("eval", "student=endpoint", ALONE) == 2
    assert "student.endpoint.model is missing" in capsys.readouterr().err


def test_a_repetition_from_kept_replies_writes_the_same_bytes(endpoint: Endpoint, tmp_path: Path) -> None:
    shared = (f"data={questions()}", ALONE, f"paths.outputs={tmp_path}", "preflight=false")
    assert sloop("probe", *words(endpoint.url, *shared, "cache=use", f"output_dir={tmp_path / 'a'}")) == 0
    number = len(endpoint.seen)
    assert sloop("probe", *words(endpoint.url, *shared, "cache=read_only", f"output_dir={tmp_path / 'b'}")) == 0
    assert len(endpoint.seen) == number
    assert (tmp_path / "a" / "predictions.jsonl").read_bytes() == (tmp_path / "b" / "predictions.jsonl").read_bytes()
    kept = (tmp_path / ".cache" / "replies.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in kept}) == number


def test_a_run_that_was_stopped_goes_on_with_other_limits_and_repeats_nothing(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = words(
        endpoint.url,
        f"data={questions()}",
        ALONE,
        f"paths.outputs={tmp_path}",
        "student.endpoint.limits.retries=0",
        "preflight=false",
    )
    endpoint.fault = lambda body, times: "500" if len(endpoint.seen) > 60 else None
    assert sloop("probe", *shared, "cache=use", "student.endpoint.limits.concurrency=4") == 2
    assert "7 of 120 units failed" in capsys.readouterr().err
    failed = len(endpoint.seen) - 60
    endpoint.fault = lambda body, times: None
    assert sloop("probe", *shared, "cache=use", "student.endpoint.limits.concurrency=16") == 0
    (folder,) = (path.parent for path in tmp_path.rglob("run.json"))
    found = predictions_at(folder / "predictions.jsonl")
    assert [answer.error for answer in found] == [None] * len(Dataset(questions()))
    assert len(found) <= len(endpoint.seen) - failed <= len(found) + 4  # but for those that were in flight


def test_a_loop_of_an_endpoint_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://127.0.0.1:9/v1"
    assert sloop("loop", *words(url), "experiment=smoke", f"output_dir={tmp_path / 'run'}", ALONE) == 2
    assert "student=endpoint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# --- failures ---

TWICE = ("trials=2", "decode.temperature=0.7")


def written(folder: Path) -> dict[str, bytes]:
    """The bytes of what an evaluation wrote, but for its key, which holds the address."""
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl") if path.name != "journal.jsonl"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation in which nothing failed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with serving() as server:
        answer_right(server, list(Dataset(questions())))
        assert sloop("eval", *words(server.url, *asked(), *TWICE, ALONE), f"output_dir={folder}") == 0
    assert set(written(folder)) == {"predictions.jsonl", "grades.jsonl", "scores.jsonl", "judgements.jsonl"}
    return folder


def test_an_evaluation_through_faults_writes_the_bytes_of_one_without(
    endpoint: Endpoint, whole: Path, tmp_path: Path
) -> None:
    with faulty(endpoint.url, 0.2) as proxy:
        shared = (*asked(), *TWICE, ALONE, "student.endpoint.limits.backoff=0.01")
        assert sloop("eval", *words(proxy.url, *shared), f"output_dir={tmp_path / 'run'}") == 0
        assert sum(proxy.faults.values()) > 0.15 * 240
    assert written(tmp_path / "run") == written(whole)


@pytest.mark.parametrize(
    ("cache", "lost"),
    [
        ("use", 4),  # a reply is kept before its place among the requests in flight is free again
        # Else it is on its way until it stands in the journal
        pytest.param("off", WAITING_FACTOR * 4, marks=pytest.mark.slow),
    ],
)
def test_an_evaluation_that_was_killed_asks_again_only_for_what_was_on_its_way(
    endpoint: Endpoint, whole: Path, tmp_path: Path, cache: str, lost: int
) -> None:
    kept = (f"cache={cache}", f"student.endpoint.cache_path={tmp_path / 'replies'}")
    given = (*asked(), *TWICE, ALONE, "student.endpoint.limits.concurrency=4", "preflight=false", *kept)
    number = 2 * len(Dataset(questions()))
    endpoint.latency = 0.05
    process = start("eval", *words(endpoint.url, *given), "output_dir=killed", cwd=tmp_path)
    while process.poll() is None and len(endpoint.seen) < number / 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    ended(process)
    endpoint.latency = 0.0
    assert not (tmp_path / "killed" / "stage.json").exists()
    assert sloop("eval", *words(endpoint.url, *given), f"output_dir={tmp_path / 'killed'}") == 0
    times = Counter(json.dumps(body, sort_keys=True) for body in endpoint.seen)
    assert len(times) == number
    again = [count for count in times.values() if count > 1]
    assert set(again) <= {2}
    assert len(again) <= lost
    assert written(tmp_path / "killed") == written(whole)


def test_what_got_no_answer_is_asked_for_again_alone_and_the_run_says_so(
    endpoint: Endpoint,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient

    fresh_database(tmp_path / "mlruns")
    monkeypatch.chdir(tmp_path)
    unlucky = next(iter(Dataset(questions()))).request
    endpoint.fault = lambda body, times: "500" if body["messages"][-1]["content"] == unlucky else None
    given = words(endpoint.url, *asked(), *TWICE, "student.endpoint.limits.retries=0")
    assert sloop("eval", *given, "output_dir=run") == 0
    lost = Path("run/predictions.jsonl").read_text().count('"error": "model"')
    assert f"could not be had: {lost} answers; the same command with retry_failed=true" in capsys.readouterr().out
    finished = read_json(Path("run/run.json"))["finished"]

    endpoint.fault = lambda body, times: None
    before = len(endpoint.seen)
    assert sloop("eval", *given, "output_dir=run", "retry_failed=true") == 0
    assert len(endpoint.seen) == before + 1 + lost  # one of the preflight
    assert written(tmp_path / "run") == written(whole)
    for part in ("files", "summary"):
        assert read_json(Path("run/stage.json"))[part] == read_json(whole / "stage.json")[part]

    record = read_json(Path("run/run.json"))
    (retry,) = record["retried"]
    assert retry["failed"] == {"answers": lost, "verdicts": 0}
    assert retry["failed_again"] == {"answers": 0, "verdicts": 0}
    assert (record["status"], record["finished"]) == ("FINISHED", finished)
    assert finished < retry["began"] < retry["finished"]
    (latency,) = record["latency"]
    assert (latency["role"], latency["requests"]) == ("student", 240)
    assert f"{latency['p99']:.3f} (" in capsys.readouterr().out
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    found = client.get_run(record["mlflow"]["run_id"]).data.metrics
    assert found["eval/jsonl/model_errors"] == 0.0
    assert found["eval/jsonl/pass_hat_2"] == 1.0
    assert found["latency/student/p50"] == latency["p50"]


def test_a_retry_that_fails_again_leaves_the_answers_as_they_were(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlucky = next(iter(Dataset(questions()))).request
    endpoint.fault = lambda body, times: "500" if body["messages"][-1]["content"] == unlucky else None
    given = words(endpoint.url, f"data={questions()}", ALONE, "student.endpoint.limits.retries=0")
    out = tmp_path / "run"
    assert sloop("probe", *given, f"output_dir={out}") == 0
    before, status = written(out), read_json(out / "run.json")["status"]
    endpoint.fault = lambda body, times: "500"
    assert sloop("probe", *given, f"output_dir={out}", "retry_failed=true") == 2
    assert sloop("probe", *given, f"output_dir={out}", "retry_failed=true", "preflight=false") == 0
    assert written(out) == before
    record = read_json(out / "run.json")
    assert record["status"] == status == "FINISHED"
    (retry,) = record["retried"]
    assert retry["failed_again"] == retry["failed"] == {"answers": before["predictions.jsonl"].count(b'"model"')}


def test_a_sample_is_shown_with_the_answers_of_every_trial(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = next(iter(Dataset(questions())))
    assert sloop("show", str(whole), sample.id) == 0
    lines = capsys.readouterr().out.splitlines()
    for trial in (0, 1):
        for what in ("answer: ", "grade: right", "judge: "):
            assert [line for line in lines if line.startswith(f"trial {trial}: {what}")]


def test_a_retry_that_was_killed_while_it_wrote_is_no_finished_run_until_it_was_gone_on_with(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    given = words(endpoint.url, f"data={questions()}", ALONE, f"output_dir={tmp_path / 'run'}")
    assert sloop("probe", *given) == 0
    before, record = written(tmp_path / "run"), read_json(tmp_path / "run" / "run.json")
    retry = {"began": record["finished"], "finished": None, "failed": {"answers": 1}}
    write_json(tmp_path / "run" / "run.json", {**record, "retried": [retry]})  # as kill -9 leaves it
    (tmp_path / "run" / "stage.json").unlink()
    assert sloop("probe", *given, "retry_failed=true") == 0
    after = read_json(tmp_path / "run" / "run.json")
    assert (after["status"], after["resumed"], after["retried"][0]["failed_again"]) == ("FINISHED", 1, {"answers": 0})
    assert after["retried"][0]["finished"] > retry["began"]
    assert written(tmp_path / "run") == before


def test_an_evaluation_without_its_end_is_not_compared(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = shutil.copytree(whole, tmp_path / "cut")
    (cut / "stage.json").unlink()
    assert sloop("compare", str(cut), str(whole)) == 2
    assert "its evaluation on jsonl is not finished; the command that began it goes on" in capsys.readouterr().err
