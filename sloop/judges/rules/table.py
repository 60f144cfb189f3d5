"""All rules in the order in which they are asked, and how an answer is inspected by them.

A finding that is sure makes an answer wrong, any other makes it doubtful. Every rule is a pure function of the question
and the answer; none sees what another found. Leaving one out of the table takes away its findings alone, and lets the
next rule of its step speak about the same subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sloop.judges.rules import no_call, rest, values
from sloop.judges.rules.answer import lay
from sloop.judges.rules.question import Question
from sloop.judges.rules.rule import Finding, Inspection, Rule, Subject
from sloop.records import Label

RULES: tuple[Rule, ...] = (
    Rule(values.unreadable, "format", "unreadable", "output", True),
    Rule(values.broken_schema, "schema", "calls", "schema", True, last=True),
    Rule(values.repeated, "repetition", "calls", "calls", True),
    Rule(values.not_in_request, "grounding", "calls", "dialogue", True),
    Rule(values.opposite, "polarity", "calls", "value", True),
    Rule(values.function_word, "boundary", "calls", "value", True),
    Rule(values.own_name, "boundary", "calls", "value", True),
    Rule(values.link_at_end, "boundary", "calls", "value", True),
    Rule(values.article_at_end, "boundary", "calls", "value", True),
    Rule(values.cut_expression, "boundary", "calls", "value", True),
    Rule(values.link_at_start, "boundary", "calls", "value", True),
    Rule(values.pronoun_at_start, "boundary", "calls", "value", False),
    Rule(values.no_content, "boundary", "calls", "value", False),
    Rule(values.swapped, "exchange", "calls", "pair of values", True),
    Rule(values.nothing_own, "sharing", "calls", "call's values", True),
    Rule(values.shared, "sharing", "calls", "call's values", False),
    Rule(rest.rival, "relevance", "calls", "call", True),
    Rule(rest.unasked, "relevance", "calls", "call", False),
    Rule(rest.hardly_asked, "relevance", "calls", "call", False),
    Rule(rest.another_tool, "coverage", "calls", "other tool", False),
    Rule(rest.value_left, "coverage", "calls", "value of the request", False),
    Rule(rest.choice_left, "coverage", "calls", "parameter", True),
    Rule(rest.boolean_left, "coverage", "calls", "parameter", True),
    Rule(rest.goes_on, "coverage", "calls", "edge", False),
    Rule(rest.begins_before, "coverage", "calls", "edge", False),
    Rule(rest.list_goes_on, "coverage", "calls", "edge", False),
    Rule(rest.linked_word, "coverage", "calls", "word", False),
    Rule(rest.lone_word, "coverage", "calls", "word", False),
    Rule(rest.described_word, "coverage", "calls", "word", False),
    Rule(no_call.asked, "refusal", "no_call", "tool", True),
    Rule(no_call.perhaps_asked, "refusal", "no_call", "tool", False),
    Rule(no_call.nothing_over, "refusal", "no_call", "tool", False),
)


def inspect(question: Question, label: Label | None, rules: Sequence[Rule]) -> Inspection:
    """Ask the rules about an answer.

    Args:
        question: see `read_question`.
        label: the answer; None is an output that could not be parsed.
        rules: `RULES`, or some of them in the same order.
    """
    answer = lay(question, label)
    found: list[Finding] = []
    for _, step in groupby((rule for rule in rules if rule.of == answer.kind), key=lambda rule: rule.step):
        heard: dict[Subject, Finding] = {}
        asked = list(step)
        for rule in asked:
            for remark in rule.ask(question, answer):
                heard.setdefault(remark.subject, Finding(rule.name, rule.topic, remark.text, remark.sure))
        found += [heard[subject] for subject in sorted(heard)]
        if heard and any(rule.last for rule in asked):
            break
    return Inspection(answer, tuple(found))
