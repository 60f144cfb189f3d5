"""Our environments for the `verifiers` package: a taskset whose tasks are ours, and the harness that plays them.

The harness runs in verifiers' own process, as its contract allows: every model call goes through the endpoint that it
is given, so that the trace is complete, and the environment, which needs no sandbox, acts between them. An episode is
that of `sloop.benchmarks.environment`: the reward is 1 where that benchmark says right, and 0 elsewhere.

verifiers finds a taskset by the name of a top-level module, which this is not: a file of one's own that takes it over
is one (docs/environments.md). The values below are what ``--env.taskset.*`` and ``--env.agent.harness.*`` may change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import verifiers.v1 as vf
from pydantic import Field
from verifiers.v1.runtimes import ProgramResult, Runtime

from sloop.benchmarks.environment import EnvironmentEpisode, drawn
from sloop.models.base import Sampling
from sloop.models.wire import read_reply, request_body
from sloop.records import Task
from sloop.simulation.dialogues import kinds_by_domain
from sloop.students.served import read_answer

__all__ = ["SloopHarness", "SloopTaskset"]

TIMEOUT = 600.0
"""Seconds that an answer may take; verifiers tries again what fails."""


class SloopConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Which tasks; see ``conf/benchmark/environment.yaml``."""

    domains: list[str] = Field(["files"])
    kinds: list[str] = Field([])
    part: str = "test"
    num_tasks: int = Field(48, ge=1, le=100_000)
    seed: int = 0


class SloopData(vf.TaskData):  # type: ignore[misc]
    """A task of ours, as verifiers keeps it."""

    task: dict[str, Any]


class SloopState(vf.State):  # type: ignore[misc]
    """How an episode ended."""

    reason: str | None = "the episode did not end"


class SloopTask(vf.Task[SloopData, SloopState]):  # type: ignore[misc]
    """A task, and what it is worth."""

    @vf.reward  # type: ignore[untyped-decorator]
    async def solved(self, trace: vf.Trace) -> float:
        """1 where the episode ended as the task wants it."""
        return float(trace.state.reason is None)


class SloopTaskset(vf.Taskset[SloopTask, SloopConfig]):  # type: ignore[misc]
    """Generated tasks."""

    def load(self) -> Iterable[SloopTask]:
        """The tasks that the benchmark draws from the same settings."""
        config = self.config
        choices = kinds_by_domain(config.domains, config.kinds, "taskset")
        for name, task in drawn(choices, config.part, config.seed, config.num_tasks).items():
            data = SloopData(name=name, prompt=task.turns[0].request, task=task.model_dump())
            yield SloopTask(data, config.task)


class SloopHarnessConfig(vf.HarnessConfig):  # type: ignore[misc]
    """How long an episode may be, and an answer."""

    max_steps: int = Field(30, ge=1)
    turn_steps: int = Field(8, ge=1)
    max_tokens: int = Field(512, ge=1)


class SloopHarness(vf.Harness[SloopHarnessConfig]):  # type: ignore[misc]
    """Plays an episode: asks, lets the tools act, and says what the user says next."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: SloopData,
    ) -> ProgramResult:
        """Play the task to its end."""
        config = self.config
        episode = EnvironmentEpisode(Task.model_validate(data.task), config.max_steps, config.turn_steps)
        sampling = Sampling(temperature=0.0, max_tokens=config.max_tokens)
        # by hand: sloop's client takes another version of openai than verifiers does
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {secret}"}, timeout=TIMEOUT) as client:
            while (asked := episode.ask()) is not None:
                body = request_body(ctx.model, asked.messages, asked.tools, sampling)
                response = await client.post(f"{endpoint}/chat/completions", json=body)
                episode.tell(read_answer(asked, read_reply(response.raise_for_status().content), None))
        (grade,) = episode.grade()
        trace.state.reason = None if grade.correct else grade.reason or "wrong"
        return ProgramResult(0, "", "")
