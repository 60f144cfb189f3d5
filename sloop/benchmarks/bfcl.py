"""The Berkeley Function Calling Leaderboard, single turn: its data, verdicts and aggregates, and ours beside them.

The data are not shipped: they are read from a folder with the official files (plain or gzipped), or from the installed
``bfcl-eval`` wheel. Python categories and the two kinds of (ir)relevance are run; Java, JavaScript, multi-turn and
agentic ones are not, and are named as missing wherever an official aggregate would hold them.

Tools are shown as the leaderboard shows them to models with native function calling: dots in names become underscores,
types become those of JSON Schema, and a description says that the syntax is Python's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from sloop.benchmarks.base import GRADING, single_turns
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
    read_sample,
    without,
)
from sloop.calls.match.bfcl import bfcl
from sloop.measures.metrics import grade, scores
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

AST = (
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
)
NO_CALL = ("irrelevance", "live_irrelevance")
ANY_CALL = ("live_relevance",)
CATEGORIES = (*AST, *NO_CALL, *ANY_CALL)

TYPES = {
    "integer": "integer", "byte": "integer", "short": "integer", "long": "integer", "Bigint": "integer",
    "number": "number", "float": "number", "double": "number",
    "boolean": "boolean", "bool": "boolean",
    "array": "array", "list": "array", "tuple": "array", "Array": "array", "ArrayList": "array", "Queue": "array",
    "Stack": "array",
    "dict": "object", "object": "object", "HashMap": "object", "Hashtable": "object",
}  # fmt: skip
"""JSON Schema's type for each of BFCL's; every other one is a string there."""
SYNTAX = " Note that the provided function is in Python 3 syntax."


class BfclBenchmark:
    """BFCL's single-turn entries of some categories (`sloop.benchmarks.base.Benchmark`)."""

    MODULES = (
        *GRADING,
        "sloop.benchmarks.bfcl",
        "sloop.benchmarks.official",
        "sloop.calls.match.bfcl",
        "sloop.calls.match.official",
    )

    NOT_RESULTS = frozenset({"path", "cache_path"})
    """Where the data lie; what they are is known by their digest."""

    def __init__(
        self,
        *,
        name: Name,
        path: PathText | None,
        categories: list[str],
        digests: dict[str, str] | None,
        known_bad: list[str],
        skip_known_bad: bool,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/bfcl.yaml``, which says what each value is.

        Raises:
            UserError: an unknown category, or none.
        """
        check_categories(categories, CATEGORIES)
        self.name = name
        self.path = path
        self.categories = categories
        self.pinned = digests
        self.known_bad = frozenset(known_bad)
        self.skip_known_bad = skip_known_bad
        self.cache_path = cache_path

    @property
    def data(self) -> Dataset:
        """The questions; the label is the first allowed answer.

        Raises:
            UserError: there are no data, or they are of another version than the pinned one.
        """
        return self._read.data

    @cached_property
    def _read(self) -> OfficialData:
        folder = data_folder(self.path)
        digests: dict[str, str] = {}
        entries = {
            category: read_entries(folder, f"BFCL_v4_{category}", digests, answered=category in AST)
            for category in self.categories
        }
        if self.pinned is not None:
            check_version(folder, digests, self.pinned)
        skipped = self.known_bad if self.skip_known_bad else ()
        pairs = [
            (read_sample(partial(_sample, name, entry), f"{folder}: entry {entry['id']} of {name}"), entry)
            for name, given in entries.items()
            for entry in given
            if entry["id"] not in skipped
        ]
        # The name holds the answers, too, as they are no part of a sample.
        known_as = digest([digests, self.categories, self.skip_known_bad, sorted(self.known_bad)])[:32]
        target = Path(self.cache_path) / f"{known_as}.jsonl"
        write_rows(target, (sample for sample, _ in pairs))
        return OfficialData(Dataset(target), {sample.id: entry for sample, entry in pairs}, digests)

    def episodes(self, ids: Iterable[str] | None = None) -> Iterator[Episode]:
        """An episode an entry, graded by `grade`."""
        return single_turns(self.data, self.grade, ids)

    def grade(self, sample: Sample, prediction: Prediction) -> Grade:
        """The official verdict on one answer, with the facts that METHOD's metrics count.

        Where no call is wanted, the official rule credits a call that cannot be read; ``correct`` does not.
        """
        category, entry = sample.slice, self._read.entries[sample.id]
        plain = grade(sample, prediction)
        if plain.error == "model":
            return plain
        calls = [{call.name: call.arguments} for call in prediction.calls] if plain.parsed else None
        official, error = _verdict(category, entry, calls)
        strict = official and plain.parsed
        pairs = (_right_calls(entry, calls or []), plain.argument_pairs[1]) if category in AST else (0, 0)
        return plain.model_copy(
            update={
                "official": official,
                "correct": strict,
                "tool_correct": official if category in ANY_CALL else plain.tool_correct,
                "argument_pairs": pairs,
                "reason": error if error or strict else plain.reason,
            }
        )

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics by category; the official accuracy with and without the entries known to be bad; and the
        official aggregates over the categories that were run.
        """
        graded = list(grades)
        sound = without(graded, self._read.entries, self.known_bad)
        return [*official_scores(graded, sound, self.categories, AGGREGATES), *scores(graded)]

    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        digests = self._read.digests
        return [
            f"BFCL data of {len(digests)} files, digest {digest(digests)[:16]}",
            *lacking(AGGREGATES, self.categories),
        ]


AGGREGATES: Aggregates = {
    "official_non_live": (
        ("simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple"),
        False,
    ),
    "official_live": (("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"), True),
    "official_irrelevance": (NO_CALL, False),
}
"""The leaderboard's columns: their categories, and whether entries (True) or categories weigh the same."""


def data_folder(path: str | None) -> Path:
    """The folder with the official files.

    Raises:
        UserError: there is none.
    """
    if path is not None:
        return named_folder(path, "BFCL_v4_*.json and possible_answer/")
    package = importlib.util.find_spec("bfcl_eval")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "benchmark=bfcl: no data. Install the official wheel (pip install --no-deps bfcl-eval==2026.3.23), or name "
            "a folder with its files: benchmark.path=FOLDER"
        )
    return Path(next(iter(package.submodule_search_locations))) / "data"


def _sample(category: str, entry: Entry) -> Sample:
    (turn,) = entry["question"]
    return Sample(
        tools=tuple(shown(function) for function in entry["function"]),
        messages=tuple(Message(role=row["role"], content=row["content"]) for row in turn),
        label=_label(category, entry),
        group=_cluster(category, entry["id"]),
        slice=category,
        lineage=Lineage(unit=digest(entry["ground_truth"])[:32]),
        # Some questions stand in two categories with opposite answers: the entry is part of who a sample is.
        env=EnvSpec(toolkit="bfcl", state={"entry": entry["id"]}),
    )


def _cluster(category: str, entry_id: str) -> str:
    """Live entries ``<category>_<n>-<document>-<variant>`` of one function document are alike."""
    parts = entry_id.removeprefix(f"{category}_").split("-")
    return f"{category}-{parts[1]}" if len(parts) == 3 else entry_id


def _label(category: str, entry: Entry) -> Label:
    """The first allowed answer; where any call is right, one of no argument stands for it."""
    if category in NO_CALL:
        return Label()
    if category in ANY_CALL:
        return Label(calls=(ToolCall(name=_underscored(entry["function"][0]["name"]), arguments={}),))
    required = {function["name"]: function["parameters"]["required"] for function in entry["function"]}
    return Label(calls=tuple(_first_call(answer, required) for answer in entry["ground_truth"]))


def _first_call(answer: Mapping[str, Mapping[str, list[Any]]], required: Mapping[str, list[str]]) -> ToolCall:
    """The call with every first allowed value; one that is ``""`` is left out, unless the schema requires it."""
    ((name, allowed),) = answer.items()
    arguments = {}
    for key, values in allowed.items():
        if key in required.get(name, ()):
            values = [value for value in values if value != ""] or values
        elif values[:1] == [""]:
            continue
        if values:
            arguments[key] = first_value(values[0])
    return ToolCall(name=_underscored(name), arguments=arguments)


def first_value(allowed: Any) -> Any:
    """A value as an answer would give it: of an object's lists of allowed values, the first."""
    if isinstance(allowed, dict):
        lists = {key: values if isinstance(values, list) else [values] for key, values in allowed.items()}
        return {key: first_value(values[0]) for key, values in lists.items() if values and values[0] != ""}
    if isinstance(allowed, list):
        return [first_value(item) if isinstance(item, dict) else item for item in allowed]
    return allowed


def shown(function: Mapping[str, Any]) -> Tool:
    """A function as a model is shown it."""
    parameters = _schema({**function["parameters"], "type": "dict"})
    return Tool(
        name=_underscored(function["name"]),
        description=function.get("description", "") + SYNTAX,
        parameters=parameters,
    )


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    kind = schema.get("type", "string")
    new = {**schema, "type": TYPES.get(kind, "string")}
    if kind == "float":
        new |= {"format": "float", "description": schema.get("description", "") + " This is a float type value."}
    if isinstance(schema.get("properties"), dict):
        new["properties"] = {name: _schema(part) for name, part in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        new["items"] = _schema(schema["items"])
    return new


def _underscored(name: str) -> str:
    return name.replace(".", "_")


def _verdict(category: str, entry: Entry, calls: list[dict[str, Any]] | None) -> tuple[bool, str | None]:
    """The official verdict on the decoded calls; None: they could not be decoded."""
    if category in NO_CALL:
        return not calls, "irrelevance_error:decoder_success" if calls else None
    if category in ANY_CALL:
        return bool(calls), None if calls else "relevance_error:decoder_failed"
    if calls is None:
        return False, "ast_decoder:decoder_failed"
    found = bfcl(entry["function"], calls, entry["ground_truth"], category, underscore_to_dot=True)
    return found.valid, found.error_type


def _right_calls(entry: Entry, calls: list[dict[str, Any]]) -> int:
    """Answers that some call meets, each call used once, greedily as the official checker does."""
    unused, right = list(calls), 0
    for answer in entry["ground_truth"]:
        for call in unused:
            if bfcl(entry["function"], [call], [answer], "parallel", underscore_to_dot=True).valid:
                unused.remove(call)
                right += 1
                break
    return right
