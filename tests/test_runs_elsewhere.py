"""Runs logged to PostgreSQL, and to a server whose artifacts lie in S3: real servers; a skip says what it takes.

S3 is moto's server, which speaks its protocol over HTTP.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from running import acme, acme_loop, sloop

from sloop.store import read_json, write_json

POSTGRES = os.environ.get("SLOOP_POSTGRES")
SHOWN = ("tracking.failures=1", "tracking.questions=1")
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def served(folder: Path, port: int, s3: str) -> Iterator[str]:
    """MLflow's own server over a database in the folder; killed at the end, as a machine dies."""
    uri = f"http://127.0.0.1:{port}"
    words = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", "s3://bucket/runs"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--port", str(port), "--workers", "1"],
        env={**os.environ, **KEYS, "MLFLOW_S3_ENDPOINT_URL": s3},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            with suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=5):
                break
            time.sleep(0.5)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def logged(uri: str) -> tuple[MlflowClient, Counter[tuple[str, str]], int]:
    """A client, how many runs of which kind ended how, and how many models there are."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("acme")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    models = client.search_logged_models([experiment.experiment_id])
    return client, Counter((run.data.tags["sloop.kind"], run.info.status) for run in runs), len(models)


@pytest.mark.skipif(
    not POSTGRES, reason="needs an empty database: SLOOP_POSTGRES=postgresql://USER@HOST/NAME, and pip install psycopg"
)
def test_a_loop_is_logged_to_postgresql_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert POSTGRES
    assert sloop("loop", *acme(), "output_dir=run", "loop.rounds=2", *SHOWN, f"tracking.uri={POSTGRES}") == 0
    run = read_json(tmp_path / "run" / "run.json")
    del run["mlflow"]
    write_json(tmp_path / "run" / "run.json", run)
    assert sloop("runs", "sync", "--outputs", "run", "--uri", POSTGRES) == 0
    _, counts, models = logged(POSTGRES)
    assert (counts, models) == (Counter({("loop", "FINISHED"): 1, ("round", "FINISHED"): 2}), 2)


def test_artifacts_lie_in_s3_and_a_server_that_dies_gets_what_it_has_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moto = pytest.importorskip("moto.server", reason="needs a server that speaks S3: pip install 'moto[server]'")
    monkeypatch.chdir(tmp_path)
    s3 = moto.ThreadedMotoServer(port=0)
    s3.start()
    host, port = s3.get_host_and_port()
    try:
        import boto3

        bucket = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            region_name="us-east-1",
        )
        bucket.create_bucket(Bucket="bucket")
        own = free_port()
        with served(tmp_path, own, f"http://{host}:{port}") as uri:
            assert sloop("gen", *acme(), "output_dir=first", "num_samples=4", f"tracking.uri={uri}") == 0
        capsys.readouterr()
        run = acme_loop(tmp_path / "run", "loop.rounds=2", *SHOWN, f"tracking.uri={uri}", "tracking.enabled=true")
        assert "sloop runs sync" in capsys.readouterr().err, "it is told that the server is down"
        with served(tmp_path, own, f"http://{host}:{port}") as uri:
            assert sloop("runs", "sync", "--outputs", str(run), "--uri", uri) == 0
            client, counts, models = logged(uri)
            assert counts == Counter({("gen", "FINISHED"): 1, ("loop", "FINISHED"): 1, ("round", "FINISHED"): 2})
            assert models == 2
            (loop,) = client.search_runs(["1"], "tags.`sloop.kind` = 'loop'")
            assert loop.info.artifact_uri.startswith("mlflow-artifacts:"), "a client needs no key of S3"
            assert "run.json" in [file.path for file in client.list_artifacts(loop.info.run_id)]
        names = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="bucket")["Contents"]]
        assert any(name.startswith("runs/") and name.endswith("run.json") for name in names)
    finally:
        s3.stop()
