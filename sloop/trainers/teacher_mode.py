"""Toolformer (Schick et al., 2023, arXiv:2302.04761): within texts the student proposes calls of tools, which are run;
those are kept that make what follows likelier, and are trained on in the checkpoint's own format.

It is a trainer, and neither a teacher nor a stage: what it learns from follows from the weights that it starts from.
"""
# No postponed annotations: the settings' types are read off the class.

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field

from sloop.calls.formats import parse
from sloop.engine.identity import code_digest, module_of
from sloop.models.bounded import Bounded, Exceeded
from sloop.models.prompts import PACKAGED
from sloop.records import Checkpoint, Label, Lineage, Message, Sample, Tool, ToolCall, UserError, digest
from sloop.records.ranges import Heat, PathText, Positive, Seconds, Share, Threads, Within
from sloop.store import Dataset, read_json, write_json, write_rows
from sloop.students.decoding import Draws, draw_seed, generate
from sloop.students.local import Device, load_model, load_tokenizer, longest_context
from sloop.students.templates import encode
from sloop.tools.contract import RunnableTool, as_tool, definition, named, run_tool
from sloop.trainers.base import TRAINING_FILE, Progress, Trainer, Training, settings_of

WEIGHTS = tuple(max(0.0, 1 - 0.2 * place) / 3 for place in range(5))
"""Of what follows a call, by place: w_t = max(0, 1 - 0.2 t), over the sum of all (section 4.1)."""
KEPT, COUNTS, TRIED = "with_calls.jsonl", "calls.json", "calls_tried.json"
"""Under a checkpoint's ``sidecar``: what was trained on, calls counted by what became of them, and each of them."""
NO_TEXT, NO_CALL = "no words in the label, or a call", "no call within it helped"
TOO_LONG = "too long for the model to be asked for calls within it"
LONGEST_RESULT = 1_000
"""Characters of a result that are read."""


class Runnable(NamedTuple):
    """A tool, and what runs it."""

    tool: Tool
    run: Callable[[dict[str, Any]], str]
    """Raises `Exceeded` where it fails."""


class Tried(NamedTuple):
    """A call at a place of a text, and what became of it."""

    place: int
    """Before which token of the text it stands."""
    written: str
    call: ToolCall | None = None
    result: str = ""
    gain: float = 0.0
    """Nats."""
    outcome: str = "kept"

    def row(self, sample: Sample) -> dict[str, Any]:
        """As it is written down."""
        call = self.call.model_dump() if self.call else None
        return {"sample_id": sample.id, **self._asdict(), "call": call}


@dataclass(kw_only=True)
class TeacherMode:
    """Adds calls to the words of labels, and has another trainer learn what came of it."""

    MODULES: ClassVar[tuple[str, ...]] = (
        "sloop.calls.formats",
        "sloop.models.bounded",
        "sloop.models.prompts",
        "sloop.records.base",
        "sloop.records.samples",
        "sloop.students.decoding",
        "sloop.students.local",
        "sloop.students.prefill",
        "sloop.students.templates",
        "sloop.tools.contract",
        "sloop.tools.dialects",
        "sloop.trainers.teacher_mode",
    )
    NOT_RESULTS: ClassVar[frozenset[str]] = frozenset({"threads"})
    CODE: ClassVar[frozenset[str]] = frozenset({"tools"})

    trainer: Trainer
    tools: Annotated[list[PathText], Field(min_length=1)]
    demonstrations: Annotated[list[PathText], Field(min_length=1)]
    sampling_threshold: Share
    positions: Positive
    calls: Positive
    filter_threshold: Annotated[float, Within(0, 1_000)]
    temperature: Heat
    max_call: Annotated[int, Within(1, 1_024)]
    seconds: Seconds
    threads: Threads
    device: Device

    def train(
        self,
        start: Checkpoint,
        data: Dataset,
        predictions: Path | None,
        *,
        steps: int,
        seed: int,
        out: Path,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Propose, run and filter calls, once; then train on the texts with those that were kept.

        Raises:
            UserError: a tool is not there, no call was kept, or whatever the other trainer says.
        """
        kept, counts = out / "sidecar" / KEPT, out / "sidecar" / COUNTS
        settings = {name: value for name, value in settings_of(self).items() if name != "trainer"}
        key = digest([settings, code_digest(map(module_of, self.tools)), start.digest, data.sha256, seed])
        if not counts.is_file() or read_json(counts)["key"] != key:

            def alive() -> None:
                if progress:
                    progress(0, steps, {})

            found = self._annotate(start, data, seed, out / "sidecar", alive)
            write_json(counts, {"key": key, **found})
        found = read_json(counts)
        if not kept.stat().st_size:
            raise UserError(
                f"none of {found['calls'].get('proposed', 0)} proposed calls was kept ({found['calls']}; texts: "
                f"{found['left_out']}). Give more texts, other trainer.demonstrations, or a lower "
                f"trainer.filter_threshold (now {self.filter_threshold:g})."
            )
        made = self.trainer.train(start, Dataset(kept), None, steps=steps, seed=seed, out=out, progress=progress)
        said = Training.model_validate(read_json(out / TRAINING_FILE))
        left_out = dict(Counter(said.left_out) + Counter(found["left_out"]))
        told = {"left_out": left_out, "settings": {**said.settings, "calls": found["calls"]}}
        write_json(out / TRAINING_FILE, said.model_copy(update=told).model_dump())
        return made

    def _annotate(
        self, start: Checkpoint, data: Dataset, seed: int, sidecar: Path, alive: Callable[[], None]
    ) -> dict[str, Any]:
        """Write the texts with the calls that were kept; returns calls by outcome, and texts left out by reason."""
        torch.set_num_threads(self.threads)
        tools = {one.tool.name: one for one in (runnable(path, self.seconds) for path in self.tools)}
        folder = Path(start.path)
        tokenizer = load_tokenizer(folder)
        model = load_model(folder, torch.float32).to(self.device).eval()
        context = longest_context(model.config)
        prompt = prompt_of([one.tool for one in tools.values()], self.demonstrations)
        calls, left_out, rows = Counter[str](), Counter[str](), list[dict[str, Any]]()

        def samples() -> Iterator[Sample]:
            for sample in data:
                alive()
                if sample.label is None or sample.label.calls or not sample.label.content.strip():
                    left_out[NO_TEXT] += 1
                    continue
                text = Text(tokenizer, sample)
                head = text.head(prompt)
                if context and len(head) + len(text.body) + self.max_call > context:
                    left_out[TOO_LONG] += 1
                    continue
                tried = list(self._tried(model, text, head, tools, seed))
                kept = best(tried)
                rows.extend(one.row(sample) for one in tried)
                calls["proposed"] += len(tried)
                calls["executed"] += sum(one.outcome in ("kept", "no help") for one in tried)
                calls.update("kept" if one in kept else "beside a better one" if one.outcome == "kept" else one.outcome
                             for one in tried)  # fmt: skip
                if not kept:
                    left_out[NO_CALL] += 1
                yield from with_calls(text, kept, [one.tool for one in tools.values()])

        unique = {sample.id: sample for sample in samples()}
        write_rows(sidecar / KEPT, unique.values())
        write_json(sidecar / TRIED, rows)
        return {"calls": dict(calls), "left_out": dict(left_out)}

    def _tried(
        self, model: Any, text: "Text", head: list[int], tools: Mapping[str, Runnable], seed: int
    ) -> Iterator[Tried]:
        """Every call that is proposed within a text, behind a head, run, and held against the text without it."""
        offered = [one.tool for one in tools.values()]
        for place, opening in places(model, head, text, self.sampling_threshold, self.positions):
            seen = set[str]()
            bare = loss(model, text.before(place), text.body[place:])
            for written in self._drawn(model, [*head, *text.body[:place], opening], text, place, offered, seed):
                one = Tried(place, written, read(written, offered))
                if one.call is None:
                    yield one._replace(outcome="unreadable")
                    continue
                if written in seen:
                    yield one._replace(outcome="repeated")
                    continue
                seen.add(written)
                try:
                    result = tools[one.call.name].run(one.call.arguments)[:LONGEST_RESULT]
                except Exceeded as error:
                    yield one._replace(outcome="failed", result=str(error))
                    continue
                alone, told = (
                    loss(model, text.before(place, prefix), text.body[place:])
                    for prefix in (f"[{written}]", f"[{written} -> {result}]")
                )
                gain = min(bare, alone) - told
                yield one._replace(
                    result=result, gain=gain, outcome="kept" if gain >= self.filter_threshold else "no help"
                )

    def _drawn(
        self, model: Any, prompt: list[int], text: "Text", place: int, tools: Sequence[Tool], seed: int
    ) -> list[str]:
        """Calls that are written behind an opened bracket, as far as they go."""
        answers: dict[int, list[int]] = {}

        def watch(row: int, token: int, _: float) -> bool:
            answers.setdefault(row, []).append(token)
            words = str(text.tokenizer.decode(answers[row]))
            return "]" in words and read(words[: words.rindex("]")], tools) is not None

        draws = Draws(
            [(self.temperature, draw_seed([seed, text.sample.id, place, number])) for number in range(self.calls)]
        )
        generate(model, [prompt] * self.calls, [self.max_call] * self.calls, text.ends, watch, draws)
        found = (str(text.tokenizer.decode(answers[row])) for row in range(self.calls))
        return [words[: words.rindex("]")].strip() if "]" in words else words.strip() for words in found]


class Text:
    """The words of a label within their dialogue, as plain text in tokens."""

    def __init__(self, tokenizer: Any, sample: Sample) -> None:
        """Take a sample whose label has words."""
        assert sample.label is not None
        self.tokenizer = tokenizer
        self.sample = sample
        self.words = sample.label.content
        self.asked = "".join(f"{message.content}\n" for message in sample.messages if message.content)
        self.body = encode(tokenizer, [self.words])[0]
        first = next((token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None), 0)
        self.first = [first]
        self.ends = frozenset(token for token in (tokenizer.eos_token_id,) if token is not None) or frozenset({first})

    def head(self, prompt: str) -> list[int]:
        """What stands before the words where calls are asked for; P(x) in the paper."""
        whole = prompt.replace("TEXT", self.asked + self.words).replace("BEGUN", self.asked)
        return self.first + encode(self.tokenizer, [whole])[0]

    def before(self, place: int, prefix: str = "") -> list[int]:
        """What stands before a place of the words, behind a prefix."""
        shown = f"{prefix} {self.asked}" if prefix else self.asked
        return self.first + encode(self.tokenizer, [shown])[0] + self.body[:place]

    def between(self, start: int, end: int | None) -> str:
        """Words from one place to another."""
        return str(self.tokenizer.decode(self.body[start:end], clean_up_tokenization_spaces=False))


# --- the paper's formulas ---------------------------------------------------------------------------------------------


@torch.inference_mode()
def loss(model: Any, before: list[int], after: Sequence[int]) -> float:
    """What follows, in nats, weighted: L_i(z) = -sum over j of w_(j-i) log p(x_j | z, x_(1:j-1)).

    Args:
        model: a causal language model.
        before: z and x_(1:i-1), in tokens; one at least.
        after: x_i and so on; as many count as there are `WEIGHTS`.
    """
    counted = list(after[: len(WEIGHTS)])
    ids = torch.tensor([before + counted], device=model.device)
    logs = model(input_ids=ids, use_cache=False, logits_to_keep=len(counted) + 1).logits[0, :-1].float().log_softmax(-1)
    chosen = logs.gather(-1, ids[0, -len(counted) :, None])[:, 0].tolist()
    return float(-sum(weight * log for weight, log in zip(WEIGHTS, chosen, strict=False)))


@torch.inference_mode()
def places(model: Any, head: list[int], text: Text, threshold: float, most: int) -> list[tuple[int, int]]:
    """Where a call is likeliest to be opened, with the token that opens it: p(<API> | P(x), x_(1:i-1)) > threshold.

    Args:
        model: proposes.
        head: P(x), in tokens.
        text: in which calls may stand.
        threshold: tau_s.
        most: k.
    """
    openings = sorted({encode(text.tokenizer, [mark])[0][0] for mark in ("[", " [")})
    ids = torch.tensor([head + text.body], device=model.device)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(text.body) + 1).logits[0, :-1]
    chances = logits.float().softmax(-1)[:, openings]
    chance, which = chances.sum(-1).tolist(), chances.argmax(-1).tolist()
    likely = sorted((place for place in range(len(chance)) if chance[place] > threshold), key=lambda at: -chance[at])
    return [(place, openings[which[place]]) for place in sorted(likely[:most])]


def best(tried: Sequence[Tried]) -> list[Tried]:
    """Of the calls that helped, the one at each place that helped most, in the order of places."""
    found: dict[int, Tried] = {}
    for one in tried:
        if one.outcome == "kept" and (one.place not in found or one.gain > found[one.place].gain):
            found[one.place] = one
    return [found[place] for place in sorted(found)]


# --- tools, and what a model reads of them ----------------------------------------------------------------------------


def runnable(path: str, seconds: float) -> Runnable:
    """A Python function, or whatever has ``description()``, ``arguments()`` and ``call(arguments)``, by dotted path.

    Every call runs in a process of its own, for so long at most.

    Raises:
        UserError: there is none.
    """
    module, _, name = path.rpartition(".")
    try:
        found = named(f"{module}:{name}")
        tool = as_tool(path, found() if isinstance(found, type) else found)
    except UserError as error:
        raise UserError(
            f"trainer.tools: {path} cannot be had ({error}). Give the dotted path of a function, such as "
            "my_tools.calculate, in a module that Python finds."
        ) from error
    return Runnable(definition(name, tool), Bounded(partial(_text, tool), seconds=seconds))


def _text(tool: RunnableTool, arguments: dict[str, Any]) -> str:
    return asyncio.run(run_tool(tool, arguments))


def prompt_of(tools: Sequence[Tool], demonstrations: Sequence[str]) -> str:
    """P(x) without x: what the tools are, and texts without and with calls of them."""
    listed = []
    for tool in tools:
        arguments = ", ".join(f"{name}: {kind.get('type', 'any')}" for name, kind in tool.properties.items())
        listed.append(f"{tool.name}({arguments}): {tool.description}")
    call = re.compile(rf" ?\[(?:{'|'.join(re.escape(tool.name) for tool in tools)})\(.*?\)\]")
    shown = [f"Input: {call.sub('', text)}\nOutput: {text}\n" for text in demonstrations]
    prompt = (PACKAGED / "calls.jinja").read_text("utf-8").rstrip("\n")
    return prompt.replace("TOOLS", "\n".join(listed)).replace("EXAMPLES", "\n".join(shown))


def read(written: str, tools: Sequence[Tool]) -> ToolCall | None:
    """The one call between brackets; None: there is none of a tool on offer, or several."""
    parsed = parse("pythonic", f"[{written}]", tools=tools)
    known = {tool.name for tool in tools}
    return parsed.calls[0] if len(parsed.calls) == 1 and parsed.calls[0].name in known else None


def with_calls(text: Text, kept: Sequence[Tried], tools: Sequence[Tool]) -> Iterator[Sample]:
    """A text with calls as the decisions of a dialogue: words up to a call and the call; its result; the words on."""
    if not kept:
        return
    given, sample = list(text.sample.messages), text.sample
    calls = sum(len(message.tool_calls) for message in given)
    offered = (*sample.tools, *(tool for tool in tools if sample.tool(tool.name) is None))

    def decided(label: Label, turn: int) -> Sample:
        lineage = Lineage(stage="teacher_mode", parents=(sample.id,))
        return Sample(
            tools=offered, messages=tuple(given), label=label, group=sample.group or sample.id, turn=turn,
            source=sample.source, copies=sample.copies, lineage=lineage,
        )  # fmt: skip

    at = 0
    for number, one in enumerate(kept):
        assert one.call is not None
        label = Label(calls=(one.call,), content=text.between(at, one.place).strip())
        yield decided(label, number)
        told = Message(role="tool", content=one.result, tool_call_id=f"call_{calls + number}")
        given += [label.message(), told]
        at = one.place
    if rest := text.between(at, None).strip():
        yield decided(Label(content=rest), len(kept))
