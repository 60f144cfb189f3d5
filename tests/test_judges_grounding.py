"""The judge of rules: what it says about single answers, and about answers side by side.

The tools are none of the packaged ones: the rules must not know a tool.
"""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from random import Random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.grounding import ungrounded
from sloop.engine.build import build
from sloop.judges import grounding
from sloop.judges.grounding import GroundingJudge
from sloop.judges.rules import answer, filling, no_call, question, reading, relevance, rest, rule, table, values
from sloop.records import Label, Lineage, Message, Sample, Tool, ToolCall, UserError

CONFIG = Path(__file__).parents[1] / "conf" / "judge" / "grounding.yaml"


def _tool(name, description, required=(), **properties):
    return Tool(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": list(required)},
    )


def _text(description, **more):
    return {"type": "string", "description": description, **more}


FERRY = _tool(
    "book_ferry",
    "Book a ferry passage (ship, boat) from one harbour to another, with or without a car.",
    ["from_harbour", "to_harbour", "passengers"],
    from_harbour=_text("Harbour of departure."),
    to_harbour=_text("Harbour of arrival."),
    passengers={"type": "integer", "description": "Number of passengers."},
    vehicle=_text("Vehicle that is taken along.", enum=["car", "motorbike", "camper_van"]),
    insured={"type": "boolean", "description": "True for travel insurance."},
)
LOAN = _tool(
    "renew_loan",
    "Renew or extend the loan of a library book, so that it may be kept longer.",
    ["card"],
    card=_text("Number of the library card, e.g. LB-4821.", pattern="^LB-[0-9]{4}$"),
    weeks={"type": "integer", "description": "How many weeks to extend. Default is 2."},
)
BOARD = _tool(
    "post_notice",
    "Post or pin a notice on the notice board of a village.",
    ["village", "text"],
    village=_text("Name of the village."),
    text=_text("Words of the notice."),
)
PLANTS = _tool(
    "order_seeds",
    "Order seeds or bulbs of plants for the garden.",
    ["plants"],
    plants={"type": "array", "items": {"type": "string"}, "description": "Plants to order."},
    organic={"type": "boolean", "description": "True for organic seeds."},
)
ALL = (FERRY, LOAN, BOARD, PLANTS)


def _call(tool, **arguments):
    return ToolCall(name=tool.name, arguments=arguments)


def _label(*calls, content=""):
    return Label(calls=calls, content=content)


REFUSAL = _label(content="I have no tool for that.")


def _sample(request, tools=ALL):
    return Sample(tools=tools, messages=(Message(role="user", content=request),))


def _judge():
    settings_ = yaml.safe_load(CONFIG.read_text())
    del settings_["_target_"]
    return GroundingJudge(**settings_)


JUDGE = _judge()


def _verdicts(sample, *answers):
    return asyncio.run(JUDGE.judge(sample, answers, Random(0)))


def _verdict(request, *calls, tools=ALL):
    return _verdicts(_sample(request, tools), _label(*calls) if calls else REFUSAL)[0]


def _rules(verdict):
    return {line.split(":")[0] for line in verdict.evidence}


CROSSING = "book a ferry from Kiel to Oslo for 3 passengers"
RIGHT = _call(FERRY, from_harbour="Kiel", to_harbour="Oslo", passengers=3)


def test_a_grounded_complete_and_relevant_call_is_right():
    verdict = _verdict(CROSSING, RIGHT)
    assert verdict.correct is True
    assert _rules(verdict) == {"relevance"}


def test_an_output_that_cannot_be_parsed_is_wrong():
    verdict = _verdicts(_sample(CROSSING), None)[0]
    assert (verdict.correct, _rules(verdict)) == (False, {"format"})


@pytest.mark.parametrize(
    "call",
    [
        ToolCall(name="book_train", arguments={}),
        _call(FERRY, from_harbour="Kiel", to_harbour="Oslo"),
        _call(FERRY, from_harbour="Kiel", to_harbour="Oslo", passengers="3"),
        _call(FERRY, from_harbour="Kiel", to_harbour="Oslo", passengers=3, deck="A"),
    ],
)
def test_a_call_that_breaks_its_schema_is_wrong(call):
    verdict = _verdict(CROSSING, call)
    assert (verdict.correct, _rules(verdict)) == (False, {"schema"})


@pytest.mark.parametrize(
    "changed",
    [{"to_harbour": "Bergen"}, {"passengers": 4}, {"vehicle": "car"}, {"insured": True}, {"from_harbour": "K"}],
)
def test_a_value_that_does_not_stand_in_the_request_is_wrong(changed):
    verdict = _verdict(CROSSING, _call(FERRY, **{**RIGHT.arguments, **changed}))
    assert verdict.correct is False
    assert "grounding" in _rules(verdict)


def test_defaults_and_required_choices_need_not_stand_in_the_request():
    sample = _sample("renew the loan of card LB-1234")
    assert ungrounded(sample, _label(_call(LOAN, card="LB-1234", weeks=2))) == []
    assert ungrounded(sample, _label(_call(LOAN, card="LB-1234", weeks=3))) == ["renew_loan.weeks=3"]
    chosen = _tool("t", "", ["way"], way=_text("", enum=["up", "down"]), loud={"type": "boolean", "default": False})
    assert ungrounded(_sample("go", (chosen,)), _label(_call(chosen, way="up", loud=False))) == []


def test_values_may_stand_in_earlier_messages_but_not_in_the_assistants():
    call = _label(_call(LOAN, card="LB-1234"))
    earlier = Message(role="user", content="my card is LB-1234")
    said = Message(role="assistant", content="is it LB-1234?")
    last = Message(role="user", content="renew the loan")
    assert ungrounded(Sample(tools=ALL, messages=(earlier, last)), call) == []
    assert ungrounded(Sample(tools=ALL, messages=(said, last)), call) == ["renew_loan.card='LB-1234'"]


def test_the_same_call_twice_is_wrong():
    assert "repetition" in _rules(_verdict(CROSSING, RIGHT, RIGHT))


def test_swapped_ends_of_a_journey_are_wrong():
    swapped = _call(FERRY, from_harbour="Oslo", to_harbour="Kiel", passengers=3)
    verdict = _verdict(CROSSING, swapped)
    assert (verdict.correct, _rules(verdict)) == (False, {"exchange"})


def test_values_that_name_their_parameters_are_not_taken_for_swapped():
    tool = _tool("link_parts", "Link two parts.", [], part_code=_text("Code."), owner_code=_text("Code."))
    request = "link parts, with part code ZX 1 and owner code QY 2"
    assert _verdict(request, _call(tool, part_code="ZX 1", owner_code="QY 2"), tools=(tool,)).correct is True
    assert _verdict(request, _call(tool, part_code="QY 2", owner_code="ZX 1"), tools=(tool,)).correct is False


@pytest.mark.parametrize(
    ("request_", "village", "text", "correct"),
    [
        ("post a notice in Elm: the well is dry", "Elm", "the well is dry", True),
        ("post a notice in Elm: the well is dry", "Elm", "the well is", None),
        ("post a notice in Elm: the well is dry", "Elm", "is dry", None),
        ("post the well is dry on the board in Elm", "in Elm", "the well is dry", False),
        ("post the well is dry on the board in Elm", "Elm", "the well is dry on", False),
        ("post the well is dry on the board in Elm", "Elm", "the", False),
    ],
)
def test_a_text_value_ends_where_the_words_around_it_say(request_, village, text, correct):
    verdict = _verdict(request_, _call(BOARD, village=village, text=text))
    assert verdict.correct is not True if correct is None else verdict.correct is correct


@pytest.mark.parametrize(
    ("words", "value", "correct"),
    [
        ("organic seeds", True, True),
        ("seeds, not organic", False, True),
        ("organic seeds", False, False),
        ("seeds, not organic", True, False),
    ],
)
def test_a_boolean_follows_the_denial_around_its_word(words, value, correct):
    request = f"order tulips and lilies as {words}"
    verdict = _verdict(request, _call(PLANTS, plants=["tulips", "lilies"], organic=value))
    assert verdict.correct is correct


@pytest.mark.parametrize(
    ("request_", "call", "words"),
    [
        (f"{CROSSING} with a camper van", RIGHT, "vehicle"),
        (f"{CROSSING}, insured", RIGHT, "insured"),
    ],
)
def test_an_unused_choice_or_boolean_that_the_request_names_is_wrong(request_, call, words):
    verdict = _verdict(request_, call)
    assert (verdict.correct, _rules(verdict)) == (False, {"coverage"})
    assert words in verdict.evidence[0]


@pytest.mark.parametrize(
    ("request_", "call"),
    [
        ("renew the loan of card LB-1234 for 5 weeks", _call(LOAN, card="LB-1234")),
        ("order seeds of tulips, lilies and dahlias", _call(PLANTS, plants=["tulips", "lilies"])),
        (f"{CROSSING}, and renew the loan of card LB-1234", RIGHT),
        (f"{CROSSING} and from Oslo to Turku for 3 passengers", RIGHT),
    ],
)
def test_a_call_that_leaves_values_of_the_request_unused_is_not_right(request_, call):
    verdict = _verdict(request_, call)
    assert verdict.correct is not True
    assert "coverage" in _rules(verdict)


def test_two_calls_that_hold_the_whole_request_are_right():
    loan = _call(LOAN, card="LB-1234")
    assert _verdict(f"{CROSSING}, and renew the loan of card LB-1234", RIGHT, loan).correct is True


def test_a_call_without_a_value_of_its_own_is_wrong():
    verdict = _verdict(CROSSING, RIGHT, _call(BOARD, village="Oslo", text="Kiel"))
    assert verdict.correct is False
    assert "sharing" in _rules(verdict)


def test_a_call_to_another_tool_than_the_words_ask_for_is_not_right():
    verdict = _verdict(CROSSING, _call(BOARD, village="Oslo", text="Kiel"))
    assert verdict.correct is not True
    assert "relevance" in _rules(verdict)


@pytest.mark.parametrize(
    "request_",
    [
        CROSSING.replace("book a ferry", "book a ferry passage"),
        "post a notice in Elm: the well is dry",
        "renew the library loan of card LB-1234",
    ],
)
def test_not_to_call_is_not_right_where_a_tool_is_asked_for_with_all_it_needs(request_):
    verdict = _verdict(request_)
    assert verdict.correct is not True
    assert _rules(verdict) == {"refusal"}


@pytest.mark.parametrize("request_", ["thank you, goodbye", "how tall is the Eiffel tower?", "sing a song about rain"])
def test_not_to_call_is_right_where_no_tool_is_asked_for(request_):
    assert _verdict(request_).correct is True


@pytest.mark.parametrize(
    "request_",
    [
        "please extend my library loan for 5 weeks",
        "book a ferry for 3 passengers",
        "book a ferry from Kiel to Oslo",
        "post a notice on the board",
    ],
)
def test_not_to_call_is_right_where_a_required_value_is_missing(request_):
    assert _verdict(request_).correct is True


def test_beside_a_call_that_stands_a_refusal_is_wrong():
    call, refusal = _verdicts(_sample(CROSSING), _label(RIGHT), REFUSAL)
    assert (call.correct, refusal.correct) == (True, False)


def test_beside_a_complete_call_one_that_lacks_an_argument_is_wrong():
    request = "renew the loan of card LB-1234 for 5 weeks"
    less, more = _label(_call(LOAN, card="LB-1234")), _label(_call(LOAN, card="LB-1234", weeks=5))
    assert [verdict.correct for verdict in _verdicts(_sample(request), less, more)] == [False, True]


def test_beside_a_refusal_that_stands_a_doubtful_call_is_wrong():
    spurious = _label(_call(BOARD, village="Eiffel", text="how tall"))
    sample = _sample("how tall is the Eiffel tower?")
    assert [verdict.correct for verdict in _verdicts(sample, REFUSAL, spurious)] == [True, False]


def test_equal_answers_get_equal_verdicts():
    one, other = _verdicts(_sample(CROSSING), _label(RIGHT), _label(RIGHT, content="here you are"))
    assert one == other
    assert one.correct is True


REQUESTS = (CROSSING, f"{CROSSING} with a car, and renew the loan of card LB-1234", "thank you", "renew my loan")
ANSWERS = (
    None,
    REFUSAL,
    _label(RIGHT),
    _label(_call(FERRY, **{**RIGHT.arguments, "vehicle": "car"}), _call(LOAN, card="LB-1234")),
    _label(_call(FERRY, from_harbour="Oslo", to_harbour="Kiel", passengers=3)),
    _label(_call(LOAN, card="LB-1234")),
    _label(_call(BOARD, village="Oslo", text="ferry")),
    _label(_call(FERRY, passengers=3)),
)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(REQUESTS), st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4), st.randoms())
def test_the_order_of_the_answers_changes_no_verdict(request_, answers, rng):
    order = list(range(len(answers)))
    rng.shuffle(order)
    sample = _sample(request_)
    verdicts = _verdicts(sample, *answers)
    assert _verdicts(sample, *(answers[k] for k in order)) == [verdicts[k] for k in order]


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(REQUESTS), st.sampled_from(ANSWERS), st.sampled_from(["single", "irrelevant", "chat", None]))
def test_label_kind_and_origin_change_no_verdict(request_, answer, kind):
    sample = _sample(request_)
    told = sample.model_copy(
        update={"label": ANSWERS[2], "kind": kind, "lineage": Lineage(teacher="t"), "source": "seed"}
    )
    assert _verdicts(told, answer) == _verdicts(sample, answer)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.sampled_from(ANSWERS))
def test_any_text_gets_a_verdict(text, answer):
    verdict = _verdicts(_sample(text), answer)[0]
    assert verdict.evidence


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(REQUESTS), st.sampled_from(ANSWERS))
def test_rubrics_stay_in_their_bounds_and_answers_that_are_right_reach_the_bar(request_, answer):
    verdict = _verdicts(_sample(request_), answer)[0]
    rubric = verdict.rubric
    assert rubric is not None
    assert 0 <= rubric.tool_relevance <= 0.4
    assert 0 <= rubric.argument_quality <= 0.4
    assert 0 <= rubric.clarity <= 0.2
    assert verdict.correct is not True or rubric.score >= 0.7


def test_the_configuration_builds_the_judge():
    assert isinstance(build(yaml.safe_load(CONFIG.read_text()), "judge"), GroundingJudge)


@pytest.mark.parametrize(("key", "value"), [("margin", -1.0), ("relevant", 9.0), ("irrelevant", -0.1)])
def test_thresholds_that_make_no_sense_are_refused(key, value):
    with pytest.raises(UserError, match=key):
        build({**yaml.safe_load(CONFIG.read_text()), key: value}, "judge")


RULE_MODULES = (answer, filling, no_call, question, reading, relevance, rest, rule, table, values)


@pytest.mark.parametrize("module", [grounding, *RULE_MODULES])
def test_the_judge_knows_neither_the_noise_nor_the_truth(module):
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    forbidden = ("noisy", "mistakes", "template", "phrases", "values", "evaluate")
    assert not [name for name in imported if name and any(part in name for part in forbidden)]
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"truth", "noise", "lineage", "source"}
