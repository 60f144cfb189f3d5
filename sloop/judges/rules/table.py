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

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("unreadable", "format", "unreadable", "output", values.unreadable, True, "the output could not be parsed"),
    Rule("broken_schema", "schema", "calls", "schema", values.broken_schema, True,
         "a call breaks its tool's schema or names a tool that is not offered; nothing else is asked then", last=True),
    Rule("repeated", "repetition", "calls", "calls", values.repeated, True, "the same call twice"),
    Rule("not_in_request", "grounding", "calls", "dialogue", values.not_in_request, True,
         "an argument value does not stand in the dialogue"),
    Rule("opposite", "polarity", "calls", "value", values.opposite, True,
         "a boolean against the denial, or the lack of one, around its name"),
    Rule("function_word", "boundary", "calls", "value", values.function_word, True, "a text is a lone function word"),
    Rule("own_name", "boundary", "calls", "value", values.own_name, True, "a text is its parameter's own name"),
    Rule("link_at_end", "boundary", "calls", "value", values.link_at_end, True,
         "a text ends with a link that belongs to the word after it"),
    Rule("article_at_end", "boundary", "calls", "value", values.article_at_end, True,
         "a text ends with an article that belongs to the word after it"),
    Rule("cut_expression", "boundary", "calls", "value", values.cut_expression, True,
         "a text begins or ends with an operator without operand"),
    Rule("link_at_start", "boundary", "calls", "value", values.link_at_start, True,
         "a text begins with a link that belongs to the words before it (doubtful if it is long)"),
    Rule("pronoun_at_start", "boundary", "calls", "value", values.pronoun_at_start, False,
         "a text begins with an object pronoun"),
    Rule("no_content", "boundary", "calls", "value", values.no_content, False, "a text is function words alone"),
    Rule("swapped", "exchange", "calls", "pair of values", values.swapped, True,
         "two values have more signs around them for each other's parameters"),
    Rule("nothing_own", "sharing", "calls", "call's values", values.nothing_own, True,
         "all words of a call's values stand in other calls' values"),
    Rule("shared", "sharing", "calls", "call's values", values.shared, False, "some of them do"),
    Rule("rival", "relevance", "calls", "call", rest.rival, True,
         "the words outside all values speak for another tool by a margin (sure if nothing speaks for the called one)"),
    Rule("unasked", "relevance", "calls", "call", rest.unasked, False, "none of them speaks for the called tool"),
    Rule("hardly_asked", "relevance", "calls", "call", rest.hardly_asked, False,
         "little speaks for the called tool, and nothing accounts for some words"),
    Rule("another_tool", "coverage", "calls", "other tool", rest.another_tool, False,
         "words for another tool beside unused values"),
    Rule("value_left", "coverage", "calls", "value of the request", rest.value_left, False,
         "a number, date, time, code, name or quotation stands in no argument"),
    Rule("choice_left", "coverage", "calls", "parameter", rest.choice_left, True,
         "a value of an unused enum is said (doubtful if the tool's other words say it, too)"),
    Rule("boolean_left", "coverage", "calls", "parameter", rest.boolean_left, True,
         "the name of an unused boolean is said (doubtful if the tool's other words say it, too)"),
    Rule("goes_on", "coverage", "calls", "edge", rest.goes_on, False, "an unknown word or a pronoun after a text"),
    Rule("begins_before", "coverage", "calls", "edge", rest.begins_before, False,
         "an unknown word after a link, or a subject, before a text"),
    Rule("list_goes_on", "coverage", "calls", "edge", rest.list_goes_on, False, "an unknown word next in a list"),
    Rule("linked_word", "coverage", "calls", "word", rest.linked_word, False, "an unknown word after a link"),
    Rule("lone_word", "coverage", "calls", "word", rest.lone_word, False, "an unknown word alone between marks"),
    Rule("described_word", "coverage", "calls", "word", rest.described_word, False,
         "an unknown word after an article, with a free text unfilled"),
    Rule("asked", "refusal", "no_call", "tool", no_call.asked, True,
         "a tool accounts for most of the request and can be filled (sure where the evidence is strong)"),
    Rule("perhaps_asked", "refusal", "no_call", "tool", no_call.perhaps_asked, False,
         "a tool accounts for some of the request and may be filled"),
    Rule("nothing_over", "refusal", "no_call", "tool", no_call.nothing_over, False,
         "a tool would leave nothing of the request over"),
)
# fmt: on


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
