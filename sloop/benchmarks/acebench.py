"""ACEBench's ``normal_*`` and ``special_*`` rows: official verdicts and means, and ours beside them.

The data are not shipped: they are read from a clone of the official repository (chenchen0103/ACEBench), in English
(``data_all/data_en``) or Chinese. ``normal_*`` rows are single turns and steps of dialogues; ``special_*`` rows want
certain words in place of a call, which officially are looked for and nothing else. ``agent_*`` rows, which need a
simulated user, are not run.

Official prompts put tools and dialogue into one text and ask for ``[f(x='a')]``. Here tools are offered as a student's
own format offers them, the dialogue stands in messages, and a system message says in substance what the official one
says. A student may answer in its own format, or with bracketed calls, which are read as leniently as officially.

The official verdict compares a number or boolean by its type alone, and a string by a substring. ``correct``, and with
it METHOD's metrics, is our strict comparison with the same answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from sloop.benchmarks.base import GRADING, SampleEpisode
from sloop.benchmarks.official import (
    Aggregates,
    Entry,
    OfficialData,
    as_shown,
    check_categories,
    check_version,
    lacking,
    named_folder,
    official_scores,
    read_entries,
    read_sample,
    underscored,
    without,
)
from sloop.calls.match.acebench import SUFFIX, acebench, acebench_words
from sloop.calls.match.official import OfficialMatch
from sloop.calls.readings import after_reasoning, read_bracketed, write_bracketed
from sloop.calls.schema import validator
from sloop.measures.metrics import grade, scores
from sloop.measures.stats import wilson
from sloop.records import (
    EnvSpec,
    Grade,
    Label,
    Lineage,
    Message,
    Prediction,
    Sample,
    Score,
    Tool,
    ToolCall,
    UserError,
    digest,
)
from sloop.records.ranges import Name, PathText
from sloop.rollout import Episode
from sloop.store import Dataset, write_rows

SINGLE_TURN = ("normal_single_turn_single_function", "normal_single_turn_parallel_function")
MULTI_TURN = ("normal_multi_turn_user_adjust", "normal_multi_turn_user_switch")
PREFERENCE = "normal_preference"
ATOM = (
    "normal_atom_bool",
    "normal_atom_enum",
    "normal_atom_number",
    "normal_atom_list",
    "normal_atom_object_deep",
    "normal_atom_object_short",
)
NORMAL = (*SINGLE_TURN, *MULTI_TURN, "normal_similar_api", PREFERENCE, *ATOM)
SPECIAL = ("special_incomplete", "special_error_param", "special_irrelevant")
CATEGORIES = (*NORMAL, *SPECIAL)
AGGREGATES: Aggregates = {
    "official_normal": (NORMAL, False),
    "official_special": (SPECIAL, False),
    "official_atom": (ATOM, False),
    "official_single_turn": (SINGLE_TURN, False),
    "official_multi_turn": (MULTI_TURN, False),
}
"""The official table's means, in which every category weighs the same; that of a dialogue's steps is its end accuracy.
"""
SHOWN = 3
"""Of the rows known to be bad; all of them are counted."""
DIGITS = 3
"""To which the official table rounds the accuracies that a mean is of, and the mean."""

DATA = "data_*.json and possible_answer/, as data_all/data_en of github.com/chenchen0103/ACEBench does"

TYPES = {
    "integer": "integer", "int": "integer", "number": "number", "float": "number", "boolean": "boolean",
    "array": "array", "list": "array", "tuple": "array", "list(string)": "array", "list(enum)": "array",
    "objectArray": "array", "object": "object", "dict": "object",
}  # fmt: skip
"""JSON Schema's type for each of ACEBench's; every other one is a string."""

SHAPES: dict[str, tuple[type, ...]] = {
    "type": (str,), "description": (str,), "format": (str,), "enum": (list,), "required": (list,),
    "properties": (dict,), "items": (dict,), "minimum": (int, float), "maximum": (int, float),
}  # fmt: skip
"""What the commonest keywords of a JSON Schema hold."""

TASK = (
    "You are the assistant. From the tools on offer and the conversation so far, decide which calls come next, make "
    "all of them, and add no explanation. Unless a tool says otherwise a parameter is optional: give it where {source} "
    "mentions it, and leave it out where not. Unless its description asks for another form, give a value as it stands "
    "in the words of {source}. Invent neither parameters nor values."
)
WORDS = (
    "Where no call can be right, call nothing and say so in one of these three forms. A value that the user gives and "
    "that its parameter cannot take: There is incorrect value (VALUE) for the parameters (NAME). Values that a tool "
    "requires and the user does not give: Missing necessary parameters (NAMES) for the api (TOOL). A request that none "
    "of the tools is for: This is beyond the limitations of the function."
)
"""For special rows: each form holds the words that are officially looked for."""
BRACKETS = (
    "Write the calls, and nothing else, as one list that begins with [ and ends with ], for example "
    "[first_tool(city='Oslo', days=2), second_tool()]."
)
_LIST = re.compile(r"\[\s*+[^\W\d][\w.]*+\(")
"""A bracketed call begins."""
_ROLE = re.compile(r"^(user|system|assistant|tool): ?", re.M)


class AceBenchmark:
    """ACEBench's ``normal_*`` and ``special_*`` entries of some categories (`sloop.benchmarks.base.Benchmark`)."""

    MODULES = (
        *GRADING,
        "sloop.benchmarks.acebench",
        "sloop.benchmarks.official",
        "sloop.calls.bfcl_languages",
        "sloop.calls.match.acebench",
        "sloop.calls.match.official",
        "sloop.calls.readings",
    )

    NOT_RESULTS = frozenset({"path", "cache_path"})
    """Where the data lie; what they are is known by their digest."""

    def __init__(
        self,
        *,
        name: Name,
        path: PathText,
        categories: list[str],
        ask_for_brackets: bool,
        digests: dict[str, str] | None,
        known_bad: list[str] | None,
        skip_known_bad: bool,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/acebench.yaml``, which says what each value is.

        Raises:
            UserError: an unknown category, or none.
        """
        check_categories(categories, CATEGORIES)
        self.name = name
        self.path = path
        self.categories = categories
        self.ask_for_brackets = ask_for_brackets
        self.pinned = digests
        self.listed_bad = known_bad
        self.skip_known_bad = skip_known_bad
        self.cache_path = cache_path

    @property
    def data(self) -> Dataset:
        """The questions; the label is the first answer.

        Raises:
            UserError: there are no data, or they are of another version than the pinned one.
        """
        return self._read.data

    @cached_property
    def known_bad(self) -> list[str]:
        """Ids of the entries that are listed; without a list, of those whose own answer the official rules reject."""
        if self.listed_bad is not None:
            return self.listed_bad
        return [
            entry["id"]
            for category, given in self._entries[0].items()
            for entry in given
            if not _can_be_met(category, entry)
        ]

    @cached_property
    def _entries(self) -> tuple[dict[str, list[Entry]], dict[str, str]]:
        """Entries, and the digest of what the files say, by category."""
        folder = named_folder(self.path, DATA)
        entries, digests = {}, {}
        for category in self.categories:
            files: dict[str, str] = {}
            entries[category] = read_entries(folder, f"data_{category}", files)
            digests[category] = digest(sorted(files.values()))[:16]
        if self.pinned is not None:
            check_version(folder, digests, self.pinned)
        return entries, digests

    @cached_property
    def _read(self) -> OfficialData:
        entries, digests = self._entries
        skipped = frozenset(self.known_bad if self.skip_known_bad else ())
        pairs = [
            (
                read_sample(
                    partial(_sample, category, entry, self.ask_for_brackets), f"{self.path}: entry {entry['id']}"
                ),
                entry,
            )
            for category, given in entries.items()
            for entry in given
            if entry["id"] not in skipped
        ]
        known_as = digest([digests, self.ask_for_brackets, sorted(skipped)])[:32]
        target = Path(self.cache_path) / f"{known_as}.jsonl"
        write_rows(target, (sample for sample, _ in pairs))
        return OfficialData(Dataset(target), {sample.id: entry for sample, entry in pairs}, digests)

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """An episode a single turn, and one a dialogue, which asks its steps in order; `grade` grades each step."""
        for first in self._dialogues if ids is None else ids:
            yield SampleEpisode(tuple(self.data.pick(self._dialogues[first])), self.grade)

    @cached_property
    def _dialogues(self) -> dict[str, list[str]]:
        """The samples of each dialogue, or the one of a single turn, by the first one's id."""
        groups: dict[str, list[str]] = {}
        for sample in self.data:
            groups.setdefault(sample.group, []).append(sample.id)
        return {steps[0]: steps for steps in groups.values()}

    def grade(self, sample: Sample, prediction: Prediction) -> Grade:
        """The official verdict on one answer, beside the strict comparison with whichever answer is met."""
        entry = self._read.entries[sample.id]
        plain = _strict_grade(sample, entry, as_shown(prediction))
        if plain.error == "model" and prediction.raw is None:
            return plain
        found = _verdict(sample.slice, entry, prediction)
        return plain.model_copy(update={"official": found.valid, "reason": found.error_type or plain.reason})

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics by category; the official accuracy with and without the entries known to be bad, where a
        dialogue is right if all its steps are; the mean share of right steps; and the official means.
        """
        graded = list(grades)
        whole = _dialogues(graded)
        kept = without(graded, self._read.entries, self.known_bad)
        sound = None if kept is None else _dialogues(kept)
        process = [_process_accuracy(graded, category) for category in self.categories if category in MULTI_TURN]
        return [*official_scores(whole, sound, self.categories, AGGREGATES, DIGITS), *process, *scores(graded)]

    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        digests = self._read.digests
        told = [f"ACEBench data of {len(digests)} categories, digest {digest(digests)[:16]}"]
        if self.pinned is None:
            told.append("these data are not pinned; to hold later runs to them, give as benchmark.digests:")
            told += [f"  {category}: '{value}'" for category, value in digests.items()]
        if self.known_bad:
            why = "listed as bad" if self.listed_bad is not None else "whose own answer is wrong by the official rules"
            left = "left out" if self.skip_known_bad else "scores are given with and without them"
            some = f"{', '.join(self.known_bad[:SHOWN])}{', ...' if self.known_bad[SHOWN:] else ''}"
            told.append(f"{len(self.known_bad)} rows {why} ({some}): {left}")
        told += lacking(AGGREGATES, self.categories)
        told.append("agent_* rows are not run; the official summary is 0.578 normal, 0.2676 special and 0.1545 agent")
        return told


def _answers(entry: Entry) -> Sequence[Mapping[str, Any]]:
    """The answers of which any will do."""
    truth: Any = entry["ground_truth"]
    return [truth] if isinstance(truth, Mapping) else truth


def _can_be_met(category: str, entry: Entry) -> bool:
    """Whether an entry's own answer, given back, is right by the official rules."""
    label = _label(category, entry, _answers(entry)[0])
    return _verdict(category, entry, Prediction(sample_id="", calls=label.calls, text=label.content)).valid


def _sample(category: str, entry: Entry, ask_for_brackets: bool) -> Sample:
    return Sample(
        tools=tuple(shown(function) for function in entry["function"]),
        messages=(
            Message(role="system", content=_task(category, entry, ask_for_brackets)),
            *dialogue(entry["question"]),
        ),
        label=_label(category, entry, _answers(entry)[0]),
        group=entry["id"].rpartition("_")[0] if category in MULTI_TURN else entry["id"],
        slice=category,
        lineage=Lineage(unit=digest(entry["ground_truth"])[:32]),
        # Rows may ask the same: the entry is part of who a sample is.
        env=EnvSpec(toolkit="acebench", state={"entry": entry["id"]}),
    )


def _task(category: str, entry: Entry, ask_for_brackets: bool) -> str:
    """The system message: as officially, a preference row's knows the user's profile, any other's the time."""
    known = str(entry.get("profile" if category == PREFERENCE else "time", "")).strip()
    parts = [TASK.format(source="the user or the user's profile" if category == PREFERENCE else "the user")]
    if category in SPECIAL:
        parts.append(WORDS)
    if ask_for_brackets:
        parts.append(BRACKETS)
    if known:
        parts.append(f"The user's profile: {known}" if category == PREFERENCE else known)
    return "\n\n".join(parts)


def dialogue(question: str) -> tuple[Message, ...]:
    """The messages of a question, which marks who speaks at the beginning of a line.

    ``system`` is the official word for the assistant. Calls in a dialogue stay the text that they are there, with a
    ``tool:`` line beside them, and what one side says in several goes is one message.
    """
    parts = _ROLE.split(question.strip())
    turns: list[tuple[str, str]] = [("user", parts[0].strip())] if parts[0].strip() else []
    for speaker, text in zip(parts[1::2], parts[2::2], strict=True):
        said = f"tool: {text.strip()}" if speaker == "tool" else text.strip()
        role = "user" if speaker == "user" else "assistant"
        if turns and turns[-1][0] == role:
            turns[-1] = role, f"{turns[-1][1]}\n{said}"
        else:
            turns.append((role, said))
    return tuple(Message.model_validate({"role": role, "content": said}) for role, said in turns)


def shown(function: Mapping[str, Any]) -> Tool:
    """A function as a model is shown it: dots in its name are underscores, and types are JSON Schema's.

    What is declared under ``arguments`` counts as parameters. Parameters that make no JSON Schema, which an endpoint
    would refuse, are shown by name, type and description.
    """
    declared = function.get("parameters") or function.get("arguments") or {}
    schema = {"properties": {}, **_schema(declared), "type": "object"}
    tool = Tool(name=underscored(function["name"]), description=function.get("description", ""), parameters=schema)
    try:
        if not _plainly_sound(schema):
            validator(tool)
    except UserError:
        return tool.model_copy(update={"parameters": _types_alone(schema)})
    return tool


def _plainly_sound(schema: Any) -> bool:
    """Whether a schema has no keyword but the commonest, each with a value of its kind. To say of any other whether it
    is one costs more than all the rest of reading a row.
    """
    if not isinstance(schema, dict):
        return False
    required = schema.get("required", [])
    return (
        all(type(value) in SHAPES.get(keyword, ()) or keyword == "default" for keyword, value in schema.items())
        and all(isinstance(name, str) for name in required)
        and len(set(required)) == len(required)
        and all(map(_plainly_sound, schema.get("properties", {}).values()))
        and ("items" not in schema or _plainly_sound(schema["items"]))
    )


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(schema)
    if "type" in schema:
        new["type"] = TYPES.get(str(schema["type"]), "string")
    if isinstance(schema.get("properties"), Mapping):
        new["properties"] = {k: _schema(v) if isinstance(v, Mapping) else v for k, v in schema["properties"].items()}
    if isinstance(schema.get("items"), Mapping):
        new["items"] = _schema(schema["items"])
    return new


def _types_alone(schema: Mapping[str, Any]) -> dict[str, Any]:
    declared = schema["properties"] if isinstance(schema["properties"], Mapping) else {}
    parts = {name: part if isinstance(part, Mapping) else {} for name, part in declared.items()}
    return {
        "type": "object",
        "properties": {
            name: {"type": part.get("type", "string"), "description": str(part.get("description", ""))}
            for name, part in parts.items()
        },
    }


def _label(category: str, entry: Entry, answer: Any) -> Label:
    """The answer as a decision; a special row's is words."""
    if category in SPECIAL:
        return Label(content=_words(category, answer))
    names = {function["name"] for function in entry["function"]}
    called = [(name if name in names else SUFFIX.sub("", name), arguments) for name, arguments in answer.items()]
    return Label(calls=tuple(ToolCall(name=underscored(name), arguments=arguments) for name, arguments in called))


def _words(category: str, answer: Any) -> str:
    """A sentence for each thing that is to be told, in the forms of `WORDS`."""
    if category == "special_irrelevant":
        return "This is beyond the limitations of the function."
    form = (
        "Missing necessary parameters ({parts}) for the api ({of})."
        if category == "special_incomplete"
        else "There is incorrect value ({parts}) for the parameters ({of})."
    )
    return " ".join(form.format(parts=", ".join(parts), of=of) for of, parts in answer.items())


def _strict_grade(sample: Sample, entry: Entry, prediction: Prediction) -> Grade:
    """Against the first answer that is met, or else the first."""
    first = grade(sample, prediction)
    if first.correct or sample.slice in SPECIAL:
        return first
    labels = (_label(sample.slice, entry, answer) for answer in _answers(entry)[1:])
    others = (sample.model_copy(update={"label": label}) for label in labels)
    return next((found for other in others if (found := grade(other, prediction)).correct), first)


def _verdict(category: str, entry: Entry, prediction: Prediction) -> OfficialMatch:
    """The official verdict: on the text where it holds bracketed calls or is recorded, else on the calls that were read
    in another form, written in brackets.
    """
    recorded = isinstance(prediction.raw, str)
    text = prediction.raw if recorded else after_reasoning(prediction.text)
    if category in SPECIAL:
        return acebench_words(category, text, entry["ground_truth"])
    names = {} if recorded else {underscored(function["name"]): function["name"] for function in entry["function"]}
    if prediction.calls and not recorded and not _LIST.search(text):
        text = write_bracketed([{names.get(call.name, call.name): call.arguments} for call in prediction.calls])
    calls = read_bracketed(text, step=category in MULTI_TURN)
    if calls is not None:
        calls = [{names.get(name, name): arguments for name, arguments in call.items()} for call in calls]
    return acebench(entry["function"], calls, entry["ground_truth"])


def _dialogues(graded: Iterable[Grade]) -> list[Grade]:
    """One grade a single turn and one a dialogue, in each trial: wrong by any wrong step, and unknown by one without an
    answer.
    """
    found: dict[tuple[str, int], Grade] = {}
    for g in graded:
        key = g.cluster if g.slice in MULTI_TURN else g.sample_id, g.trial
        verdicts = (found[key].official if key in found else True, g.official)
        official = False if False in verdicts else None if None in verdicts else True
        found[key] = g.model_copy(update={"official": official})
    return list(found.values())


def _process_accuracy(graded: Iterable[Grade], category: str) -> Score:
    """Mean over dialogues of the share of steps that are right, of those with an answer; of trials, their mean.

    Rounded as officially. The interval is Wilson's, as if dialogues were right or wrong as a whole: shares vary at most
    as much as that.
    """
    steps: dict[str, dict[int, list[bool]]] = {}
    for g in graded:
        if g.slice == category and g.official is not None:
            steps.setdefault(g.cluster, {}).setdefault(g.trial, []).append(g.official)
    shares = [math.fsum(round(sum(s) / len(s), DIGITS) for s in of.values()) / len(of) for of in steps.values()]
    mean, n = (round(math.fsum(shares) / len(shares), DIGITS) if shares else None), len(shares)
    low, high = wilson((mean or 0.0) * n, n)
    return Score(name="official_process_accuracy", value=mean, n=n, low=low, high=high, slice=category)
