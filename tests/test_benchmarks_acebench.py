"""ACEBench as a benchmark: its rows in our form, its verdicts and means, and our strict ones beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from grading import Answer, official_means, scores_of, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.benchmarks.acebench import CATEGORIES, AceBenchmark, _verdict, dialogue, shown
from sloop.calls.readings import write_bracketed
from sloop.calls.schema import validator
from sloop.engine.build import build
from sloop.records import Prediction, Sample, ToolCall, UserError

SINGLE, PARALLEL = "normal_single_turn_single_function", "normal_single_turn_parallel_function"
ADJUST, PREFERENCE = "normal_multi_turn_user_adjust", "normal_preference"


def function(name: str, under: str = "parameters", **types: str) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": f"The {key}."} for key, kind in types.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"name": name, "description": f"Does {name}.", under: schema}


WEATHER = function("get_weather", city="string", days="integer")
TIMER = function("set_timer", minutes="integer")
DOTTED = function("home.lamp", under="arguments", on="boolean")
BASKET = function("fill_basket", fruits="array", shop="string")  # no items: officially an array of objects
ROWS: dict[str, list[tuple[str, dict[str, Any], Any]]] = {
    SINGLE: [
        ("0", {"question": "user: Weather in Oslo?\n"}, {"get_weather": {"city": "Oslo", "days": 2}}),
        ("1", {"question": "user: Apples, please.\n"}, {"fill_basket": {"fruits": ["apple"], "shop": "any"}}),
    ],
    PARALLEL: [
        (
            "0",
            {"question": "user: Two timers.\n", "time": "Today is Monday."},
            {"set_timer_1": {"minutes": 1}, "set_timer_2": {"minutes": 2}},
        ),
        (
            "1",
            {"question": "user: A timer, or the weather.\n"},
            [{"set_timer": {"minutes": 3}}, {"get_weather": {"city": "Oslo"}}],
        ),
    ],
    ADJUST: [
        ("0_0", {"question": "user: A timer.\nsystem: How long?\nuser: 5\n"}, {"set_timer": {"minutes": 5}}),
        (
            "0_1",
            {"question": "user: A timer.\nsystem: [set_timer(minutes=5)]\nsystem: Done.\nuser: Weather in New York\n"},
            {"get_weather": {"city": "New York"}},
        ),
        ("1_0", {"question": "user: Weather in Rome\n"}, {"get_weather": {"city": "Rome"}}),
    ],
    PREFERENCE: [
        (
            "0",
            {"question": "user: Weather at home.\n", "profile": "{'home': 'Bergen'}. ", "time": "Noon."},
            {"get_weather": {"city": "Bergen"}},
        ),
    ],
}
JSON = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["object", "string", "x"])
KEYWORDS = st.sampled_from(["type", "properties", "items", "required", "enum", "minimum", "description", "anyOf", "x"])
BAD = f"{SINGLE}_1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data_en"
    (root / "possible_answer").mkdir(parents=True)
    for category, rows in ROWS.items():
        functions = [WEATHER, TIMER, DOTTED, BASKET]
        asked = [{"id": f"{category}_{n}", "function": functions, "time": "", **row} for n, row, _ in rows]
        answers = [{"id": f"{category}_{n}", "ground_truth": truth} for n, _, truth in rows]
        (root / f"data_{category}.json").write_text("\n".join(map(json.dumps, asked)))
        (root / "possible_answer" / f"data_{category}.json").write_text("\n".join(map(json.dumps, answers)))
    return root


def bench(folder: Path, **changes: Any) -> AceBenchmark:
    spec = spec_of("acebench")
    own = {"path": str(folder), "categories": list(ROWS), "digests": None, "cache_path": str(folder.parent / "cache")}
    found = build({**spec, **own, **changes}, "benchmark")
    assert isinstance(found, AceBenchmark)
    return found


def gold(sample: Sample) -> Prediction:
    assert sample.label is not None
    return Prediction(sample_id=sample.id, calls=sample.label.calls)


def silent(sample: Sample) -> Prediction:
    return Prediction(sample_id=sample.id, content="No tool fits.", text="No tool fits.")


def off_by_one(sample: Sample) -> Prediction:
    """The gold answer with every number wrong."""
    calls = [
        ToolCall(name=call.name, arguments={k: v + 1 if type(v) is int else v for k, v in call.arguments.items()})
        for call in gold(sample).calls
    ]
    return Prediction(sample_id=sample.id, calls=tuple(calls))


def bracketed(sample: Sample) -> Prediction:
    """The gold answer as the official prompts want it, from a student whose own format is another one."""
    calls = ", ".join(
        f"{call.name}({', '.join(f'{k}={v!r}' for k, v in call.arguments.items())})" for call in gold(sample).calls
    )
    return Prediction(sample_id=sample.id, text=f"[{calls}]", error="format")


def the(benchmark: AceBenchmark, entry: str) -> Sample:
    return next(sample for sample in benchmark.data if sample.env and sample.env.state["entry"] == entry)


# --- rows in our form ---------------------------------------------------------------------------------------------


def test_a_question_is_a_dialogue_in_which_system_is_the_assistant() -> None:
    said = dialogue(
        "user: A timer.\nFor tea.\nsystem: [set_timer(minutes=5)]\ntool: ok\nsystem: Done: 5.\nuser: Thanks\n"
    )
    assert [(m.role, m.content) for m in said] == [
        ("user", "A timer.\nFor tea."),
        ("assistant", "[set_timer(minutes=5)]\ntool: ok\nDone: 5."),
        ("user", "Thanks"),
    ]
    assert [m.content for m in dialogue("Just words: user")] == ["Just words: user"]


def test_a_preference_row_tells_the_profile_and_any_other_the_time(folder: Path) -> None:
    benchmark = bench(folder)
    asked = {entry: the(benchmark, entry).messages[0] for entry in (f"{PREFERENCE}_0", f"{PARALLEL}_0", f"{SINGLE}_0")}
    assert {message.role for message in asked.values()} == {"system"}
    assert asked[f"{PREFERENCE}_0"].content.endswith("The user's profile: {'home': 'Bergen'}.")
    assert "Noon" not in asked[f"{PREFERENCE}_0"].content
    assert asked[f"{PARALLEL}_0"].content.endswith("Today is Monday.")
    assert "profile" not in asked[f"{SINGLE}_0"].content


def test_brackets_are_asked_for_where_the_user_wants_it(folder: Path) -> None:
    plain, wanted = (the(bench(folder, ask_for_brackets=ask), f"{SINGLE}_0") for ask in (False, True))
    assert "[first_tool(" in wanted.messages[0].content
    assert "[first_tool(" not in plain.messages[0].content
    assert plain.id != wanted.id


def test_tools_are_json_schema_with_names_that_endpoints_take() -> None:
    tool = shown(function("a.b", under="arguments", x="list(string)", y="dict", z="enum", n="float"))
    assert tool.name == "a_b"
    assert [part["type"] for part in tool.properties.values()] == ["array", "object", "string", "number"]
    assert tool.required == ("x",)
    assert shown({"name": "f", "parameters": {}}).parameters == {"type": "object", "properties": {}}


def test_parameters_that_are_no_json_schema_are_shown_by_type() -> None:
    odd = function("f", x="string", y="integer")
    odd["parameters"]["properties"]["x"]["required"] = True
    odd["parameters"]["properties"]["z"] = ["not", "a", "schema"]
    tool = shown(odd)
    assert tool.properties["x"] == {"type": "string", "description": "The x."}
    assert tool.properties["y"]["type"] == "integer"
    assert list(tool.properties) == ["x", "y", "z"]


@given(st.recursive(JSON, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYWORDS, inner), max_leaves=8))
@settings(max_examples=50, deadline=None)
def test_whatever_the_parameters_what_is_shown_is_a_json_schema(parameters: Any) -> None:
    declared = {"properties": {"x": parameters, "y": {"type": "int"}}, "required": ["x"]}
    tool = shown({"name": "f", "parameters": declared})
    assert validator(tool)
    assert list(tool.properties) == ["x", "y"]


def test_the_steps_of_a_dialogue_are_a_group(folder: Path) -> None:
    groups = [sample.group for sample in bench(folder, categories=[ADJUST]).data]
    assert groups == [f"{ADJUST}_0", f"{ADJUST}_0", f"{ADJUST}_1"]


# --- verdicts and scores ------------------------------------------------------------------------------------------


def test_gold_answers_are_right_where_an_entry_can_be_met(folder: Path) -> None:
    benchmark = bench(folder)
    found = scores_of(benchmark, gold)
    assert benchmark.known_bad == [BAD]
    assert found["official_accuracy", SINGLE].value == 0.5
    assert found["official_accuracy_without_known_bad", ""].value == 1.0
    assert found["official_accuracy_without_known_bad", ""].n == 6
    assert found["call_accuracy", ""].value == 1.0
    assert {slice for name, slice in found if name == "official_accuracy"} == {"", *ROWS}


def test_known_bad_entries_can_be_listed_and_left_out(folder: Path) -> None:
    benchmark = bench(folder, skip_known_bad=True)
    assert len(benchmark.data) == 7
    found = scores_of(benchmark, gold)
    assert found["official_accuracy", ""].value == 1.0
    assert ("official_accuracy_without_known_bad", "") not in found
    assert bench(folder, known_bad=[]).known_bad == []
    assert len(bench(folder, known_bad=[f"{PARALLEL}_0", BAD], skip_known_bad=True).data) == 6


def test_a_dialogue_of_which_a_step_is_bad_is_scored_without_that_step_as_well(folder: Path) -> None:
    benchmark = bench(folder, categories=[ADJUST], known_bad=[f"{ADJUST}_0_0"])
    found = scores_of(benchmark, lambda sample: silent(sample) if sample.messages[-1].content == "5" else gold(sample))
    assert (found["official_accuracy", ""].value, found["official_accuracy", ""].n) == (0.5, 2)
    without = found["official_accuracy_without_known_bad", ""]
    assert (without.value, without.n) == (1.0, 2)


def test_a_wrong_number_is_right_officially_and_wrong_to_us(folder: Path) -> None:
    found = scores_of(bench(folder), off_by_one)
    assert found["official_accuracy", PARALLEL].value == 1.0
    assert found["call_accuracy", PARALLEL].value == 0.0
    benchmark = bench(folder)
    grade = benchmark.grade(sample := the(benchmark, f"{PARALLEL}_0"), off_by_one(sample))
    assert (grade.official, grade.correct, grade.reason) == (True, False, "value:set_timer.minutes")


def test_any_of_several_answers_is_right_to_both(folder: Path) -> None:
    benchmark = bench(folder)
    sample = the(benchmark, f"{PARALLEL}_1")
    other = Prediction(sample_id=sample.id, calls=(ToolCall(name="get_weather", arguments={"city": "Oslo"}),))
    grade = benchmark.grade(sample, other)
    assert (grade.official, grade.correct, grade.reason) == (True, True, None)


def test_a_dialogue_is_right_where_all_its_steps_are(folder: Path) -> None:
    def forgetful(sample: Sample) -> Prediction:
        return silent(sample) if sample.group == f"{ADJUST}_0" else gold(sample)

    def half(sample: Sample) -> Prediction:
        return silent(sample) if sample.messages[-1].content == "5" else gold(sample)

    for answer, process in ((half, 0.75), (forgetful, 0.5), (gold, 1.0)):
        found = scores_of(bench(folder, categories=[ADJUST]), answer)
        end = found["official_accuracy", ADJUST]
        assert (end.value, end.n) == (1.0 if answer is gold else 0.5, 2)
        assert found["official_process_accuracy", ADJUST].value == process
        assert found["official_multi_turn", ""].value == end.value


def test_trials_of_a_dialogue_are_dialogues_of_their_own(folder: Path) -> None:
    def half(sample: Sample) -> Prediction:
        return silent(sample) if sample.messages[-1].content == "5" else gold(sample)

    benchmark = bench(folder)
    trials: list[Answer] = [gold, silent, half]
    found = scores_of(benchmark, *trials)
    for key, mean in official_means(benchmark, trials).items():
        assert found[key].value == pytest.approx(mean, abs=0.001), key  # means are rounded as officially


def test_a_step_without_an_answer_leaves_its_dialogue_unmeasured_unless_another_is_wrong(folder: Path) -> None:
    def failing(sample: Sample) -> Prediction:
        broken = sample.messages[-1].content == "5"
        return Prediction(sample_id=sample.id, error="model") if broken else gold(sample)

    found = scores_of(bench(folder, categories=[ADJUST]), failing)
    assert (found["official_accuracy", ADJUST].value, found["official_accuracy", ADJUST].n) == (1.0, 1)
    assert found["official_process_accuracy", ADJUST].n == 2
    assert found["model_errors", ""].value == pytest.approx(1 / 3)

    def failing_and_wrong(sample: Sample) -> Prediction:
        return failing(sample) if sample.messages[-1].content == "5" else silent(sample)

    found = scores_of(bench(folder, categories=[ADJUST]), failing_and_wrong)
    assert (found["official_accuracy", ADJUST].value, found["official_accuracy", ADJUST].n) == (0.0, 2)


def test_silence_earns_nothing(folder: Path) -> None:
    found = scores_of(bench(folder), silent)
    assert found["official_accuracy", ""].value == 0.0
    assert found["false_refusal_rate", ""].value == 1.0
    benchmark = bench(folder)
    grade = benchmark.grade(sample := the(benchmark, f"{SINGLE}_0"), silent(sample))
    assert grade.reason == "wrong_output_format"


def test_bracketed_calls_count_officially_in_whatever_format_a_student_writes(folder: Path) -> None:
    found = scores_of(bench(folder), bracketed)
    assert found["official_accuracy_without_known_bad", ""].value == 1.0
    assert found["call_accuracy", ""].value == 0.0
    assert found["format_correctness", ""].value == 0.0


def test_words_around_bracketed_calls_are_an_error_in_a_step_of_a_dialogue_alone(folder: Path) -> None:
    def chatty(sample: Sample) -> Prediction:
        return Prediction(sample_id=sample.id, text=f"Sure: {bracketed(sample).text}", error="format")

    found = scores_of(bench(folder), chatty)
    assert found["official_accuracy", PARALLEL].value == 1.0
    assert found["official_accuracy", ADJUST].value == 0.0


def test_a_dotted_name_is_known_by_the_name_that_is_shown(folder: Path) -> None:
    answers = folder / "possible_answer" / f"data_{SINGLE}.json"
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    lines[0]["ground_truth"] = {"home.lamp": {"on": True}}
    answers.write_text("\n".join(map(json.dumps, lines)))
    questions = folder / f"data_{SINGLE}.json"
    questions.write_text(questions.read_text().replace('"arguments"', '"parameters"'))
    benchmark = bench(folder)
    sample = the(benchmark, f"{SINGLE}_0")
    assert [call.name for call in gold(sample).calls] == ["home_lamp"]
    grade = benchmark.grade(sample, gold(sample))
    assert (grade.official, grade.correct) == (True, True)


def test_every_category_weighs_the_same_in_a_mean(folder: Path) -> None:
    found = scores_of(bench(folder), gold)
    assert found["official_single_turn", ""].value == 0.75
    assert found["official_normal", ""].value == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert ("official_atom", "") not in found


# --- what a reader must know --------------------------------------------------------------------------------------


def test_what_is_missing_bad_and_unpinned_is_said(folder: Path) -> None:
    notes = " ".join(bench(folder).notes())
    assert f"official_multi_turn lacks {CATEGORIES[3]};" in notes
    assert "agent_* rows are not run" in notes
    assert f"1 rows whose own answer is wrong by the official rules ({BAD}): scores are given with and without" in notes
    assert "these data are not pinned" in notes
    assert f"1 rows listed as bad ({BAD}): left out" in " ".join(
        bench(folder, known_bad=[BAD], skip_known_bad=True).notes()
    )


def test_data_pinned_by_the_digests_that_a_run_tells_may_not_change(folder: Path) -> None:
    digests = yaml.safe_load("\n".join(note for note in bench(folder).notes() if note.startswith("  ")))
    assert list(digests) == list(ROWS)
    assert "not pinned" not in " ".join(bench(folder, digests=digests).notes())
    path = folder / "possible_answer" / f"data_{SINGLE}.json"
    path.write_text(path.read_text().replace("Oslo", "Bergen"))
    with pytest.raises(UserError, match=f"{SINGLE} differ from the pinned data"):
        len(bench(folder, digests=digests).data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"categories": ["agent_multi_step"]}, r"no category 'agent_multi_step'; allowed: normal_single_turn_"),
        ({"categories": []}, r"benchmark\.categories=\[\]"),
        ({"categories": ["normal_atom_bool"]}, r"no data_normal_atom_bool\.json"),
        ({"path": "nowhere"}, r"benchmark\.path=nowhere: no such folder.*github\.com/chenchen0103/ACEBench"),
    ],
)
def test_what_cannot_be_run_is_said(folder: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        len(bench(folder, **changes).data)


def test_a_file_that_is_no_json_is_named(folder: Path) -> None:
    path = folder / f"data_{SINGLE}.json"
    for text, missing in (("{\n", "Expecting"), ("[]", "the object is missing"), ('{"id": "a"}', "question, function")):
        path.write_text(text)
        with pytest.raises(UserError, match=rf"data_{SINGLE}\.json, line 1: not a JSON object with .*: {missing}"):
            len(bench(folder).data)


# --- rows that want words -----------------------------------------------------------------------------------------

WANTED: dict[str, tuple[Any, str]] = {
    "special_incomplete": ({"get_weather": ["city"]}, "Missing necessary parameters (city) for the api (get_weather)"),
    "special_error_param": ({"minutes": ["soon"]}, "There is incorrect value (soon) for the parameters (minutes)."),
    "special_irrelevant": ("Cannot be done.", "Due to the limitations of the function, this cannot be done."),
}


@pytest.fixture
def special(folder: Path) -> AceBenchmark:
    for category, (truth, _) in WANTED.items():
        asked = {"id": f"{category}_0", "question": "user: A timer, soon.\n", "function": [WEATHER, TIMER]}
        (folder / f"data_{category}.json").write_text(json.dumps(asked))
        answer = folder / "possible_answer" / f"data_{category}.json"
        answer.write_text(json.dumps({"id": f"{category}_0", "ground_truth": truth}))
    return bench(folder, categories=list(WANTED))


def test_words_are_looked_for_in_a_special_row_and_no_call_is_wanted(special: AceBenchmark) -> None:
    for category, (_, words) in WANTED.items():
        sample = the(special, f"{category}_0")
        for text, official, reason in (
            (f"Sorry. {words}", True, None),
            (
                words.replace("(city)", "(town)").replace("(soon)", "(later)"),
                category.endswith("irrelevant"),
                "correction",
            ),
            (words.upper(), False, "detection"),
            ("No.", False, "detection"),
        ):
            found = special.grade(sample, Prediction(sample_id=sample.id, content=text, text=text))
            assert (found.official, found.correct) == (official, True), text
            assert official or found.reason == f"error_{reason}"


def test_the_answer_of_a_special_row_is_a_sentence_that_meets_it(special: AceBenchmark) -> None:
    def words(sample: Sample) -> Prediction:
        assert sample.label is not None
        return Prediction(sample_id=sample.id, content=sample.label.content, text=sample.label.content)

    assert special.known_bad == []
    assert scores_of(special, words)["official_special", ""].value == 1.0
    assert "the limitations of the function" in the(special, "special_irrelevant_0").messages[0].content


# --- what is read -------------------------------------------------------------------------------------------------


def test_calls_in_another_form_lose_white_space_in_a_step_as_bracketed_ones_do() -> None:
    entry = {"function": [function("f", x="object")], "ground_truth": {"f": {"x": {"a": ["b c"]}}}}
    calls = (ToolCall(name="f", arguments={"x": {"a": ["b c"]}}),)
    for handed_over in (None, [{"f": '{"x": {"a": ["b c"]}}'}]):
        answer = Prediction(sample_id="", calls=calls, raw=handed_over)
        assert _verdict(SINGLE, entry, answer).valid
        assert not _verdict(ADJUST, entry, answer).valid


def test_a_recorded_call_is_known_by_its_name_with_dots(folder: Path) -> None:
    benchmark = bench(folder)
    sample = next(s for s in benchmark.data if any("." in f["name"] for f in benchmark._read.entries[s.id]["function"]))
    names = {f["name"].replace(".", "_"): f["name"] for f in benchmark._read.entries[sample.id]["function"]}
    calls = tuple(call.model_copy(update={"name": names[call.name]}) for call in gold(sample).calls)
    for raw in (write_bracketed([{c.name: c.arguments} for c in calls]), [{c.name: c.arguments} for c in calls]):
        found = benchmark.grade(sample, Prediction(sample_id=sample.id, calls=calls, raw=raw))
        assert (found.official, found.correct) == (True, True)


def test_a_recorded_text_is_read_as_it_stands_and_a_students_own_without_its_reasoning(folder: Path) -> None:
    benchmark = bench(folder)
    sample = the(benchmark, f"{SINGLE}_0")
    text = f"<think>[1]</think>{bracketed(sample).text}"
    assert benchmark.grade(sample, Prediction(sample_id=sample.id, text=text, error="format")).official
    assert not benchmark.grade(sample, Prediction(sample_id=sample.id, raw=text, error="format")).official


@pytest.mark.skipif(
    "SLOOP_ACEBENCH" not in os.environ,
    reason="reads ACEBench's English data, which are not shipped: set SLOOP_ACEBENCH to data_all/data_en of a clone",
)
def test_the_official_data_are_the_pinned_ones_and_their_own_answers_score_as_officially(tmp_path: Path) -> None:
    spec = spec_of("acebench")
    benchmark = build({**spec, "path": os.environ["SLOOP_ACEBENCH"], "cache_path": str(tmp_path)}, "benchmark")
    for write in (gold, lambda sample: bracketed(sample) if gold(sample).calls else gold(sample)):
        verdicts: dict[str, list[bool]] = {"normal": [], "special": []}
        for sample in benchmark.data:
            assert sample.label is not None
            answer = write(sample).model_copy(update={} if sample.label.calls else {"text": sample.label.content})
            verdicts[sample.slice.partition("_")[0]].append(bool(benchmark.grade(sample, answer).official))
        assert (sum(verdicts["normal"]), len(verdicts["normal"])) == (794, 823)
        assert (sum(verdicts["special"]), len(verdicts["special"])) == (150, 150)
