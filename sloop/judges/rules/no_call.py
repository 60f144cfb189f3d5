"""Rules about an answer without calls: is a tool asked for, with all that it needs?"""

from __future__ import annotations

from collections.abc import Iterator

from sloop.judges.rules.answer import Answer
from sloop.judges.rules.filling import Fill
from sloop.judges.rules.question import Question
from sloop.judges.rules.relevance import Profile
from sloop.judges.rules.rule import Remark


def asked(question: Question, answer: Answer) -> Iterator[Remark]:
    """A tool accounts for most of the request."""
    limits = question.limits
    for nth, (tool, found) in enumerate(_open(question, answer)):
        if found.evidence >= limits.relevant and found.share >= limits.most:
            # A value that may be missing, or words of little weight, leave room for a question back.
            sure = found.fillable is True and found.evidence >= limits.strong
            yield Remark((nth,), f"the request asks for {_told(tool, found)}", sure)


def perhaps_asked(question: Question, answer: Answer) -> Iterator[Remark]:
    """A tool accounts for some of the request."""
    limits = question.limits
    for nth, (tool, found) in enumerate(_open(question, answer)):
        if found.evidence >= limits.irrelevant and found.share >= limits.some:
            yield Remark((nth,), f"the request may ask for {_told(tool, found)}", sure=False)


def nothing_over(question: Question, answer: Answer) -> Iterator[Remark]:
    """A tool accounts for little, but there is nothing else in the request."""
    for nth, (tool, found) in enumerate(_open(question, answer)):
        if found.evidence and not found.loose:
            yield Remark((nth,), f"{_told(tool, found)} would leave nothing over", sure=False)


def _open(question: Question, answer: Answer) -> list[tuple[Profile, Fill]]:
    """The tools that a request may still ask for: those that were not called since it was made."""
    messages = question.sample.messages
    asked = max((at for at, message in enumerate(messages) if message.role == "user"), default=0)
    done = {call.name for message in messages[asked:] for call in message.tool_calls}
    return [(tool, found) for tool, found in answer.fillable if tool.name not in done]


def _told(tool: Profile, found: Fill) -> str:
    return f"{tool.name} (evidence {found.evidence:.2f}, share {found.share:.2f})"
