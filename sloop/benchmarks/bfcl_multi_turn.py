"""BFCL's multi-turn entries: dialogues of several turns with simulated classes, graded by their state and responses.

A turn goes on until an answer calls nothing; an answer with calls after the 20th of a turn ends the whole. What is
right is decided as officially: both the calls that were made and the gold ones are run, and after every turn that has
gold calls all public attributes of the classes are the same, and every gold response of the turn is among all that the
answers got so far. A turn without gold calls is run and not checked: so does the leaderboard (its check of them is
imported and never called). ``call_accuracy`` is stricter: there such a turn must have no call, and every answer must be
one that can be read.

The rules are those of ``model_handler/base_handler.py`` (the loop, for models with native calls), of
``eval_checker/eval_runner.py`` and of ``eval_checker/multi_turn_eval`` of bfcl-eval 2026.3.23. The classes are run from
the installed wheel (`sloop.environments.bfcl`).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from sloop.benchmarks.base import GRADING
from sloop.benchmarks.bfcl import Reading, shown
from sloop.benchmarks.official import (
    Aggregates,
    Entry,
    OfficialData,
    check_categories,
    check_version,
    lacking,
    named_folder,
    official_scores,
    read_entries,
    read_lines,
    read_sample,
)
from sloop.calls.readings import read_executed, written_call
from sloop.environments.bfcl import CLASSES, DiedError, Play, Simulator, again, code_digest, wheel
from sloop.measures.metrics import grade, scores
from sloop.measures.stats import rate
from sloop.records import EnvSpec, Grade, Label, Lineage, Message, Prediction, Sample, Score, Tool, ToolCall, digest
from sloop.records.ranges import Name, PathText, Seconds
from sloop.rollout import Episode
from sloop.store import Dataset, write_rows

CATEGORIES = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
AGGREGATES: Aggregates = {"official_multi_turn": (CATEGORIES, False)}
FORCED, INFERENCE = "multi_turn:force_terminated", "multi_turn:inference_error"
NEEDLESS = "needless_call_rate"
Turns = list[list[list[str]]]
"""By turn, the steps in which something is called: the text of each call."""
Verdict = tuple[bool, str | None]


class Offer(NamedTuple):
    """A function as handlers show it whose servers know of no responses."""

    first: Tool
    """Where it is on offer from the beginning."""
    later: Tool
    """Where it is added in a turn: without the word on its language, as officially."""

    @classmethod
    def of(cls, function: Mapping[str, Any]) -> Self:
        """A function of the official documents."""
        tool, end = shown(function), ""
        if "response" in function:
            end = f" The response field has the following schema: {json.dumps(function['response'])}"
        first, later = (f"{told}{end}" for told in (tool.description, function.get("description", "")))
        return cls(*(tool.model_copy(update={"description": told}) for told in (first, later)))


class BfclMultiTurnBenchmark:
    """BFCL's multi-turn entries of some categories (`sloop.benchmarks.base.Benchmark`)."""

    MODULES = (
        *GRADING,
        "sloop.benchmarks.bfcl",
        "sloop.benchmarks.bfcl_multi_turn",
        "sloop.benchmarks.official",
        "sloop.calls.bfcl_languages",
        "sloop.calls.readings",
        "sloop.environments.bfcl",
        "sloop.environments.bfcl_worker",
    )
    NOT_RESULTS = frozenset({"path", "cache_path"})
    """Where the data lie; what they are is known by their digest."""

    def __init__(
        self,
        *,
        name: Name,
        path: PathText | None,
        categories: list[str],
        reading: Reading | None,
        call_seconds: Seconds,
        digests: dict[str, str] | None,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/bfcl_multi_turn.yaml``, which says what each value is.

        Raises:
            UserError: an unknown category, or none.
        """
        check_categories(categories, CATEGORIES)
        self.name = name
        self.path = path
        self.categories = categories
        self.reading = reading
        self.pinned = digests
        self.cache_path = cache_path
        self.simulator = Simulator(call_seconds)

    def close(self) -> None:
        """End the process of the classes."""
        self.simulator.close()

    @property
    def data(self) -> Dataset:
        """The first question of every entry; its label is the gold calls of the first turn.

        Raises:
            UserError: there are no data, or they are of another version than the pinned one, or the wheel is missing.
        """
        return self._read.data

    @cached_property
    def _read(self) -> OfficialData:
        folder = wheel() / "data" if self.path is None else named_folder(self.path, "BFCL_v4_multi_turn_*.json")
        code = code_digest(wheel())
        digests = {"multi_turn_eval": code}
        documents = {
            name: [
                read_sample(partial(Offer.of, function), f"{folder}: function {function['name']} of {name}")
                for function in read_lines(folder / "multi_turn_func_doc", module, digests, ("name", "parameters"))
            ]
            for name, module in CLASSES.items()
        }
        keys = ("question", "initial_config", "involved_classes")
        given = [
            (category, entry)
            for category in self.categories
            for entry in read_entries(folder, f"BFCL_v4_{category}", digests, keys=keys)
        ]
        if self.pinned is not None:
            check_version(folder, digests, self.pinned)
        pairs: list[tuple[Sample, Entry]] = []
        for category, entry in given:
            where = f"{folder}: entry {entry['id']} of {category}"
            pairs.append((read_sample(partial(_sample, category, entry, documents, code), where), entry))
        target = Path(self.cache_path) / f"{digest([digests, self.categories])[:32]}.jsonl"
        write_rows(target, (sample for sample, _ in pairs))
        return OfficialData(Dataset(target), {sample.id: entry for sample, entry in pairs}, digests)

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """An episode an entry, graded by how it went."""
        for sample in self.data if ids is None else self.data.pick(ids):
            yield MultiTurnEpisode(sample, self._read.entries[sample.id], self.simulator, self.reading)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """The official accuracy by category, and its mean over them; METHOD's metrics over episodes; and how often
        something was called in a turn that asks for no call.
        """
        graded = list(grades)
        answered = [one for one in graded if one.error != "model"]
        needless = [
            rate(NEEDLESS, ((one.cluster, *one.needless) for one in answered if part in ("", one.slice)), part)
            for part in ("", *self.categories)
        ]
        return [*official_scores(graded, None, self.categories, AGGREGATES), *needless, *scores(graded)]

    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        digests = self._read.digests
        read = "by its looks" if self.reading is None else f"by the leaderboard's reading {self.reading!r}"
        return [
            f"BFCL multi-turn data and classes of {len(digests)} files, digest {digest(digests)[:16]}",
            f"a step of a file of results is read {read}, a student's own answer as sloop reads it",
            "turns that ask for no call are not checked officially: official scores forgive a call there, "
            f"call_accuracy does not, {NEEDLESS} counts such turns",
            *lacking(AGGREGATES, self.categories),
        ]


class MultiTurnEpisode:
    """One entry, turn by turn, or what a file of results has of it as a whole (`sloop.rollout.Episode`)."""

    def __init__(self, first: Sample, entry: Entry, simulator: Simulator, reading: Reading | None) -> None:
        """Begin with the first turn."""
        self.id = first.id
        self.cluster = first.group
        self._first = self._asked = first
        self._over = False
        self._entry = entry
        self._simulator = simulator
        self._reading = reading
        self._scene = {
            "classes": {name: CLASSES[name] for name in entry["involved_classes"]},
            "config": entry["initial_config"],
            "long_context": "long_context" in first.slice,
        }
        self._play = Play(simulator, self._scene)
        self._answers: list[Prediction] = []
        self._turns: Turns = [[]]
        self._calls: list[ToolCall] = []
        self._failed: str | None = None

    def ask(self) -> Sample | None:
        """The dialogue so far."""
        return None if self._over else self._asked

    def tell(self, answer: Prediction) -> None:
        """Run an answer's calls, or go on to the next turn where it has none."""
        self._answers.append(answer)
        if answer.error == "model" or _is_whole(answer):
            self._over = True
        elif answer.calls and not answer.error:
            self._act(answer)
        else:
            words = Message(role="assistant", content=answer.content or answer.text)
            self._turns.append([])
            if len(self._turns) > len(self._entry["question"]):
                self._turns.pop()
                self._over = True
            else:
                self._next([words, *self._said()])
        if self._over:
            self._play.close()

    def _act(self, answer: Prediction) -> None:
        step = [written_call(call.name, call.arguments) for call in answer.calls]
        self._turns[-1].append(step)
        try:
            results = self._play.act(step)
        except DiedError as error:
            self._failed, self._over = f"died: {error}", True
            return
        said = [Message(role="assistant", content=answer.content, tool_calls=answer.calls)]
        for number, result in enumerate(results, start=len(self._calls)):
            said.append(Message(role="tool", content=result, tool_call_id=f"call_{number}"))
        self._calls += answer.calls
        self._next(said)
        self._over = len(self._turns[-1]) > self._simulator.facts["max_steps"]

    def _said(self) -> list[Message]:
        """What the user says in the turn that begins."""
        turn = len(self._turns) - 1
        if str(turn) in self._entry.get("missed_function", {}):
            return [Message(role="user", content=self._simulator.facts["more_functions"])]
        return [Message(role=row["role"], content=row["content"]) for row in self._entry["question"][turn]]

    def _next(self, said: Sequence[Message]) -> None:
        turn = len(self._turns) - 1
        state = {"entry": f"{self._entry['id']}/{turn}/{len(self._turns[-1])}"}
        self._asked = self._asked.model_copy(
            update={
                "tools": self._tools(turn),
                "messages": (*self._asked.messages, *said),
                "turn": len(self._answers),
                "label": Label(calls=() if self._turns[-1] else self._entry["calls"][turn]),
                "env": EnvSpec(toolkit="bfcl", state=state),
            }
        )

    def _tools(self, turn: int) -> tuple[Tool, ...]:
        """Those on offer from the beginning, and those that were held back until then."""
        held = self._entry["held_back"].items()
        return (*self._first.tools, *(tool for since, tools in held if int(since) <= turn for tool in tools))

    def grade(self) -> tuple[Grade, ...]:
        """One grade: the official verdict, and what all calls were beside the gold ones."""
        last, gold = self._answers[-1], self._entry["ground_truth"]
        tools = self._tools(len(gold))
        wanted = tuple(call for turn in self._entry["calls"] for call in turn)
        asked = self._first.model_copy(update={"tools": tools, "label": Label(calls=wanted)})
        told = last.model_copy(update={"sample_id": asked.id, "calls": tuple(self._calls)})
        if last.error == "model":
            official, reason = (None, None) if last.raw is None else (False, INFERENCE)
            return (
                grade(asked, told).model_copy(update={"sample_id": self.id, "official": official, "reason": reason}),
            )
        if _is_whole(last):
            turns, reason = self._recorded(last.raw)
            calls, unread = calls_of([call for turn in turns for step in turn for call in step], tools)
            error = "format" if unread or not isinstance(last.raw, list) else None
            told = told.model_copy(update={"calls": calls, "error": error})
        else:
            turns, reason = self._turns, self._failed
            told = told.model_copy(update={"error": next((one.error for one in self._answers if one.error), None)})
        official, reason = (False, reason) if reason else self._verdict(turns)
        idle = [number for number, calls in enumerate(gold[: len(turns)]) if not calls]
        needless = [number for number in idle if turns[number]]
        plain = grade(asked, told)
        strict = official and plain.parsed and not needless
        if official and not strict:
            reason = (
                f"unexpected_call: in turn {needless[0]}" if needless else f"{plain.error}: an answer is not readable"
            )
        changes = {
            "sample_id": self.id, "official": official, "correct": strict, "reason": reason,
            "attempted": plain.attempted or bool(told.calls), "needless": (len(needless), len(idle)),
        }  # fmt: skip
        return (plain.model_copy(update=changes),)

    def _recorded(self, result: Any) -> tuple[Turns, str | None]:
        """What a file of results has of the entry, decoded; the official error where that is not all of its turns."""
        if not isinstance(result, list) or len(result) != len(self._entry["ground_truth"]):
            return [], FORCED if isinstance(result, list) else INFERENCE
        try:
            read = [[read_executed(self._reading or _looks(step), step) for step in turn] for turn in result]
        except TypeError:
            return [], "exception:TypeError"
        return [[step for step in turn if step] for turn in read], None

    def _verdict(self, turns: Turns) -> Verdict:
        gold = self._entry["ground_truth"]
        if len(turns) != len(gold):
            return False, FORCED
        try:
            found = again(lambda: self._simulator.ask("verdict", scene=self._scene, turns=turns, gold=gold))
        except DiedError as error:
            return False, f"died: {error}"
        except ValueError as error:  # the official checker raised
            return False, f"exception:{error}"
        return (True, None) if found is None else (False, f"{found['error']}: in turn {found['turn']}")


def _is_whole(answer: Prediction) -> bool:
    """Whether an answer is what a file of results has of an entry, and not the calls that a server handed over."""
    raw = answer.raw
    return raw is not None and not (isinstance(raw, list) and raw and all(isinstance(call, dict) for call in raw))


def _looks(step: Any) -> Reading:
    """The handler that a step seems to come from."""
    if not isinstance(step, str):
        return "fc"
    return "qwen_fc" if "<tool_call>" in step else "prompting"


def _sample(category: str, entry: Entry, documents: Mapping[str, Sequence[Offer]], code: str) -> Sample:
    """The first question; beside it the entry takes ``held_back``, the tools that are added in a turn, and ``calls``,
    the gold ones of each turn.
    """
    offers = [offer for name in entry["involved_classes"] for offer in documents[name]]
    missed, later = entry.get("missed_function", {}), {offer.later.name: offer.later for offer in offers}
    entry["held_back"] = {turn: [later[name] for name in names] for turn, names in missed.items()}
    lacking = {name for names in missed.values() for name in names}
    gold = entry["ground_truth"]
    if len(gold) != len(entry["question"]):
        raise ValueError(f"{len(entry['question'])} turns and gold calls of {len(gold)}")
    tools = tuple(offer.first for offer in offers if offer.first.name not in lacking)
    read = [calls_of(turn, [offer.later for offer in offers]) for turn in gold]
    if unread := [text for _, texts in read for text in texts]:
        raise ValueError(f"a gold call that is none: {unread[0]}")
    entry["calls"] = [calls for calls, _ in read]
    return Sample(
        tools=tools,
        messages=tuple(Message(role=row["role"], content=row["content"]) for row in entry["question"][0]),
        label=Label(calls=entry["calls"][0]),
        group=f"multi_turn_{entry['id'].rpartition('_')[2]}",  # the same scene stands in every category
        slice=category,
        lineage=Lineage(unit=digest([gold, entry["initial_config"], code])[:32]),
        env=EnvSpec(toolkit="bfcl", state={"entry": entry["id"]}),
    )


def calls_of(texts: Iterable[str], tools: Sequence[Tool]) -> tuple[tuple[ToolCall, ...], list[str]]:
    """The calls that texts say, arguments without a name being the parameters in order, and the texts that say none."""
    parameters = {tool.name: list(tool.properties) for tool in tools}
    calls: list[ToolCall] = []
    unread: list[str] = []
    for text in texts:
        try:
            node: Any = ast.parse(text, mode="eval").body
            names = [*parameters.get(node.func.id, [])[: len(node.args)], *(keyword.arg for keyword in node.keywords)]
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            arguments = {name: ast.literal_eval(value) for name, value in zip(names, values, strict=True)}
            calls.append(ToolCall(name=node.func.id, arguments=arguments))
        except (AttributeError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
            unread.append(text)
    return tuple(calls), unread
