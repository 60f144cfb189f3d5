"""A model small enough to be made and trained in a test, and the little that it learns from."""

from __future__ import annotations

from sloop.records import Label, Message, Sample, Tool, ToolCall
from sloop.students.tiny import TinySpec
from sloop.trainers.lora import LoraSettings
from sloop.trainers.sft import SFT

WEATHER = Tool(
    name="get_weather",
    description="Current weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "tags": {"type": ["array", "null"]}},
        "required": ["city"],
    },
)
TIMER = Tool(
    name="set_timer",
    parameters={"type": "object", "properties": {"minutes": {"type": "number"}}, "required": ["minutes"]},
)
NOTHING = Tool(name="ping", parameters={"type": "object"})


UNSET = {
    "attn_implementation": None, "prefill_tokens": None, "models": None, "sha256": None,
    "chat_template": "own", "chat_template_kwargs": {}, "date": "2026-01-01",
}  # fmt: skip
"""Settings of the local student that a small one has no use for."""


def spec(**changes: object) -> TinySpec:
    settings = {
        "architecture": "lfm2",
        "hidden_size": 32,
        "intermediate_size": 64,
        "layers": ["conv", "attention"],
        "num_heads": 2,
        "listing": "signature",
        "vocab_size": 600,
        "min_frequency": 6,
        "context": 512,
    }
    return TinySpec(**{**settings, **changes})  # type: ignore[arg-type]


def ask(request: str, *calls: ToolCall, content: str = "", tools: tuple[Tool, ...] = (WEATHER, TIMER)) -> Sample:
    return Sample(
        tools=tools, messages=(Message(role="user", content=request),), label=Label(calls=calls, content=content)
    )


def pool() -> list[Sample]:
    cities = ["Paris", "Lima", "Oslo", "Rome"]
    calls = [
        ask(
            f"what is the weather in {city} for {day} days",
            ToolCall(name="get_weather", arguments={"city": city, "days": day}),
        )
        for city in cities
        for day in (1, 2)
    ]
    return [*calls, ask("hello there", content="No suitable tool.")]


TOKENIZER = spec().tokenizer(pool())


def trainer(**changes: object) -> SFT:
    settings = {
        "learning_rate": 0.003,
        "batch_size": 4,
        "warmup": 5,
        "decay": 0.3,
        "weight_decay": 0.05,
        "clip": 1.0,
        "optimizer": "muon",
        "dtype": "fp32",
        "threads": 1,
        "device": "cpu",
        "save_every": 10,
        "max_length": 256,
        "batch_tokens": None,
        "micro_tokens": None,
        "lora": LoraSettings(rank=0, alpha=32, dropout=0, targets="all-linear", layers=None, bits=None),
        "freeze_embeddings": False,
        "checkpointing": False,
        "save_seconds": 600,
        "max_left_out": 1.0,
        "max_memory": None,
        "watched": 0,
        "watch_every": 50,
        "max_answer": 64,
    }
    return SFT(**{**settings, **changes})  # type: ignore[arg-type]
