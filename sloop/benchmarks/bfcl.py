"""The Berkeley Function Calling Leaderboard, single turn: its data, verdicts and aggregates, and ours beside them.

The data are not shipped: they are read from a folder with the official files (plain or gzipped), or from the installed
``bfcl-eval`` wheel. The categories of single calls and the two kinds of (ir)relevance are run; those of several turns
are `sloop.benchmarks.bfcl_multi_turn`, agentic ones are not run. What was not run is named wherever an official
aggregate would hold it.

Tools are shown as the leaderboard shows them to models with native function calling: dots in names become underscores,
types become those of JSON Schema, and a description says which syntax it is. Java and JavaScript arguments are asked
for as the texts of expressions (`sloop.calls.bfcl_languages`); a label's are written so that the official rules read
the allowed value.

The official verdict is on what the leaderboard's handler reads in an answer, which is not what sloop reads in it where
an answer is malformed. Which handler is ``benchmark.reading`` (`sloop.calls.readings`); a published figure is only
comparable with the same one. ``correct``, and with it METHOD's metrics, is the official comparison with the calls that
sloop reads, strictly; so is the official verdict itself where no reading is named.

``format_sensitivity`` (`sloop.benchmarks.bfcl_formats`) is asked alone: its prompts list the functions, so that no
tools are offered, and say in which form to answer. METHOD's metrics, too, read an answer in that form.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

from sloop.benchmarks.base import GRADING, single_turns
from sloop.benchmarks.bfcl_formats import SENSITIVITY, VARIANTS, prompted, spread_scores, varied_entries
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
from sloop.calls.bfcl_languages import PYTHON, Language, language_of, parser_of
from sloop.calls.formats import render_hermes
from sloop.calls.match.bfcl import bfcl
from sloop.calls.readings import after_reasoning, is_calls, read_result, write_bracketed
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

SIMPLE = ("simple_python", "simple_java", "simple_javascript")
AST = (
    *SIMPLE,
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
Reading = Literal["fc", "qwen_fc", "prompting"]
"""A handler of the leaderboard, by what it reads: see `sloop.calls.readings.BFCL`."""
WRITTEN: Mapping[str, Callable[[tuple[ToolCall, ...]], str]] = {
    "qwen_fc": lambda calls: render_hermes(Label(calls=calls)),
    "prompting": lambda calls: write_bracketed([{call.name: call.arguments} for call in calls]),
}
"""By the reading of a text: calls as it takes them."""


class BfclBenchmark:
    """BFCL's single-turn entries of some categories (`sloop.benchmarks.base.Benchmark`)."""

    MODULES = (
        *GRADING,
        "sloop.benchmarks.bfcl",
        "sloop.benchmarks.bfcl_formats",
        "sloop.benchmarks.official",
        "sloop.calls.bfcl_languages",
        "sloop.calls.match.bfcl",
        "sloop.calls.match.official",
        "sloop.calls.readings",
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
        digests: dict[str, str] | None,
        known_bad: list[str],
        skip_known_bad: bool,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/bfcl.yaml``, which says what each value is.

        Raises:
            UserError: an unknown category, or none; or the parser of a language that is read is not installed; or
                format sensitivity beside others, or with calls handed over apart.
        """
        if turns := [category for category in categories if category.startswith("multi_turn")]:
            raise UserError(f"benchmark.categories: {turns[0]} is another benchmark's: benchmark=bfcl_multi_turn")
        check_categories(categories, (*CATEGORIES, SENSITIVITY))
        if SENSITIVITY in categories and len(categories) > 1:
            raise UserError(
                f"benchmark.categories: {SENSITIVITY} is asked alone, as it repeats questions of the others: "
                f"benchmark.categories=[{SENSITIVITY}]"
            )
        if SENSITIVITY in categories and reading not in (None, "prompting"):
            raise UserError(
                f"benchmark.reading={reading}: {SENSITIVITY} asks for calls in text, each prompt in a form of its own: "
                "benchmark.reading=prompting"
            )
        if reading == "prompting":
            for language in sorted({language_of(category).name for category in categories} - {PYTHON.name}):
                parser_of(language)
        self.name = name
        self.path = path
        self.categories = categories
        self.reading = reading
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
            category: varied_entries(folder, digests, _hint(PYTHON))
            if category == SENSITIVITY
            else read_entries(folder, f"BFCL_v4_{category}", digests, answered=category in AST)
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

        Where no call is wanted, the official rule credits a call that cannot be read; ``correct`` does not. An answer
        that could not be had counts officially where a file of results holds the error in the answer's place.
        """
        category, entry = sample.slice, self._read.entries[sample.id]
        if "variant" in entry:
            return _grade_varied(sample, entry, prediction)
        prediction = as_shown(prediction)
        plain = grade(sample, prediction)
        if plain.error == "model" and prediction.raw is None:
            return plain
        calls = [{call.name: call.arguments} for call in prediction.calls] if plain.parsed else None
        ours, error = _verdict(category, entry, calls, underscore_to_dot=True)
        official, read_error = (ours, error) if self.reading is None else self._officially(category, entry, prediction)
        if plain.error == "model":
            return plain.model_copy(update={"official": official, "reason": read_error})
        strict = (
            ours and plain.parsed and (official or category in AST)
        )  # who calls by either reading has not abstained
        pairs = (_right_calls(category, entry, calls or []), plain.argument_pairs[1]) if category in AST else (0, 0)
        return plain.model_copy(
            update={
                "official": official,
                "correct": strict,
                "tool_correct": ours if category in ANY_CALL else plain.tool_correct,
                "argument_pairs": pairs,
                "reason": read_error or error if read_error or error or strict else plain.reason,
            }
        )

    def _officially(self, category: str, entry: Entry, prediction: Prediction) -> tuple[bool, str | None]:
        """The verdict on what the named handler reads."""
        assert self.reading is not None
        raw, handed_over = prediction.raw, self.reading == "fc"
        if raw is None and handed_over and prediction.calls:
            # What sloop reads in a local student's text is what a server would hand over.
            raw = [{call.name: json.dumps(call.arguments)} for call in prediction.calls]
        recorded = isinstance(raw, str) or (raw is not None and (handed_over or not prediction.text))
        language, reading = language_of(category), str(self.reading)
        if reading == "prompting" and language is not PYTHON:
            reading += f" {language.name.lower()}"
        text = after_reasoning(prediction.text)
        if not recorded and prediction.calls and (not text or (raw is not None and self.reading == "prompting")):
            # Who gives calls apart, and not as this handler's model writes them, has called all the same.
            text = WRITTEN[self.reading](prediction.calls)
        decoded = read_result(reading, raw if recorded else text)
        if not recorded and is_calls(decoded):  # the student was shown names without dots, the handler's model was not
            decoded = _dotted(entry, decoded)
        return _verdict(category, entry, decoded, underscore_to_dot=handed_over)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics by category; the official accuracy with and without the entries known to be bad; and the
        official aggregates over the categories that were run.
        """
        graded = list(grades)
        sound = without(graded, self._read.entries, self.known_bad)
        if SENSITIVITY in self.categories:
            slices = [variant.slice for variant in VARIANTS]
            return [*official_scores(graded, sound, slices, {}), *spread_scores(graded), *scores(graded)]
        return [*official_scores(graded, sound, self.categories, AGGREGATES), *scores(graded)]

    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        digests = self._read.digests
        told = f"BFCL data of {len(digests)} files, digest {digest(digests)[:16]}"
        if SENSITIVITY in self.categories:
            return [told, f"an answer is read in the form that its prompt asks for, of {len(VARIANTS)} prompts"]
        return [
            told,
            READ_STRICTLY if self.reading is None else f"official scores by the leaderboard's reading {self.reading!r}",
            *lacking(AGGREGATES, self.categories),
        ]


READ_STRICTLY = (
    "official scores are of calls as sloop reads them; to compare with published figures name the leaderboard's own "
    f"reading, of a malformed answer, too: benchmark.reading={'|'.join(get_args(Reading))}"
)
AGGREGATES: Aggregates = {
    "official_non_live_simple": (SIMPLE, False),
    "official_non_live": (("official_non_live_simple", "multiple", "parallel", "parallel_multiple"), False),
    "official_live": (("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"), True),
    "official_irrelevance": (NO_CALL, False),
}
"""The leaderboard's columns: their parts, and whether entries (True) or parts weigh the same."""


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
    tools, known_as, part = _tools(category, entry), entry["id"], category
    if category == SENSITIVITY:
        tools, turn, known_as, part = (), prompted(entry), entry["of"], entry["variant"].slice
        category = entry["category"]
    return Sample(
        tools=tools,
        messages=tuple(Message(role=row["role"], content=row["content"]) for row in turn),
        label=_label(category, entry),
        group=_cluster(category, known_as),
        slice=part,
        lineage=Lineage(unit=digest(entry["ground_truth"])[:32]),
        # Some questions stand in two categories with opposite answers: the entry is part of who a sample is.
        env=EnvSpec(toolkit="bfcl", state={"entry": entry["id"]}),
    )


def _tools(category: str, entry: Entry) -> tuple[Tool, ...]:
    return tuple(shown(function, language_of(category)) for function in entry["function"])


def _cluster(category: str, entry_id: str) -> str:
    """Live entries ``<category>_<n>-<document>-<variant>`` of one function document are alike."""
    parts = entry_id.removeprefix(f"{category}_").split("-")
    return f"{category}-{parts[1]}" if len(parts) == 3 else entry_id


def _label(category: str, entry: Entry) -> Label:
    """The first allowed answer; where any call is right, one of no argument stands for it."""
    if category in NO_CALL:
        return Label()
    if category in ANY_CALL:
        return Label(calls=(ToolCall(name=underscored(entry["function"][0]["name"]), arguments={}),))
    schemas = {function["name"]: function["parameters"] for function in entry["function"]}
    language = language_of(category)
    return Label(calls=tuple(_first_call(answer, schemas, language) for answer in entry["ground_truth"]))


def _first_call(
    answer: Mapping[str, Mapping[str, list[Any]]], schemas: Mapping[str, Mapping[str, Any]], language: Language
) -> ToolCall:
    """The call with every first allowed value; one that is ``""`` is left out, unless the schema requires it."""
    ((name, allowed),) = answer.items()
    schema = schemas.get(name, {"required": (), "properties": {}})
    arguments = {}
    for key, values in allowed.items():
        if key in schema["required"]:
            values = [value for value in values if value != ""] or values
        elif values[:1] == [""]:
            continue
        if values:
            arguments[key] = first_value(values[0])
            if language.write is not None:
                declared = schema["properties"].get(key, {})
                inner = declared.get("items", {}).get("type")
                arguments[key] = language.write(arguments[key], declared.get("type", "any"), inner)
    return ToolCall(name=underscored(name), arguments=arguments)


def first_value(allowed: Any) -> Any:
    """A value as an answer would give it: of an object's lists of allowed values, the first."""
    if isinstance(allowed, dict):
        lists = {key: values if isinstance(values, list) else [values] for key, values in allowed.items()}
        return {key: first_value(values[0]) for key, values in lists.items() if values and values[0] != ""}
    if isinstance(allowed, list):
        return [first_value(item) if isinstance(item, dict) else item for item in allowed]
    return allowed


def shown(function: Mapping[str, Any], language: Language = PYTHON) -> Tool:
    """A function as a model is shown it."""
    parameters = {**function["parameters"], "type": "dict"}
    if language.read is not None:
        properties = parameters["properties"].items()
        parameters["properties"] = {name: _as_text(schema, language) for name, schema in properties}
    return Tool(
        name=underscored(function["name"]),
        description=f"{function.get('description', '')}{_hint(language)}",
        parameters=_schema(parameters),
    )


def _hint(language: Language) -> str:
    return f" Note that the provided function is in {language.hint}."


def _as_text(schema: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """A parameter as the text of an expression, in the leaderboard's words."""
    kind, new = schema["type"], {**schema, "type": "string"}
    told = f" This is {language.name} {kind} type parameter in string representation."
    if kind == "any":
        told = f" This parameter can be of any type of {language.name} object in string representation."
    if kind in language.lists:
        items = new.pop("items")["type"]
        told += f" The list elements are of type {items}; they are not in string representation."
    if kind == "dict" and "properties" in new:
        told += " The dictionary entries have the following schema; they are not in string representation. "
        told += json.dumps(new.pop("properties"))
    return {**new, "description": schema.get("description", "") + told}


def _schema(schema: Mapping[str, Any], *, is_item: bool = False) -> dict[str, Any]:
    kind = schema.get("type", "string")
    new = {**schema, "type": TYPES.get(kind, "string")}
    if kind == "float" and not is_item:
        new |= {"format": "float", "description": schema.get("description", "") + " This is a float type value."}
    if isinstance(schema.get("properties"), dict):
        new["properties"] = {name: _schema(part) for name, part in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        new["items"] = _schema(schema["items"], is_item=True)
    return new


def _dotted(entry: Entry, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls under the names of the entry's functions, which a sample's tools bear without dots."""
    names = {underscored(function["name"]): function["name"] for function in entry["function"]}
    return [{names.get(name, name): given for name, given in call.items()} for call in calls]


def _grade_varied(sample: Sample, entry: Entry, prediction: Prediction) -> Grade:
    """The grade of an answer to a prompt that names the functions and a form, which is read in that form."""
    category = entry["category"]
    given = prediction.raw if prediction.raw is not None else after_reasoning(prediction.text)
    if prediction.calls and not given:  # called, without a word
        decoded: Any = _dotted(entry, [{call.name: call.arguments} for call in prediction.calls])
    else:
        decoded = read_result(entry["variant"].reading, given)
    official, error = _verdict(category, entry, decoded, underscore_to_dot=False)
    if prediction.error not in ("model", "truncated"):
        prediction = prediction.model_copy(update=_read_calls(decoded) or {"calls": (), "recovered": ()})
    asked = sample.model_copy(update={"tools": _tools(category, entry)})
    plain = grade(asked, prediction.model_copy(update={"sample_id": asked.id}))
    if plain.error == "model" and prediction.raw is None:
        return plain.model_copy(update={"sample_id": sample.id})
    calls = [{call.name: call.arguments} for call in prediction.calls]
    return plain.model_copy(
        update={
            "sample_id": sample.id,
            "official": official,
            "correct": None if plain.error == "model" else official and plain.parsed,
            "argument_pairs": (_right_calls(category, entry, calls), plain.argument_pairs[1]),
            "reason": error or plain.reason if not official else None,
        }
    )


def _read_calls(decoded: Any) -> dict[str, Any] | None:
    """What a prediction has of calls that were read in the form asked for; None: there are none in JSON's values."""
    try:
        named = [(underscored(name), given) for call in decoded for name, given in call.items()]
        calls = tuple(ToolCall(name=name, arguments=given) for name, given in named)
    except (AttributeError, TypeError, ValueError):
        return None
    return {"calls": calls, "error": None} if calls else None


def _verdict(category: str, entry: Entry, decoded: Any, *, underscore_to_dot: bool) -> tuple[bool, str | None]:
    """The official verdict on what was decoded, which may be anything; None: nothing could be."""
    well_formed = is_calls(decoded)
    if category in NO_CALL or category in ANY_CALL:
        called = well_formed and bool(decoded)
        if category in NO_CALL:
            return not called, "irrelevance_error:decoder_success" if called else None
        return called, None if called else "relevance_error:decoder_failed"
    if not well_formed:
        return False, f"ast_decoder:decoder_{'failed' if decoded is None else 'wrong_output_format'}"
    found = bfcl(entry["function"], decoded, entry["ground_truth"], category, underscore_to_dot)
    return found.valid, found.error_type


def _right_calls(category: str, entry: Entry, calls: list[dict[str, Any]]) -> int:
    """Answers that some call meets, each call used once, greedily as the official checker does."""
    unused, right = list(calls), 0
    for answer in entry["ground_truth"]:
        for call in unused:
            if bfcl(entry["function"], [call], [answer], f"parallel_{category}", underscore_to_dot=True).valid:
                unused.remove(call)
                right += 1
                break
    return right
