"""`sloop serve` from the command line: it says where it is, ends when told to, and names what is wrong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from checkpoints import trained
from clients import everything_under
from running import ended, sloop, start

from sloop.serve.server import listen

TOKEN = "planted-token-0123456789"


def test_a_server_says_where_it_is_answers_and_ends_cleanly_when_told(tmp_path: Path) -> None:
    open_to_all = start(
        "serve", f"path={trained().path}", "port=0", "host=0.0.0.0", cwd=tmp_path, SLOOP_SERVE_TOKEN=TOKEN
    )
    loopback = start("serve", f"path={trained().path}", "port=0", "model=mine", cwd=tmp_path)
    for process, name, key, end in (
        (open_to_all, trained().path, TOKEN, signal.SIGTERM),
        (loopback, "mine", None, signal.SIGINT),
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        told = re.fullmatch(r"serving (\S+) at (http://[\d.]+:\d+/v1)\n", line)
        assert told is not None
        assert told[1] == name
        asked = urllib.request.Request(told[2].replace("0.0.0.0", "127.0.0.1") + "/models")
        if key:
            asked.add_header("Authorization", f"Bearer {key}")
            command = Path(f"/proc/{process.pid}/cmdline")
            assert not command.exists() or TOKEN.encode() not in command.read_bytes()
        with urllib.request.urlopen(asked) as answer:
            assert [model["id"] for model in json.loads(answer.read())["data"]] == [name]
        process.send_signal(end)
        status, out, err = ended(process)
        assert (status, out) == (0, "")
        assert TOKEN not in err
        assert "Traceback" not in err
    assert TOKEN not in everything_under(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "path is missing"),
        (("path=nowhere",), "no checkpoint at nowhere"),
        (("path=CHECKPOINT", "host=0.0.0.0"), "Set SLOOP_SERVE_TOKEN in the environment"),
        (("path=CHECKPOINT", "host=::"), "other machines could reach this server"),
        (("path=CHECKPOINT", "port=TAKEN"), "cannot listen there"),
        (("path=CHECKPOINT", "port=99999"), "port=99999"),
        (("path=CHECKPOINT", "port=web"), "port='web'"),
        (("path=CHECKPOINT", "batch_size=0"), "batch_size=0"),
        (("path=CHECKPOINT", "prot=1"), "prot=1: no such key. Did you mean port?"),
        (("path=CHECKPOINT", "answer_format=nonsense", "port=0"), "answer_format='nonsense': allowed: apertus"),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLOOP_SERVE_TOKEN", raising=False)
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        found = [word.replace("CHECKPOINT", trained().path).replace("TAKEN", port) for word in words]
        assert sloop("serve", *found) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert shown.out == ""


def test_help_shows_every_key_and_loads_nothing_heavy() -> None:
    heavy = {"torch", "hydra", "fastapi", "transformers", "openai"}
    program = f"import sys; from sloop.cli import main; main(['serve', '--help']); print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert re.search(r"^port: 8000 +# ", shown.stdout, re.MULTILINE)
    assert shown.stdout.splitlines()[-1] == "set()"
