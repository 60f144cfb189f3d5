"""Environments for verifiers of our own: a user who speaks several times, without end, to a student without tools; by
``vf_pair`` two agents."""

from collections.abc import Iterator
from itertools import count

import verifiers.v1 as vf


class TalkTask(vf.Task[vf.TaskData, vf.State, vf.TaskConfig]):
    @vf.reward
    async def counted(self, trace: vf.Trace) -> float:
        """A share: the words that were asked for, of three."""
        said = [message.content for message in trace.assistant_messages]
        return sum(word in (text or "") for word, text in zip(("one", "two", "three"), said, strict=False)) / 3


class TalkTaskset(vf.Taskset[TalkTask, vf.TasksetConfig]):
    INFINITE = True

    def load(self) -> Iterator[TalkTask]:
        for number in count():
            yield TalkTask(
                vf.TaskData(name=f"talk {number}", prompt=f"Count to three, slowly. You are number {number}.")
            )


class TalkEnv(vf.SingleAgentEnv):
    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        async with agents.agent.interaction(task) as interaction:
            segment = await interaction.turn()
            for _ in range(2):
                if segment.terminated:
                    break
                segment = await interaction.turn("Go on.")


__all__ = ["TalkEnv", "TalkTaskset"]
