"""BFCL as a benchmark: its data in our form, its verdicts and aggregates, and METHOD's metrics beside them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
from grading import Answer, official_means, scores_of, spec_of

from sloop.benchmarks.bfcl import CATEGORIES, BfclBenchmark, shown
from sloop.benchmarks.bfcl_formats import LISTED, SENSITIVITY, VARIANTS
from sloop.calls import bfcl_languages
from sloop.calls.bfcl_languages import JAVA, JAVASCRIPT, parser_of
from sloop.engine.build import build
from sloop.measures.constants import constant_grades
from sloop.records import Prediction, Sample, ToolCall, UserError

BAD = "multiple_1"


def function(name: str, **types: str) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": f"the {key}."} for key, kind in types.items()}
    parameters = {"type": "dict", "properties": properties, "required": list(properties)[:1]}
    return {"name": name, "description": f"Does {name}.", "parameters": parameters}


WEATHER = function("get.weather", city="string", days="float")
TIMER = function("set_timer", minutes="integer")
ENTRIES: dict[str, list[tuple[list[Any], list[Any]]]] = {
    "simple_python": [([WEATHER], [{"get.weather": {"city": ["Oslo"], "days": [2.0, ""]}}])] * 3,
    "multiple": [([WEATHER, TIMER], [{"set_timer": {"minutes": [5]}}]), ([TIMER], [{"set_timer": {"minutes": []}}])],
    "live_parallel": [([TIMER], [{"set_timer": {"minutes": [1]}}, {"set_timer": {"minutes": [2]}}])],
    "irrelevance": [([TIMER], [])] * 2,
    "live_relevance": [([TIMER, WEATHER], [])],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bfcl" / "possible_answer").mkdir(parents=True)
    for category, entries in ENTRIES.items():
        ids = [f"{category}_{n}" if "live" not in category else f"{category}_{n}-{n}-0" for n in range(len(entries))]
        asked = [
            {"id": i, "question": [[{"role": "user", "content": f"{category} {k}"}]], "function": functions}
            for k, (i, (functions, _)) in enumerate(zip(ids, entries, strict=True))
        ]
        text = "\n".join(map(json.dumps, asked))
        (tmp_path / "bfcl" / f"BFCL_v4_{category}.json").write_text(text)
        answers = [{"id": i, "ground_truth": truth} for i, (_, truth) in zip(ids, entries, strict=True) if truth]
        if answers:
            with gzip.open(tmp_path / "bfcl" / "possible_answer" / f"BFCL_v4_{category}.jsonl.gz", "wt") as file:
                file.write("\n".join(map(json.dumps, answers)) + "\n")
    return tmp_path / "bfcl"


def bench(folder: Path | None, **changes: Any) -> BfclBenchmark:
    spec = spec_of("bfcl")
    own = {"cache_path": "cache"}
    if folder:
        own = {
            "path": str(folder),
            "categories": list(ENTRIES),
            "digests": None,
            "known_bad": [BAD],
            "cache_path": str(folder.parent / "cache"),
        }
    found = build({**spec, **own, **changes}, "benchmark")
    assert isinstance(found, BfclBenchmark)
    return found


def gold(sample: Sample) -> Prediction:
    assert sample.label is not None
    return Prediction(sample_id=sample.id, calls=sample.label.calls)


def silent(sample: Sample) -> Prediction:
    return Prediction(sample_id=sample.id, content="No tool fits.")


def eager(sample: Sample) -> Prediction:
    return Prediction(sample_id=sample.id, calls=(ToolCall(name=sample.tools[0].name, arguments={"minutes": 1}),))


def broken(sample: Sample) -> Prediction:
    return Prediction(sample_id=sample.id, text="<tool_call>{", error="format")


def test_tools_are_shown_as_the_leaderboard_shows_them() -> None:
    tool = shown(function("a.b", x="float", y="dict", z="tuple", w="any"))
    assert tool.name == "a_b"
    assert tool.description == "Does a.b. Note that the provided function is in Python 3 syntax."
    assert [part["type"] for part in tool.properties.values()] == ["number", "object", "array", "string"]
    assert tool.properties["x"]["format"] == "float"
    assert tool.properties["x"]["description"] == "the x. This is a float type value."


def test_arguments_of_java_and_javascript_are_asked_for_as_texts() -> None:
    made = function("a.b", x="any", y="long", z="ArrayList")
    made["parameters"]["properties"]["z"]["items"] = {"type": "char"}
    tool = shown(made, JAVA)
    assert tool.description == "Does a.b. Note that the provided function is in Java 8 SDK syntax."
    assert {part["type"] for part in tool.properties.values()} == {"string"}
    assert "items" not in tool.properties["z"]
    assert [part["description"] for part in tool.properties.values()] == [
        "the x. This parameter can be of any type of Java object in string representation.",
        "the y. This is Java long type parameter in string representation.",
        "the z. This is Java ArrayList type parameter in string representation. The list elements are of type char; "
        "they are not in string representation.",
    ]
    made = function("f", x="dict")
    made["parameters"]["properties"]["x"]["properties"] = {"k": {"type": "float"}}
    told = shown(made, JAVASCRIPT).properties["x"]
    assert "properties" not in told
    assert told["description"].endswith('in string representation. {"k": {"type": "float"}}')


@pytest.fixture
def languages(tmp_path: Path) -> Path:
    (tmp_path / "two" / "possible_answer").mkdir(parents=True)
    for category, types, allowed in (
        ("simple_java", {"count": "long", "all": "boolean"}, {"count": [5], "all": [True, ""]}),
        ("simple_javascript", {"count": "float", "near": "dict"}, {"count": [5.0], "near": ["", {"k": ["x"]}]}),
    ):
        asked = [{"role": "user", "content": "How many?"}]
        entry = {"id": f"{category}_0", "question": [asked], "function": [function("a.b", **types)]}
        (tmp_path / "two" / f"BFCL_v4_{category}.json").write_text(json.dumps(entry))
        answer = {"id": f"{category}_0", "ground_truth": [{"a.b": allowed}]}
        (tmp_path / "two" / "possible_answer" / f"BFCL_v4_{category}.json").write_text(json.dumps(answer))
    return tmp_path / "two"


@pytest.mark.parametrize(
    ("category", "reading", "answer", "official"),
    [
        ("simple_java", "fc", [{"a_b": '{"count": "5L"}'}], True),
        ("simple_java", "fc", [{"a_b": '{"count": "5L", "all": "false"}'}], False),
        ("simple_java", "fc", [{"a_b": '{"count": 5}'}], False),
        ("simple_java", "prompting", "[a.b(count=5L, all=true)]", True),
        ("simple_java", "prompting", "[a.b(count=5, all=true)]", False),
        ("simple_javascript", "fc", [{"a_b": """{"count": "5", "near": "{'k': 'X'}"}"""}], True),
        ("simple_javascript", "prompting", "[a.b(count=5, near={k: 'x'})]", True),
        ("simple_javascript", "prompting", "[a.b({count: 5})]", False),
    ],
)
def test_an_answer_in_another_language_is_read_as_the_named_handler_reads_it(
    languages: Path, category: str, reading: str, answer: Any, official: bool
) -> None:
    if reading == "prompting":
        pytest.importorskip("tree_sitter", reason="takes whole calls apart by parsers: pip install 'sloop[bfcl]'")
    benchmark = bench(languages, categories=[category], reading=reading)
    assert benchmark.name == spec_of("bfcl")["name"]
    (sample,) = benchmark.data
    assert benchmark.grade(sample, Prediction(sample_id=sample.id, raw=answer)).official is official
    grade = benchmark.grade(sample, gold(sample))
    assert grade.correct
    assert grade.argument_pairs[0] == 1


def test_a_language_is_read_by_the_parsers_of_the_leaderboard_alone(
    languages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bfcl_languages, "VERSIONS", dict.fromkeys(bfcl_languages.VERSIONS, "0.0"))
    parser_of.cache_clear()
    changes = {"categories": ["simple_java"], "digests": None}
    assert len(bench(languages, reading="fc", **changes).data) == 1
    with pytest.raises(UserError, match=r"Java apart by tree-sitter.* pip install 'sloop\[bfcl\]', or leave"):
        bench(languages, reading="prompting", **changes)


def test_simple_calls_of_three_languages_weigh_as_much_as_any_other_category(folder: Path, languages: Path) -> None:
    for file in [*languages.glob("*.json"), *languages.glob("possible_answer/*.json")]:
        (folder / file.relative_to(languages)).write_text(file.read_text())
    benchmark = bench(folder, categories=["simple_python", "simple_java", "simple_javascript", "multiple"])
    wrong = scores_of(benchmark, lambda sample: (silent if sample.slice == "simple_java" else gold)(sample))
    assert wrong["official_non_live_simple", ""].value == pytest.approx(2 / 3)
    assert wrong["official_non_live", ""].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    told = [note.partition(";")[0] for note in benchmark.notes() if "lacks" in note]
    assert told == ["official_non_live lacks parallel, parallel_multiple"]


def test_gold_answers_are_right_where_an_entry_can_be_met(folder: Path) -> None:
    found = scores_of(bench(folder), gold)
    assert found["official_accuracy", "multiple"].value == 0.5
    assert found["official_accuracy_without_known_bad", ""].value == 1.0
    assert found["official_non_live", ""].value == 0.75
    assert found["official_non_live", ""].n == 5
    assert found["official_live", ""].value == 1.0
    assert {slice for name, slice in found if name == "official_accuracy"} == {"", *ENTRIES}


def test_known_bad_entries_can_be_left_out(folder: Path) -> None:
    benchmark = bench(folder, skip_known_bad=True)
    assert len(benchmark.data) == 8
    assert scores_of(benchmark, gold)["official_accuracy", ""].value == 1.0


def test_silence_earns_nothing_where_a_call_is_wanted(folder: Path) -> None:
    found = scores_of(bench(folder), silent)
    for category in ENTRIES:
        assert found["official_accuracy", category].value == (1.0 if category == "irrelevance" else 0.0)
    assert found["format_correctness", ""].value is None
    assert found["false_refusal_rate", ""].value == 1.0


def test_a_call_always_earns_nothing_where_none_is_wanted(folder: Path) -> None:
    found = scores_of(bench(folder), eager)
    assert found["official_accuracy", "irrelevance"].value == 0.0
    assert found["no_call_accuracy", ""].value == 0.0
    assert found["official_accuracy", "live_relevance"].value == 1.0


def test_a_broken_call_is_an_abstention_to_the_leaderboard_and_not_to_us(folder: Path) -> None:
    found = scores_of(bench(folder), broken)
    assert found["official_accuracy", "irrelevance"].value == 1.0
    assert found["call_accuracy", "irrelevance"].value == 0.0
    assert found["no_call_accuracy", ""].value == 0.0
    assert found["format_correctness", ""].value == 0.0
    assert found["official_accuracy", "live_relevance"].value == 0.0


def test_an_endpoints_failure_is_neither_right_nor_wrong(folder: Path) -> None:
    found = scores_of(bench(folder), lambda s: Prediction(sample_id=s.id, error="model"))
    assert found["official_accuracy", ""].value is None
    assert found["call_accuracy", ""].n == 0
    assert found["model_errors", ""].value == 1.0


def test_arguments_are_counted_call_by_call(folder: Path) -> None:
    def half(sample: Sample) -> Prediction:
        calls = gold(sample).calls
        return Prediction(sample_id=sample.id, calls=(calls[0], calls[0])[: len(calls)])

    found = scores_of(bench(folder, categories=["live_parallel"]), half)
    assert found["argument_accuracy", ""].value == 0.5
    assert found["tool_accuracy", ""].value == 1.0
    assert found["call_accuracy", ""].value == 0.0


def test_what_an_aggregate_lacks_is_named(folder: Path) -> None:
    notes = " ".join(bench(folder).notes())
    assert "official_non_live lacks simple_java, simple_javascript, parallel, parallel_multiple;" in notes
    assert "official_irrelevance lacks live_irrelevance;" in notes
    assert "8 files, digest" in notes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"categories": ["simple"]}, r"no category 'simple'; allowed: simple_python, "),
        ({"categories": []}, r"benchmark\.categories=\[\]"),
        ({"categories": ["parallel"]}, r"no BFCL_v4_parallel\.json"),
        ({"path": "nowhere"}, r"benchmark\.path=nowhere: no such folder"),
        ({"digests": {}}, r"BFCL_v4_simple_python.* differ from the pinned data"),
    ],
)
def test_what_cannot_be_run_is_said(folder: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        len(bench(folder, **changes).data)


def test_official_accuracy_over_trials_is_the_mean_of_the_trials(folder: Path) -> None:
    benchmark = bench(folder)
    trials: list[Answer] = [gold, silent, broken]
    found, once = scores_of(benchmark, *trials), scores_of(benchmark, gold)
    for key, mean in official_means(benchmark, trials).items():
        assert found[key].value == pytest.approx(mean), key
        assert found[key].n == 3 * once[key].n


@pytest.mark.skipif(
    not importlib.util.find_spec("bfcl_eval"),
    reason="compares with the official checker, which pins other versions: pip install --no-deps bfcl-eval",
)
def test_the_official_data_are_the_pinned_ones_and_their_gold_scores_as_officially(tmp_path: Path) -> None:
    benchmark = bench(None, cache_path=str(tmp_path))
    found = scores_of(benchmark, gold)
    assert found["official_accuracy", ""].n == 3641
    for category in CATEGORIES:
        wrong = {"parallel_multiple": 1, "live_simple": 2, "live_multiple": 2, "simple_java": 3}.get(category, 0)
        score = found["official_accuracy", category]
        assert score.value == (score.n - wrong) / score.n
    sound = found["official_accuracy_without_known_bad", ""]
    # Of one entry an optional parameter fails; another's object has a text where a list of allowed values should be.
    assert (sound.n, sound.value) == (3635, 3633 / 3635)


RIGHT = '{"city": "Oslo", "days": 2}'
CALLED = (ToolCall(name="get_weather", arguments={"city": "Oslo", "days": 2}),)


@pytest.mark.parametrize(
    ("reading", "answer", "official"),
    [
        ("fc", {"raw": [{"get_weather": RIGHT}], "error": "truncated"}, True),
        ("fc", {"raw": [{"get_weather": f'{{"city": "Rome", {RIGHT[1:]}'}], "error": "format"}, True),
        ("fc", {"raw": [{"get_weather": {"city": "Oslo"}}]}, False),
        ("fc", {"raw": [{"get.weather": RIGHT}]}, False),
        ("fc", {"calls": (ToolCall(name="get_weather", arguments={"city": "Oslo"}),), "text": "in any format"}, True),
        ("qwen_fc", {"text": f'<tool_call>\n{{"name": "get_weather", "arguments": {RIGHT}}}\n</tool_call>'}, True),
        ("qwen_fc", {"raw": f'<tool_call>\n{{"name": "get_weather", "arguments": {RIGHT}}}\n</tool_call>'}, False),
        ("prompting", {"text": "<think>[f()]</think>get_weather('x', city='Oslo', days=1 + 1)"}, True),
        ("prompting", {"raw": "get.weather(city='Oslo')"}, True),
        ("prompting", {"raw": "get.weather(city=('Oslo',))"}, False),
        ("prompting", {"calls": CALLED}, True),
        ("prompting", {"calls": CALLED, "text": "<tool_call>...", "raw": [{"get_weather": RIGHT}]}, True),
        ("qwen_fc", {"calls": CALLED}, True),
    ],
)
def test_an_answer_is_read_as_the_named_handler_reads_it(
    folder: Path, reading: str, answer: dict[str, Any], official: bool
) -> None:
    benchmark = bench(folder, reading=reading)
    sample = next(iter(benchmark.data))
    assert benchmark.grade(sample, Prediction(sample_id=sample.id, **answer)).official is official


@pytest.mark.parametrize("reading", [None, "qwen_fc", "prompting"])
@pytest.mark.parametrize(
    "raw", ["[get.weather(city='Oslo', days=2)]", [{"get.weather": RIGHT}], [{"get_weather": RIGHT}]]
)
def test_a_recorded_call_is_known_by_its_name_with_dots_and_without(
    folder: Path, reading: str | None, raw: Any
) -> None:
    benchmark = bench(folder, reading=reading)
    sample = next(iter(benchmark.data))
    name = "get.weather" if "get.weather" in str(raw) else "get_weather"
    calls = (ToolCall(name=name, arguments=json.loads(RIGHT)),)
    found = benchmark.grade(sample, Prediction(sample_id=sample.id, raw=raw, calls=calls))
    assert (found.correct, found.tool_correct, found.official if reading is None else True) == (True, True, True)


@pytest.mark.parametrize("reading", [None, "fc", "qwen_fc", "prompting"])
def test_who_always_calls_gets_no_irrelevance_by_any_reading(folder: Path, reading: str | None) -> None:
    benchmark = bench(folder, reading=reading)
    grades = constant_grades(benchmark.episodes)[1]["most_frequent_tool"]
    assert {grade.official for grade in grades if grade.slice == "irrelevance"} == {False}
    assert {grade.official for grade in grades if grade.slice == "live_relevance"} == {True}


def test_who_calls_by_the_named_reading_has_not_abstained_by_ours_either(folder: Path) -> None:
    benchmark = bench(folder, reading="prompting", categories=["irrelevance"])
    sample = next(iter(benchmark.data))
    for text, abstained in (("set_timer(minutes=1)", False), ("No tool fits.", True)):
        found = benchmark.grade(sample, Prediction(sample_id=sample.id, text=text, content=text))
        assert (found.official, found.correct) == (abstained, abstained)


TEXTS = """
OUTPUT_FORMAT_MAPPING = {"python": "[f(x=1)]", "json": "[{...}]", "verbose_xml": "<a/>", "concise_xml": "<b>"}
PARAM_TYPE_MAPPING = {"python": "", "json": "", "verbose_xml": "Types.", "concise_xml": "Types."}
_STYLE = {"persona": "P", "task": "T", "tool_call_no_tag": "{output_format} {param_types}", "available_tools":
  "In {format}: {functions}", "tool_call_with_tag": "<TOOLCALL>{output_format}</TOOLCALL>", "multiturn_behavior": "M"}
"""
PROMPTED = TEXTS.replace("_STYLE = ", 'PROMPT_STYLE_TEMPLATES = {"classic": ').rstrip() + (
    ', "experimental": {"persona": "E", "task": "", "tool_call_no_tag": "", "available_tools": "{functions}", '
    '"tool_call_with_tag": "", "multiturn_behavior": ""}}\n'
    '_PLAINTEXT_SYSTEM_PROMPT_TEMPLATE = ("{persona}{task} {tool_call_format} "\n'
    ' "{multiturn_behavior} {available_tools}")\n'
    '_MARKDOWN_SYSTEM_PROMPT_TEMPLATE = "# {persona} {available_tools}"\n'
)


@pytest.fixture
def formats(folder: Path) -> BfclBenchmark:
    listed = {"simple_python": ["simple_python_1"], "live_parallel": ["live_parallel_0-0-0"]}
    (folder / "BFCL_v4_format_sensitivity.json").write_text(json.dumps(listed, indent=1))
    (folder / "default_prompts.py").write_text(PROMPTED)
    return bench(folder, categories=[SENSITIVITY], known_bad=[])


def test_a_question_is_asked_under_every_prompt_in_the_official_order(formats: BfclBenchmark) -> None:
    samples = list(formats.data)
    ids = [formats._read.entries[sample.id]["id"] for sample in samples]
    assert len(ids) == 52
    assert ids[0] == (
        "format_sensitivity_0:ret_fmt=python&tool_call_tag=True&func_doc_fmt=python&prompt_fmt=plaintext&style=classic"
        ":simple_python_1"
    )
    assert ids[51].startswith("format_sensitivity_51:ret_fmt=python&tool_call_tag=False&func_doc_fmt=json&")
    assert ids[51].endswith("&prompt_fmt=plaintext&style=experimental:live_parallel_0-0-0")
    assert len({variant.slice for variant in VARIANTS}) == 26
    first, last = samples[0].messages[0].content, samples[-1].messages[0].content
    assert first.startswith("PT <TOOLCALL>[f(x=1)]</TOOLCALL> M In python: # Function: get.weather")
    assert first.count("Python 3 syntax.") == 2
    assert last.startswith("E")
    assert {sample.tools for sample in samples} == {()}
    assert {sample.group for sample in samples} == {"simple_python_1", "live_parallel-0"}


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("python", "[get.weather(city='Oslo')]"),
        ("json", '```json\n[{"function": "get.weather", "parameters": {"city": "Oslo", "days": 2}}]\n```'),
        (
            "verbose_xml",
            '<functions><function name="get.weather"><params><param name="city" value="Oslo" type="string"/></params>'
            "</function></functions>",
        ),
        (
            "concise_xml",
            'So: <functions><function name="get.weather"><param name="days" type="float"> 2 </param>'
            '<param name="city">Oslo</param></function></functions>',
        ),
    ],
)
def test_an_answer_is_read_in_the_form_that_its_prompt_asks_for(
    formats: BfclBenchmark, returned: str, text: str
) -> None:
    for sample in formats.data:
        entry = formats._read.entries[sample.id]
        for given, tagged in ((text, False), (f"<TOOLCALL>{text}</TOOLCALL>", True)):
            answer = Prediction(sample_id=sample.id, text=given, error="format")
            found = formats.grade(sample, answer)
            asked = entry["variant"]
            if entry["of"] == "simple_python_1" and (asked.returned == returned or returned == "python"):
                fits = asked.returned == returned and tagged >= asked.tagged
                if (tagged, asked.tagged, returned) != (True, False, "python"):
                    # without being asked for, tags are passed over in JSON and XML
                    assert (found.official, found.correct, found.parsed) == (fits, fits, fits), (entry["id"], given)
                    assert found.argument_pairs[0] == int(fits)


def test_how_far_the_prompts_lie_apart_is_the_official_figure(formats: BfclBenchmark) -> None:
    def in_python(sample: Sample) -> Prediction:
        return gold(sample) if sample.slice.startswith(f"{SENSITIVITY}_python") else silent(sample)

    found = scores_of(formats, in_python)
    shares = [float(found["official_accuracy", variant.slice].value or 0) for variant in VARIANTS]
    assert sorted(shares) == [0.0] * 18 + [1.0] * 8
    assert found["official_format_std", ""].value == pytest.approx(stdev(shares))
    assert found["official_format_max_delta", ""].value == 1.0
    assert scores_of(formats, gold)["official_format_std", ""].value == 0.0
    assert scores_of(formats, lambda s: Prediction(sample_id=s.id, error="model"))["official_format_std", ""].n == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"categories": [SENSITIVITY, "multiple"]}, r"format_sensitivity is asked alone"),
        (
            {"categories": [SENSITIVITY], "reading": "fc"},
            r"benchmark\.reading=fc: format_sensitivity asks for calls in",
        ),
        ({"categories": [SENSITIVITY]}, r"no BFCL_v4_format_sensitivity"),
    ],
)
def test_formats_that_cannot_be_asked_are_refused(folder: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        len(bench(folder, **changes).data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"no default_prompts\.py, .* copy it into that folder, or leave"),
        ("x = (", r"no file of prompts"),
        (PROMPTED.replace("PARAM_TYPE", "PARAM"), r"no texts under PARAM_TYPE_MAPPING"),
        (PROMPTED.replace("{persona}{task}", "{who}"), r"has no text for 'who'"),
        (PROMPTED.replace('"M"', "5"), r"no texts under PROMPT_STYLE"),
        (PROMPTED.replace('"T"', "open('x')"), r"no file of prompts"),
    ],
)
def test_prompts_that_are_none_are_refused(formats: BfclBenchmark, folder: Path, text: str | None, words: str) -> None:
    (folder / "default_prompts.py").unlink()
    if text is not None:
        (folder / "default_prompts.py").write_text(text)
    with pytest.raises(UserError, match=words):
        len(formats.data)


def test_functions_are_listed_with_all_that_their_schemas_say() -> None:
    inner = {"type": "dict", "required": ["a"], "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    listed = function("f", x="string", y="dict", z="dict")
    listed["parameters"]["properties"] |= {
        "x": {"type": "string", "enum": ["a", "b"], "default": "a, b"},
        "y": {**inner, "description": "Inner."},
        "z": {"type": "object", "additionalProperties": {"type": "number"}},
    }
    xml, python = LISTED["xml"]([listed]), LISTED["python"]([listed])
    assert """<param name="x" type="string" required="true" default="'a b'">""" in xml
    assert "      <desc> Enum values: ['a', 'b'].</desc>" in xml
    assert '        <param name="a" type="array[integer]" required="true">' in xml
    assert 'name="z" type="object[number]" required="false"' in xml
    assert "        x (str, default='a, b'):  Enum values: ['a', 'b'].\n" in python
    assert "        y (dict): Inner.\n            a (list[int]): \n" in python
    assert "        z (dict[str, float]): \n" in python


@pytest.mark.skipif(
    not importlib.util.find_spec("bfcl_eval"),
    reason="compares with the official prompts: pip install --no-deps bfcl-eval==2026.3.23",
)
def test_the_prompts_are_the_official_ones_to_the_letter(tmp_path: Path) -> None:
    runners = Path(__file__).parents[1] / "benchmarks" / "official_runners.py"
    environment = {**os.environ, "BFCL_PROJECT_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, str(runners)], capture_output=True, text=True, check=True, env=environment)
    benchmark = bench(None, cache_path=str(tmp_path), categories=[SENSITIVITY])
    entries = benchmark._read.entries
    asked = {entries[s.id]["id"]: [[m.role, m.content] for m in s.messages] for s in benchmark.data}
    assert asked == json.loads(done.stdout)
    assert len(asked) == 5200
    assert scores_of(benchmark, gold)["official_accuracy", ""].value == 1.0
