"""What a run spends at endpoints, from the command line to the files: counted, limited, resumed, replayed, checked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import answer_right, everything_under
from endpoint import Endpoint, serving
from mlflow import MlflowClient
from running import ALONE, acme, ended, fresh_database, questions, sloop, start

import sloop as package
from sloop.models.environment import VARIABLES
from sloop.models.usage import USAGE_FILE, read_usage
from sloop.records import Label, ToolCall
from sloop.store import Dataset, read_json

KEY = "-".join(("sk", "planted", "0123456789"))  # in pieces, as run.json holds the diff of a changed checkout
PRICED = "+prices={small:{prompt:1,cached:0.1,completion:10}}"
CALL = ToolCall(name="get_weather", arguments={"city": "Oslo"})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        answer_right(server, list(Dataset(questions())))
        yield server


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")


def probe(url: str, out: Path, *more: str) -> int:
    return sloop("probe", *words(url), ALONE, f"output_dir={out}", f"paths.outputs={out.parent}", *more)


def words(url: str) -> tuple[str, ...]:
    return (
        "student=endpoint",
        f"student.endpoint.base_url={url}",
        "student.endpoint.model=small",
        f"data={questions()}",
        "student.endpoint.limits.concurrency=4",
    )


def total(out: Path, name: str = "requests") -> int:
    return sum(getattr(row, name) for row in read_usage(out / USAGE_FILE))


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(out / "run.json")
    return found


# --- the budget ---


@pytest.mark.parametrize("limit", ["requests=50", "tokens=1500", "dollars=0.01"])
def test_a_budget_stops_the_run_and_more_of_it_ends_in_the_same_bytes(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    assert probe(endpoint.url, tmp_path / "free", "preflight=false") == 0
    asked = len(endpoint.seen)
    name = limit.partition("=")[0]
    assert probe(endpoint.url, tmp_path / "run", f"spending.{limit}", PRICED) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"sloop: spending.{limit} is spent: {total(tmp_path / 'run')} requests")
    assert "What was finished is kept. Go on with the same command" in message
    assert 0 < len(endpoint.seen) - asked < 100
    assert record(tmp_path / "run")["status"] == "KILLED"
    assert probe(endpoint.url, tmp_path / "run", f"spending.{name}=100000", PRICED) == 0
    assert len(endpoint.seen) - asked == len(Dataset(questions())) + 2  # nothing twice but the preflight
    for file in ("predictions.jsonl", "stage.json"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "free" / file).read_bytes()
    assert total(tmp_path / "run") == len(endpoint.seen) - asked


def test_a_budget_that_is_spent_stays_spent(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert probe(endpoint.url, tmp_path / "run", "spending.requests=20") == 2
    assert len(endpoint.seen) == 20
    assert total(tmp_path / "run") == 20


def test_what_the_preflight_alone_has_spent_stays_spent_too(endpoint: Endpoint, tmp_path: Path) -> None:
    judge = ("judge=asking", f"judge.endpoint.base_url={endpoint.url}", "spending.requests=1")
    for _ in range(2):
        assert sloop("loop", *acme(), ALONE, "loop.rounds=1", *judge, f"output_dir={tmp_path / 'run'}") == 2
    assert len(endpoint.seen) == 1


def test_a_price_that_is_missing_is_asked_for_before_anything_is_spent(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(endpoint.url, tmp_path / "run", "spending.dollars=1") == 2
    assert "no price of the model 'small' is known" in capsys.readouterr().err
    assert not endpoint.headers
    assert not (tmp_path / "run").exists()


def test_a_preview_is_held_to_the_budget_and_shows_what_failed(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = ("teacher=llm", f"teacher.endpoint.base_url={endpoint.url}", "teacher.endpoint.model=small")
    asked = ("gen", "preview=4", *teacher, "teacher.endpoint.limits.retries=0")
    assert sloop(*asked, "spending.requests=3") == 2
    assert "spending.requests=3 is spent: 3 requests" in capsys.readouterr().err
    assert len(endpoint.seen) == 3
    assert sloop(*asked, "spending.dollars=1") == 2
    assert "no price of the model 'small' is known" in capsys.readouterr().err
    endpoint.fault = lambda body, times: "500"
    assert sloop(*asked) == 0
    assert "1. rejected: failed:ModelError server: HTTP 500" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_check_is_held_to_the_budget(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("check", *words(endpoint.url), "spending.requests=0") == 2
    assert "spending.requests=0 is spent" in capsys.readouterr().err
    assert not endpoint.seen


def test_a_stage_of_judgements_stops_and_goes_on_as_well(endpoint: Endpoint, tmp_path: Path) -> None:
    shared = (*acme(), ALONE, "loop.rounds=2", "judge=asking", f"judge.endpoint.base_url={endpoint.url}")
    assert sloop("loop", *shared, f"output_dir={tmp_path / 'a' / 'run'}") == 0
    assert sloop("loop", *shared, f"output_dir={tmp_path / 'b' / 'run'}", "spending.requests=200") == 2
    assert total(tmp_path / "b" / "run") == 200
    assert sloop("loop", *shared, f"output_dir={tmp_path / 'b' / 'run'}", "spending.requests=100000") == 0
    for path in sorted((tmp_path / "a").rglob("stage.json")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


# --- kill -9, and the process list ---


def test_what_was_spent_before_a_kill_is_in_the_totals_and_the_key_in_no_process_list(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.key, endpoint.latency = KEY, 0.05
    shown = []
    (tmp_path / ".env").write_text(f"SLOOP_WEAK_API_KEY={KEY}\n")
    given = ("probe", *words(endpoint.url), "output_dir=run", ALONE)
    process = start(*given, cwd=tmp_path)
    while process.poll() is None and total(tmp_path / "run") < 40:
        time.sleep(0.02)
    processes = [path for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.name != str(os.getpid())]
    lines = [_read(path) for path in processes]
    assert any("student.endpoint.model=small" in line for line in lines)
    assert not [line for line in lines if KEY in line]
    process.send_signal(signal.SIGKILL)
    shown += ended(process)[1:]
    before = total(tmp_path / "run")
    assert before >= 40
    resumed = start(*given, cwd=tmp_path)
    status, *said = ended(resumed)
    assert status == 0, said
    after = total(tmp_path / "run")
    samples = len(Dataset(questions()))
    assert samples + 2 <= after <= samples + 2 + 4  # two preflights; those in flight at the kill are asked again
    assert len(endpoint.seen) - 4 <= after <= len(endpoint.seen)
    (cost,) = record(tmp_path / "run")["cost"]
    assert (cost["role"], cost["requests"], cost["dollars"]) == ("student", after, None)
    assert "dollars unknown" in said[0]
    (tmp_path / ".env").unlink()
    for text in (*shown, *said, everything_under(tmp_path)):
        assert KEY not in text


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:  # it has ended meanwhile
        return ""


# --- where it is told ---


def test_costs_are_in_the_record_in_mlflow_by_round_and_on_the_terminal(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh_database(tmp_path / "mlruns")
    out = tmp_path / "outputs" / "run"
    shared = (*acme(), "loop.rounds=2", "judge=asking", f"judge.endpoint.base_url={endpoint.url}", PRICED)
    assert sloop("loop", *shared, f"output_dir={out}", f"paths.mlruns={tmp_path / 'mlruns'}") == 0
    assert "asked of endpoints" in capsys.readouterr().out
    rows = {row["round"]: row for row in record(out)["cost"]}
    assert set(rows) == {0, 1, 2}  # 0: the preflight
    assert sum(row["requests"] for row in rows.values()) == len(endpoint.seen)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("acme")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    for number in (1, 2):
        metrics = runs[f"round {number}"].data.metrics
        assert metrics["cost/judge/requests"] == rows[number]["requests"]
        assert metrics["cost/judge/dollars"] == pytest.approx(rows[number]["dollars"])
    (loop,) = (run for run in runs.values() if run.data.tags["sloop.kind"] == "loop")
    points = client.get_metric_history(loop.info.run_id, "cost/judge/prompt_tokens")
    assert {point.step: point.value for point in points} == {n: rows[n]["prompt_tokens"] for n in (0, 1, 2)}
    frame = package.rounds(tmp_path / "outputs")
    assert list(frame["cost/judge/requests"]) == [rows[1]["requests"], rows[2]["requests"]]


def test_a_stage_used_alone_tells_its_costs_too_and_an_unknown_price_is_no_nought(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    fresh_database(tmp_path / "mlruns")
    given = (*words(endpoint.url), f"output_dir={tmp_path / 'run'}", f"paths.mlruns={tmp_path / 'mlruns'}")
    assert sloop("probe", *given) == 0
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["cost/student/requests"] == len(endpoint.seen)
    assert "cost/student/dollars" not in run.data.metrics
    assert not [name for name in run.data.params if name.startswith("prices")]
    assert sloop("probe", *given, PRICED) == 0  # the price is mended later; nothing is asked again
    assert len(endpoint.seen) == run.data.metrics["cost/student/requests"]
    assert record(tmp_path / "run")["cost"][0]["dollars"] > 0
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["cost/student/dollars"] > 0


def test_nothing_is_told_of_endpoints_where_none_was_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("loop", *acme(), ALONE, "loop.rounds=1", f"output_dir={tmp_path / 'run'}") == 0
    assert "cost" not in record(tmp_path / "run")
    assert "endpoints" not in capsys.readouterr().out


# --- replay ---


def test_a_study_is_run_again_with_no_server_at_another_address_and_what_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving() as server:
        answer_right(server, list(Dataset(questions())))
        assert probe(server.url, tmp_path / "first", "cache=use") == 0
    nowhere = "http://127.0.0.1:1/v1"
    assert probe(nowhere, tmp_path / "again", "cache=read_only") == 0
    first, again = (tmp_path / name / "predictions.jsonl" for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert (total(tmp_path / "again"), total(tmp_path / "again", "cache_hits")) == (0, len(Dataset(questions())))
    assert record(tmp_path / "again")["cost"][0]["dollars"] == 0.0
    capsys.readouterr()
    assert probe(nowhere, tmp_path / "other", "cache=read_only", "decode.max_tokens=9") == 2
    assert "no reply is kept" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


# --- preflight ---


def test_a_check_shows_what_the_endpoint_can_and_writes_nothing(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    endpoint.answer = lambda body: Label(calls=(CALL,))
    assert sloop("check", *words(endpoint.url)) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if endpoint.url in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:7] == ["student", endpoint.url, "small", "yes", "yes", "-", "yes"]
    assert not list(tmp_path.iterdir())


def test_a_check_without_endpoints_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("check", *acme()) == 0
    assert "nothing to check" in capsys.readouterr().out


def test_a_run_shows_it_before_it_spends_and_a_finished_one_does_not_ask_again(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(endpoint.url, tmp_path / "run") == 0
    assert endpoint.url in capsys.readouterr().out
    assert len(endpoint.seen) == len(Dataset(questions())) + 1
    assert probe(endpoint.url, tmp_path / "run") == 0
    assert len(endpoint.seen) == len(Dataset(questions())) + 1


def test_a_judge_that_is_down_ends_a_loop_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = ("judge=asking", "judge.endpoint.base_url=http://127.0.0.1:1/v1")
    assert sloop("loop", *acme(), ALONE, *judge, f"output_dir={tmp_path / 'run'}") == 2
    assert "judge.endpoint.base_url=http://127.0.0.1:1/v1: nobody listens there" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_that_fails_whatever_it_is_asked_ends_the_run_with_its_words(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.refuses = lambda body: "this deployment is paused"
    assert probe(endpoint.url, tmp_path / "run") == 2
    assert "this deployment is paused" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
