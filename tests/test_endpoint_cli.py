"""`sloop eval` and `sloop probe` against an endpoint, from the command line to the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import answer_right, everything_under
from endpoint import Endpoint, serving
from running import ALONE, fresh_database, questions, sloop

from sloop.models.environment import VARIABLES
from sloop.store import Dataset, predictions_at, read_json

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
        ("student.answer_format=nonsense", "unknown tool-call format"),
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
