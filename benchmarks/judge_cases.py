"""Questions with right and wrong answers, to measure a judge on: home-made sets, and text written by nobody here."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from sloop.benchmarks.base import SampleBenchmark
from sloop.benchmarks.bfcl import BfclBenchmark
from sloop.calls.schema import call_errors
from sloop.engine.build import build
from sloop.engine.stage import Place, run_stage
from sloop.records import Dialogue, Label, Message, Order, Prediction, Rejected, Sample, Tool, ToolCall, digest
from sloop.simulation.noisy import NoisyTeacher
from sloop.simulation.template import TemplateTeacher
from sloop.stages.gen import TRAIN, Gen, GenSettings
from sloop.stages.samplers import RandomSampler
from sloop.store import Dataset, predictions_at, read_json
from sloop.store.files import open_text
from sloop.tools.sources import load_tools

CONF = Path(__file__).parents[1] / "conf"
SEED = 770_001
"""Of the generated set and of the mistakes; no other program or test uses it."""
BFCL = ["simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance"]
"""Categories whose questions and answers are public in one folder."""
ALPACA = ("eval_simulated.json", "eval_real.json")
_PLACEHOLDER = re.compile(r"\$\{")
"""A value of ToolAlpaca that an earlier call is to yield: nothing that a request says."""

IsWrong = Callable[[Sample, Label], bool]


@dataclass(frozen=True)
class Case:
    """One question, its right answer, and an answer with a known mistake."""

    sample: Sample
    """Blind: no label, no kind, no origin."""
    right: Label
    wrong: Label | None
    """None where the question leaves room for no mistake."""
    mistake: str
    """Name of the simulated mistake; empty where there is none."""


class _Fixed:
    """A teacher that hands on one dialogue (`sloop.teachers.base.Teacher`)."""

    def __init__(self) -> None:
        self.dialogue: Dialogue | None = None

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        """The dialogue."""
        assert self.dialogue is not None
        return self.dialogue


class Annotator:
    """Makes one mistake in a label, by the weights of ``conf/teacher/noisy.yaml``."""

    def __init__(self) -> None:
        self._fixed = _Fixed()
        weights = yaml.safe_load((CONF / "teacher" / "noisy.yaml").read_text())
        for key in ("defaults", "_target_", "label_noise"):
            del weights[key]
        self._noisy = NoisyTeacher(teacher=self._fixed, label_noise=1.0, **weights)

    def err(self, sample: Sample, right: Label, rng: Random) -> tuple[str, Label | None]:
        """The mistake's name, and the label with it; None where there is no room for one."""
        self._fixed.dialogue = Dialogue(tools=sample.tools, messages=(*sample.messages, right.message()))
        order = Order(key="", kind="single" if right.calls else "irrelevant", tools=sample.tools)
        spoilt = asyncio.run(self._noisy.write(order, rng))
        assert isinstance(spoilt, Dialogue)
        place = len(sample.messages)
        if place not in spoilt.noise:
            return "", None
        last = spoilt.messages[place]
        return spoilt.noise[place], Label(calls=last.tool_calls, content=last.content, ordered=right.ordered)


def cases(samples: Iterable[Sample], *, draws: int, is_wrong: IsWrong | None = None) -> Iterator[Case]:
    """Each labelled sample with up to ``draws`` different mistakes, one case each.

    Args:
        samples: with right labels.
        draws: mistakes drawn for each sample.
        is_wrong: a second opinion on a mistake (a benchmark's own checker); None: the strict comparator's is enough.
    """
    annotator = Annotator()
    for sample in samples:
        if sample.label is None:
            continue
        blind, right = sample.blind(), sample.label
        seen: set[str] = set()
        for draw in range(draws):
            mistake, wrong = annotator.err(blind, right, Random(f"{SEED}-{draw}-{sample.id}"))
            if wrong is not None and is_wrong is not None and not is_wrong(sample, wrong):
                mistake, wrong = "", None
            known_as = digest([call.to_openai() for call in wrong.calls]) if wrong else ""
            if known_as in seen or (draw and wrong is None):
                continue
            seen.add(known_as)
            yield Case(blind, right, wrong, mistake)


def by_hash(samples: Iterable[Sample], most: int) -> list[Sample]:
    """At most so many of the samples, chosen by their content alone."""
    return sorted(samples, key=lambda sample: sample.id)[:most]


def home_made() -> list[Sample]:
    """The packaged development set."""
    return list(SampleBenchmark(name="dev", path="sloop_bench/dev.jsonl.gz").data)


def from_tools(path: Path, size: int) -> list[Sample]:
    """Requests that the grammar writes for tools of a file, values and phrasings of the dev part, labels right."""
    teacher = TemplateTeacher(
        templates="everyday", values="dev", phrases="dev", random_values=0.3, optional_arguments=0.35,
        spelled_values=0.2,
    )  # fmt: skip
    kinds = {"single": 0.58, "parallel": 0.12, "irrelevant": 0.18, "incomplete": 0.12}
    with tempfile.TemporaryDirectory() as folder:
        stage = Gen(
            tools=load_tools(path), teacher=teacher, sampler=RandomSampler(),
            settings=GenSettings(kinds=kinds, offered=(3, 5), contrast=0.7), num_samples=size, seed=SEED,
            train_split=1.0,
        )  # fmt: skip
        return list(run_stage(stage, Place(Path(folder) / "gen")).dataset(TRAIN))


def of_bfcl(path: Path, most: int) -> tuple[list[Sample], IsWrong]:
    """BFCL's questions with their first allowed answers, and its own checker's word on what is wrong.

    Questions of several messages, or whose first answer breaks the schema it comes with, are left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        spec = yaml.safe_load((CONF / "benchmark" / "bfcl.yaml").read_text())
        spec |= {"path": str(path), "categories": BFCL, "digests": None, "cache_path": folder}
        benchmark = build(spec)
        assert isinstance(benchmark, BfclBenchmark)
        samples = by_hash((sample for sample in benchmark.data if _fits(sample)), most)

    def is_wrong(sample: Sample, wrong: Label) -> bool:
        given = Prediction(sample_id=sample.id, calls=wrong.calls, content=wrong.content, text="")
        return benchmark.grade(sample, given).official is False

    return samples, is_wrong


def of_toolalpaca(folder: Path, tools: Path, most: int) -> list[Sample]:
    """ToolAlpaca's instructions with their golden answers.

    Left out: answers whose arguments wait for an earlier call's result, that are no JSON, that name no tool of the
    corpus, or that break its schema. An empty string says that an argument is not given.

    Args:
        folder: with ToolAlpaca's ``eval_simulated.json`` and ``eval_real.json``.
        tools: the APIs as tools, ``NAME.json.gz``, with ``NAME.meta.json.gz`` beside it, which says whose they are.
        most: samples.
    """
    with open_text(tools.with_name(tools.name.replace(".json", ".meta.json"))) as file:
        meta = json.load(file)
    offered: dict[tuple[str, str], list[tuple[str, Tool]]] = {}
    for tool, known in zip(load_tools(tools), meta, strict=True):
        offered.setdefault((known["source"], known["api"]), []).append((known["original_name"], tool))
    samples = []
    for file in ALPACA:
        for api in read_json(folder / file):
            named = dict(offered.get((file.removesuffix(".json"), api["Name"]), ()))
            for request, golden in zip(api["Instructions"], api["Golden_Answers"], strict=True):
                calls = [_golden(step, named) for step in golden]
                if named and calls and all(calls):
                    sample = Sample(
                        tools=tuple(named.values()),
                        messages=(Message(role="user", content=request),),
                        label=Label(calls=tuple(call for call in calls if call)),
                        group=api["Name"],
                    )
                    samples += [sample] if _fits(sample) else []
    return by_hash({sample.id: sample for sample in samples}.values(), most)


def _golden(step: dict[str, Any], named: dict[str, Tool]) -> ToolCall | None:
    if step["Action"] not in named or _PLACEHOLDER.search(step["Action_Input"]):
        return None
    try:
        arguments = json.loads(step["Action_Input"])
    except ValueError:
        return None
    if not isinstance(arguments, dict):
        return None
    given = {name: value for name, value in arguments.items() if value != ""}
    return ToolCall(name=named[step["Action"]].name, arguments=given)


def _fits(sample: Sample) -> bool:
    calls = sample.label.calls if sample.label else ()
    return len(sample.messages) == 1 and not any(call_errors(call, sample.tools) for call in calls)


def of_run(folder: Path) -> Iterator[tuple[Sample, Sequence[Label | None]]]:
    """What the judge was asked in a finished run: every question with its answers, blind.

    Args:
        folder: of one run, with ``seed/`` and ``round_N/`` in it.
    """
    for probed in sorted(folder.glob("round_*/probe/predictions.jsonl")):
        number = int(probed.parents[1].name.removeprefix("round_"))
        before = folder / f"round_{number - 1}" / "optimize" / "dataset.jsonl"
        portions = folder / "seed" / "portions"
        answers = {answer.sample_id: answer for answer in predictions_at(probed)}
        for path in (
            before if before.is_file() else portions / "round_1.jsonl",
            portions / f"unseen_{number + 1}.jsonl",
        ):
            for sample in Dataset(path) if path.is_file() else ():
                if sample.label is not None and (answer := answers.get(sample.id)):
                    yield sample.blind(), [sample.label, answer.answer]
        expanded = probed.parents[1] / "optimize" / "expanded.jsonl"
        for sample in Dataset(expanded) if expanded.is_file() else ():
            yield sample.blind(), [sample.label]
