"""An environment for verifiers that two agents play."""

import verifiers.v1 as vf
from vf_talk import TalkTaskset as Talks


class PairConfig(vf.EnvConfig):
    white: vf.AgentConfig = vf.AgentConfig()
    black: vf.AgentConfig = vf.AgentConfig()


class PairEnv(vf.Env[PairConfig]):
    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        await agents.white.run(task)
        await agents.black.run(task)


class PairTaskset(Talks):
    pass


__all__ = ["PairEnv", "PairTaskset"]
