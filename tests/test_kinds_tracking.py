"""Every row of `kinds.tracking`, against a real MLflow server and a real database."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from kinds import Kind
from kinds.tracking import REFUSED, WHERE
from mlflow import MlflowClient
from running import ALONE, acme, acme_loop, fresh_database, sloop

from sloop.cli import _Tracking
from sloop.store import read_json


class Page(BaseHTTPRequestHandler):
    """What is no MLflow: a page for every path, with the status that the path's first part says."""

    def do_GET(self) -> None:
        status = int(self.path.split("/")[1])
        body = b"<html>Welcome</html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def serving(root: Path, port: int = 0) -> Iterator[str]:
    """A real tracking server that keeps the artifacts itself; killed at the end."""
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{root / 'mlruns' / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(root / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command, env=environment, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 240
        while time.monotonic() < until:
            with suppress(OSError), urllib.request.urlopen(f"{url}/health"):
                break
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("server")
    fresh_database(root / "mlruns")
    with serving(root) as url:
        yield url


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, pages: str, capsys: pytest.CaptureFixture[str]
) -> Iterator[object]:
    """Runs a stage with a row's variables and words; gives (its run's record, what it said)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    fresh_database(tmp_path / "mlruns")
    (tmp_path / "files").mkdir()
    addresses = {
        "SERVER": server,
        "SECRET": server.replace("://", "://me:secret@"),
        "PAGE": f"{pages}/404",
        "ANYTHING": f"{pages}/200",
        "GUARDED": f"{pages}/401",
        "FOLDER": str(tmp_path / "files"),
    }

    def made(kind: Kind) -> tuple[dict[str, object], str]:
        variables, words = kind.given
        for name, value in variables.items():
            monkeypatch.setenv(name, addresses.get(value, value))
        said = [word.replace("SERVER", server) for word in words]
        assert sloop("gen", *acme(), "num_samples=8", "output_dir=run", *said) == 0
        told = capsys.readouterr()
        return read_json(tmp_path / "run" / "run.json"), " ".join((told.out + told.err).split())

    return made


@pytest.mark.parametrize("kind", WHERE, ids=str)
def test_a_run_is_logged_where_key_or_variable_says(kind: Kind, run, server: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    where, experiment = kind.comes
    record, said = run(kind)
    place = server if where else str(tmp_path / "mlruns")
    assert f"logged to MLflow at {place}, experiment {experiment}, in" in said
    assert "secret" not in said
    client = MlflowClient(server if where else f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (logged,) = client.search_runs([found.experiment_id], f"tags.`sloop.id` = '{record['id']}'")
    assert logged.info.status == "FINISHED"
    rows = client.download_artifacts(logged.info.run_id, "gen/train.jsonl", str(tmp_path))
    assert Path(rows).read_bytes() == (tmp_path / "run" / "train.jsonl").read_bytes()
    elsewhere = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}" if where else server)
    assert not elsewhere.search_runs(
        [one.experiment_id for one in elsewhere.search_experiments()], f"tags.`sloop.id` = '{record['id']}'"
    )


@pytest.mark.parametrize("kind", REFUSED, ids=str)
def test_a_run_that_cannot_be_logged_ends_and_says_what_helps(kind: Kind, run, server: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for client in (MlflowClient(server), MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")):
        if client.get_experiment_by_name("gone") is None:
            client.delete_experiment(client.create_experiment("gone"))
    record, said = run(kind)
    assert record["status"] == "FINISHED"
    assert "logged to MLflow" not in said
    assert "secret" not in said
    assert re.search(f"not logged: .*{kind.comes}", said), said


@pytest.mark.slow
def test_what_a_killed_server_has_missed_is_delivered_when_it_answers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    fresh_database(tmp_path / "mlruns")
    folder = acme_loop(tmp_path / "outputs" / "run", "loop.rounds=2", ALONE)
    second = (folder / "round_2").rename(tmp_path / "round_2")
    with serving(tmp_path) as url:
        section = SimpleNamespace(enabled=True, uri=url)
        tracking = _Tracking(
            SimpleNamespace(tracking=section, paths=SimpleNamespace(mlruns=str(tmp_path / "none")), name="acme")
        )
        tracking.project(folder)  # as after the first round

    def logged() -> dict[str, str]:
        client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("acme")
        assert experiment is not None
        return {run.info.run_name: run.info.run_id for run in client.search_runs([experiment.experiment_id])}

    before = logged()
    assert len(before) == 2
    second.rename(folder / "round_2")
    for _ in range(2):
        tracking.project(folder)
    assert capsys.readouterr().err.count("not logged") == 1
    with serving(tmp_path, urlsplit(url).port or 0):
        tracking.project(folder)
        assert "what it had missed is logged" in capsys.readouterr().err
        after = logged()
        assert after.items() > before.items()
        assert "round 2" in after
        assert sloop("runs", "sync", "--outputs", str(tmp_path / "outputs"), "--uri", url) == 0
    assert logged() == after
