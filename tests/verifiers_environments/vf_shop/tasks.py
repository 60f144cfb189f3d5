"""The tasks, when they are over, and what they are worth."""

import asyncio
import os
from collections.abc import Iterable
from typing import Literal

import verifiers.v1 as vf

from vf_shop.counter import PRICES, Counter


class ShopTaskConfig(vf.TaskConfig):
    behaves: Literal["well", "dies", "sleeps", "raises", "asks_a_judge", "shows"] = "well"
    """What comes of its rewards; ``shows``: an image stands in the question."""


class ShopData(vf.TaskData):
    item: str
    number: int
    level: str


class ShopTask(vf.Task[ShopData, vf.State, ShopTaskConfig]):
    @vf.stop
    async def enough(self, trace: vf.Trace) -> bool:
        """Three answers are all there are."""
        return trace.num_turns >= 3

    @vf.reward(weight=1.0)
    async def said(self, trace: vf.Trace) -> float:
        match self.config.behaves:
            case "dies":
                os._exit(3)
            case "sleeps":
                await asyncio.sleep(600)
            case "raises":
                raise KeyError("no such price")
            case "asks_a_judge":
                judge = vf.Judge(vf.JudgeConfig(base_url="http://127.0.0.1:9/v1"))
                await judge.complete([{"role": "user", "content": "Is it right?"}])
        return float(str(PRICES[self.data.item] * self.data.number) in (trace.last_reply or ""))

    @vf.reward(weight=0.5)
    async def sold(self, trace: vf.Trace) -> float:
        """The item was sold, as a wish."""
        told = [message for message in trace.messages if message.role == "tool"]
        return float(any(f"sold {self.data.item}" in str(message.content) for message in told))

    @vf.metric
    async def answers(self, trace: vf.Trace) -> float:
        return float(trace.num_turns)


class ShopConfig(vf.TasksetConfig):
    task: ShopTaskConfig = ShopTaskConfig()
    number: int = 2


class ShopTaskset(vf.Taskset[ShopTask, ShopConfig]):
    @classmethod
    def toolsets(cls, config: ShopConfig) -> list[vf.Toolset]:
        return [Counter(vf.SharedToolsetConfig())]

    def load(self) -> Iterable[ShopTask]:
        for item in PRICES:
            words = f"What do {self.config.number} of {item} cost? Say the number. Sell one, if you like."
            prompt: str | list = words
            if self.config.task.behaves == "shows":
                shown = vf.ImageUrlContentPart(image_url=vf.ImageUrlSource(url="data:image/png;base64,AA=="))
                prompt = [vf.UserMessage(content=[vf.TextContentPart(text=words), shown])]
            level = "dear" if PRICES[item] > 5 else "cheap"
            data = ShopData(
                name=item,
                prompt=prompt,
                system_prompt="You keep a shop.",
                item=item,
                number=self.config.number,
                level=level,
            )
            yield ShopTask(data, self.config.task)
