"""Others beside us: another client against `sloop serve`, and `transformers serve` with a checkpoint of ours."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from checkpoints import MODEL, local, responder, serving, taught, trained
from clients import GREEDY, student
from models import TIMER, WEATHER

from sloop.models.openai_api import request_body
from sloop.records import Decode


@pytest.fixture(scope="module")
def transformers_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` with the checkpoint, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["serve", trained().path, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("transformers") / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "transformers.cli.transformers", *words],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except urllib.error.URLError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_transformers_serve_gives_structured_tool_calls(transformers_url: str) -> None:
    with openai.OpenAI(base_url=transformers_url, api_key="none", max_retries=0) as client:
        for sample in taught():
            if sample.label is None or not sample.label.calls:
                continue
            body = request_body(trained().path, sample.messages, sample.tools, GREEDY)
            message = client.chat.completions.create(**body).choices[0].message
            found = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []]  # type: ignore[union-attr]
            assert found == [(call.name, call.arguments) for call in sample.label.calls]
            assert (message.content or "") == sample.label.content


@pytest.mark.slow
def test_behind_transformers_serve_the_student_answers_as_in_process(transformers_url: str) -> None:
    samples, decode = taught(), Decode(max_tokens=64)
    served = student(transformers_url, model=trained().path, timeout=60.0)
    served.load(served.start(None, seed=0, out=Path("none")))  # type: ignore[arg-type]
    try:
        found = served.predict(samples, decode)
    finally:
        served.close()
    expected = local(trained()).predict(samples, decode)
    answers = [(one.calls, one.content, one.error) for one in found]
    assert answers == [(one.calls, one.content, one.error) for one in expected]
    assert [one.logprob for one in found] == [None] * len(samples)  # it gives none


@pytest.mark.slow
def test_inspect_ai_gets_calls_probabilities_and_a_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspect_ai = pytest.importorskip(
        "inspect_ai", reason="asks by another client, which is no dependency: pip install inspect-ai"
    )
    from inspect_ai.dataset import Sample as Row
    from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate
    from inspect_ai.tool import ToolInfo, ToolParams

    monkeypatch.chdir(tmp_path)
    tools = [
        ToolInfo(name=tool.name, description=tool.description or "-", parameters=ToolParams(**tool.parameters))
        for tool in (WEATHER, TIMER)
    ]
    greedy = GenerateConfig(temperature=0, logprobs=True)
    with serving(responder(trained().path)) as url:
        model = get_model(f"openai-api/sloop/{MODEL}", base_url=url, api_key="none")
        asked = model.generate([ChatMessageUser(content="look it up for me")], tools=tools, config=greedy)
        answer = asyncio.run(asked).choices[0]
        (call,) = answer.message.tool_calls
        assert (answer.message.text, call.function) == ("I will look.", "get_weather")
        assert call.arguments == {"city": "Rome", "days": 3}
        assert len(answer.logprobs.content) > 10
        task = inspect_ai.Task(
            dataset=[Row(input="hello without tools", target="Hi.")], solver=generate(), scorer=match()
        )
        (log,) = inspect_ai.eval(task, model=model, display="none", temperature=0)
    assert log.status == "success"
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
