"""Our environments in the verifiers package, evaluated by its own command against an endpoint that plays the tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from endpoint import serving

from sloop.benchmarks.environment import drawn
from sloop.records import Label, Message, Task
from sloop.simulation.dialogues import kinds_by_domain, played

pytest.importorskip(
    "verifiers",
    reason="evaluates with verifiers, in an environment of its own: see docs/environments.md",
)
pytestmark = pytest.mark.slow
DOMAINS, NUMBER = ["files", "bookings"], 14


def answers() -> dict[str, list[Message]]:
    """By a task's first words, what is right to say next, in order."""
    tasks: list[Task] = [*drawn(kinds_by_domain(DOMAINS, [], "taskset"), "test", 0, NUMBER).values()]
    return {
        task.turns[0].request: [message for message in played(task).messages if message.role == "assistant"]
        for task in tasks
    }


def answer(body: dict[str, Any], known: dict[str, list[Message]]) -> Label:
    """What is right to say next."""
    first = next(message["content"] for message in body["messages"] if message["role"] == "user")
    message = known[first][sum(message["role"] == "assistant" for message in body["messages"])]
    return Label(calls=message.tool_calls, content=message.content)


@pytest.mark.parametrize(("plays", "reward"), [(True, 1.0), (False, 0.0)])
def test_its_own_evaluation_gives_the_rewards_of_our_benchmark(plays: bool, reward: float, tmp_path: Path) -> None:
    shim = "from sloop.serve.verifiers import *\nfrom sloop.serve.verifiers import __all__\n"
    (tmp_path / "sloop_tasks.py").write_text(shim)
    known = answers()
    with serving() as server:
        if plays:
            server.answer = lambda body: answer(body, known)
        settings = {
            "env.taskset.domains": json.dumps(DOMAINS), "env.taskset.num-tasks": str(NUMBER), "model": "small",
            "client.base-url": server.url, "client.api-key-var": "ENDPOINT_KEY", "max-concurrent": "2",
            "env.agent.runtime.type": "subprocess",
            "output-dir": str(tmp_path), "run.dir": "run",
        }  # fmt: skip
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("vf-eval")), "sloop-tasks", "--no-rich", "--no-push",
                *(part for name, value in settings.items() for part in (f"--{name}", value)),
            ],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}", "ENDPOINT_KEY": "none"},
            cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "run" / "traces.jsonl").read_text().splitlines()]
    traces = [trace for row in rows for trace in row["traces"]]
    assert [trace["errors"] for trace in traces] == [[]] * NUMBER
    assert [trace["rewards"]["solved"]["score"] for trace in traces] == [reward] * NUMBER
