"""The Berkeley Function Calling Leaderboard, single turn: its data, verdicts and aggregates, and ours beside them.

The data are not shipped: they are read from a folder with the official files (plain or gzipped), or from the installed
``bfcl-eval`` wheel. Python categories and the two kinds of (ir)relevance are run; Java, JavaScript, multi-turn and
agentic ones are not, and are named as missing wherever an official aggregate would hold them.

Tools are shown as the leaderboard shows them to models with native function calling: dots in names become underscores,
types become those of JSON Schema, and a description says that the syntax is Python's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from sloop.calls.match import bfcl
from sloop.evaluate.metrics import Grade, grade, scores
from sloop.evaluate.stats import rate
from sloop.store import Dataset, open_text, write_rows
from sloop.types import EnvSpec, Label, Lineage, Message, Prediction, Sample, Score, Tool, ToolCall, UserError, digest

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

Entry = dict[str, Any]


class _Read(NamedTuple):
    """What the official files hold."""

    data: Dataset
    entries: dict[str, Entry]
    """With their answers, by sample id."""
    digests: dict[str, str]
    """By file."""


class BfclBenchmark:
    """BFCL's single-turn entries of some categories (`sloop.evaluate.benchmarks.Benchmark`)."""

    NOT_RESULTS = frozenset({"path", "cache_path"})
    """Where the data lie; what they are is known by their digest."""

    def __init__(
        self,
        *,
        name: str,
        path: str | None,
        categories: list[str],
        digests: dict[str, str] | None,
        known_bad: list[str],
        skip_known_bad: bool,
        cache_path: str,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/bfcl.yaml``, which says what each value is.

        Raises:
            UserError: an unknown category, or none.
        """
        if unknown := [category for category in categories if category not in CATEGORIES]:
            raise UserError(f"benchmark.categories: no category {unknown[0]!r}; allowed: {', '.join(CATEGORIES)}.")
        if not categories:
            raise UserError("benchmark.categories=[]: name at least one, such as [simple_python].")
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
    def _read(self) -> _Read:
        folder = data_folder(self.path)
        digests: dict[str, str] = {}
        entries = {category: _entries(folder, category, digests) for category in self.categories}
        if self.pinned is not None:
            _check_version(folder, digests, self.pinned)
        skipped = self.known_bad if self.skip_known_bad else ()
        pairs = [(_sample(name, e), e) for name, given in entries.items() for e in given if e["id"] not in skipped]
        # The name holds the answers, too, as they are no part of a sample.
        known_as = digest([digests, self.categories, self.skip_known_bad, sorted(self.known_bad)])[:32]
        target = Path(self.cache_path) / f"{known_as}.jsonl"
        write_rows(target, (sample for sample, _ in pairs))
        return _Read(Dataset(target), {sample.id: entry for sample, entry in pairs}, digests)

    def grade(self, sample: Sample, prediction: Prediction) -> Grade:
        """The official verdict, with the facts that METHOD's metrics count.

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
        official = [_official_score("official_accuracy", graded, category) for category in ("", *self.categories)]
        bad = {sample_id for sample_id, entry in self._read.entries.items() if entry["id"] in self.known_bad}
        sound = [g for g in graded if g.sample_id not in bad]
        if len(sound) < len(graded):
            official.append(_official_score("official_accuracy_without_known_bad", sound, ""))
        by_category = {score.slice: score for score in official if score.name == "official_accuracy"}
        return [*official, *_aggregates(by_category), *scores(graded)]

    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        digests = self._read.digests
        told = [f"BFCL data of {len(digests)} files, digest {digest(digests)[:16]}"]
        for name, (parts, _) in AGGREGATES.items():
            missing = [part for part in parts if part not in self.categories]
            if 0 < len(missing) < len(parts):
                told.append(f"{name} lacks {', '.join(missing)}; the leaderboard counts what was not run as 0")
        return told


AGGREGATES: dict[str, tuple[tuple[str, ...], bool]] = {
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
        if not Path(path).is_dir():
            raise UserError(
                f"benchmark.path={path}: no such folder. It should hold BFCL_v4_*.json and possible_answer/."
            )
        return Path(path)
    package = importlib.util.find_spec("bfcl_eval")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "benchmark=bfcl: no data. Install the official wheel (pip install --no-deps bfcl-eval==2026.3.23), or name "
            "a folder with its files: benchmark.path=FOLDER"
        )
    return Path(next(iter(package.submodule_search_locations))) / "data"


def _entries(folder: Path, category: str, digests: dict[str, str]) -> list[Entry]:
    """Entries with their answers, which stand in a file of their own, line by line; notes each file's digest."""
    questions = _lines(folder, f"BFCL_v4_{category}", digests)
    answers = _lines(folder / "possible_answer", f"BFCL_v4_{category}", digests) if category in AST else None
    if answers is not None and [q["id"] for q in questions] != [a["id"] for a in answers]:
        raise UserError(f"{folder}: questions and answers of {category} have other ids. Are they of one version?")
    return [
        {**entry, "ground_truth": answers[number]["ground_truth"] if answers else None}
        for number, entry in enumerate(questions)
    ]


def _lines(folder: Path, name: str, digests: dict[str, str]) -> list[Entry]:
    for ending in (".json", ".jsonl", ".json.gz", ".jsonl.gz"):
        if (path := folder / f"{name}{ending}").is_file():
            with open_text(path) as file:
                lines = [line.strip() for line in file if line.strip()]
            known_as = f"{folder.name}/{name}" if folder.name == "possible_answer" else name
            digests[known_as] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
            return [json.loads(line) for line in lines]
    raise UserError(f"{folder}: no {name}.json (or .jsonl, .gz). Leave the category out of benchmark.categories.")


def _check_version(folder: Path, found: Mapping[str, str], pinned: Mapping[str, str]) -> None:
    if other := sorted(name for name, value in found.items() if value != pinned.get(name)):
        raise UserError(
            f"{folder}: {', '.join(other)} differ from the pinned data, and figures of other data are not comparable. "
            "Take the official files, or run under another name: benchmark.digests=null benchmark.name=MY_NAME"
        )


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


def _official_score(name: str, graded: Iterable[Grade], category: str) -> Score:
    return rate(
        name,
        ((g.cluster, int(bool(g.official)), int(g.official is not None)) for g in graded if category in ("", g.slice)),
        category,
    )


def _aggregates(by_category: Mapping[str, Score]) -> list[Score]:
    """The leaderboard's means over the categories that were run, with the normal interval of a weighted sum."""
    found = []
    for name, (parts, by_entry) in AGGREGATES.items():
        run = [(part, by_category[part]) for part in parts if part in by_category and by_category[part].n]
        weights = {part: float(score.n) if by_entry else 1.0 for part, score in run}
        total = sum(weights.values())
        if not run:
            continue
        value = math.fsum(weights[part] / total * (score.value or 0.0) for part, score in run)
        spread = math.fsum(
            (weights[part] / total * ((score.high or 0.0) - (score.low or 0.0)) / 2) ** 2 for part, score in run
        )
        half = math.sqrt(spread)
        n = sum(score.n for _, score in run)
        found.append(Score(name=name, value=value, n=n, low=max(0.0, value - half), high=min(1.0, value + half)))
    return found
