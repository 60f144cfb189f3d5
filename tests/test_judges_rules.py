"""The table of rules: every rule once, each a pure function, and none that another one depends on."""

from __future__ import annotations

import ast
import inspect as source
import pkgutil
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.judges import rules
from sloop.judges.grounding import verdicts
from sloop.judges.rules import no_call, rest, values
from sloop.judges.rules.answer import lay
from sloop.judges.rules.question import Thresholds, read_question
from sloop.judges.rules.relevance import Weights
from sloop.judges.rules.table import RULES, inspect
from sloop.records import Label, Message, Sample, Tool, ToolCall

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "conf" / "judge" / "grounding.yaml").read_text())
WEIGHTS = Weights(CONFIG["name_weight"], CONFIG["description_weight"], CONFIG["parameter_weight"])
LIMITS = Thresholds(
    **{key: CONFIG[key] for key in ("relevant", "irrelevant", "strong", "margin", "sign", "most", "some")}
)


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
    "Book a ferry passage from one harbour to another.",
    ["from_harbour", "to_harbour"],
    from_harbour=_text("Harbour of departure."),
    to_harbour=_text("Harbour of arrival."),
    vehicle=_text("Vehicle that is taken along.", enum=["car", "camper_van"]),
    insured={"type": "boolean", "description": "True for travel insurance."},
)
BOARD = _tool(
    "post_notice",
    "Post a notice on the notice board of a village.",
    ["village", "text"],
    village=_text("Name of the village."),
    text=_text("Words of the notice."),
)
SEEDS = _tool(
    "order_seeds",
    "Order seeds of plants.",
    ["plants"],
    plants={"type": "array", "items": {"type": "string"}, "description": "Plants to order."},
)
TOOLS = (FERRY, BOARD, SEEDS)
REQUESTS = (
    "book a ferry from Kiel to Oslo",
    "book a ferry from Kiel to Oslo with a car, not insured",
    "post the well is dry on the board in Elm",
    "order seeds of tulips, lilies and dahlias",
    "book a ferry from Kiel to Oslo, and post the mill is open on the board in Elm",
    "thank you",
)
WORDS = ("Kiel", "Oslo", "Elm", "in Elm", "the", "the well is dry", "the well is dry on", "them", "tulips", "lilies")
CALLS = st.one_of(
    st.builds(
        lambda a, b, more: ToolCall(name="book_ferry", arguments={"from_harbour": a, "to_harbour": b, **more}),
        st.sampled_from(WORDS),
        st.sampled_from(WORDS),
        st.sampled_from([{}, {"insured": True}, {"insured": False}, {"vehicle": "car"}, {"deck": "A"}]),
    ),
    st.builds(
        lambda a, b: ToolCall(name="post_notice", arguments={"village": a, "text": b}),
        st.sampled_from(WORDS),
        st.sampled_from(WORDS),
    ),
    st.builds(
        lambda a: ToolCall(name="order_seeds", arguments={"plants": a}), st.lists(st.sampled_from(WORDS), min_size=1)
    ),
    st.just(ToolCall(name="sink_ferry", arguments={})),
)
ANSWERS = st.one_of(st.none(), st.lists(CALLS, max_size=3).map(lambda calls: Label(calls=tuple(calls))))


def _question(request):
    return read_question(Sample(tools=TOOLS, messages=(Message(role="user", content=request),)), WEIGHTS, LIMITS)


def _modules():
    return [f"sloop.judges.rules.{module.name}" for module in pkgutil.iter_modules(rules.__path__)]


def test_the_table_has_every_rule_once():
    written = {
        function
        for module in (no_call, rest, values)
        for name, function in vars(module).items()
        if source.isfunction(function) and not name.startswith("_") and function.__module__ == module.__name__
    }
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert len({rule.ask for rule in RULES}) == len(RULES)
    assert {rule.ask for rule in RULES} == written


def test_a_rule_says_what_it_finds():
    assert all(rule.ask.__doc__ for rule in RULES)


def test_rules_of_a_step_stand_together_and_are_about_the_same_answers():
    steps = [(rule.of, rule.step) for rule in RULES]
    assert len(set(steps)) == 1 + sum(one != other for one, other in pairwise(steps))
    assert len(set(steps)) == len({step for _, step in steps})


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(REQUESTS), ANSWERS)
def test_the_same_question_and_answer_get_the_same_remarks(request_, label):
    question, again = _question(request_), _question(request_)
    for rule in RULES:
        answer = lay(question, label)
        if answer.kind != rule.of:
            continue
        remarks = list(rule.ask(question, answer))
        assert list(rule.ask(question, answer)) == remarks
        assert list(rule.ask(again, lay(again, label))) == remarks
        assert answer == lay(question, label)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(REQUESTS), ANSWERS)
def test_only_rules_that_may_be_sure_are_sure(request_, label):
    sure = {rule.name: rule.sure for rule in RULES}
    found = inspect(_question(request_), label, RULES).findings
    assert not [finding for finding in found if finding.sure and not sure[finding.rule]]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(REQUESTS), ANSWERS, st.sampled_from(RULES))
def test_leaving_a_rule_out_changes_only_what_it_found(request_, label, left_out):
    question = _question(request_)
    found = inspect(question, label, RULES).findings
    others = inspect(question, label, [rule for rule in RULES if rule is not left_out]).findings
    mine = [finding for finding in found if finding.rule == left_out.name]
    if not mine:
        assert others == found
    assert left_out.name not in {finding.rule for finding in others}
    assert set(found) - set(mine) <= set(others)
    step = {rule.name for rule in RULES if rule.step == left_out.step}
    if not left_out.last:
        assert {finding.rule for finding in set(others) - set(found)} <= step


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(REQUESTS), st.lists(ANSWERS, min_size=1, max_size=3))
def test_without_rules_nothing_is_found(request_, answers):
    assert {verdict.correct for verdict in verdicts(_question(request_), answers[:1], ())} == {True}
    assert all(inspect(_question(request_), answer, ()).findings == () for answer in answers)


def test_where_a_call_breaks_its_schema_nothing_else_is_asked():
    broken = Label(calls=(ToolCall(name="sink_ferry", arguments={}), ToolCall(name="sink_ferry", arguments={})))
    assert {each.rule for each in inspect(_question(REQUESTS[0]), broken, RULES).findings} == {"broken_schema"}
    rest_ = [rule for rule in RULES if rule.name != "broken_schema"]
    assert "repeated" in {each.rule for each in inspect(_question(REQUESTS[0]), broken, rest_).findings}


@pytest.mark.parametrize("module", _modules())
def test_no_rule_knows_the_noise_or_the_truth(module):
    path = Path(next(iter(rules.__path__))) / f"{module.rsplit('.', 1)[1]}.py"
    imported = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name and ("simulation" in name or "measures" in name)]
