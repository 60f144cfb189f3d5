"""What answers that read no question get, and a headline that none of them wins.

| answer | what it is |
| --- | --- |
| always_refuse | no call, whatever is asked |
| most_frequent_tool | of the tools on offer the one that labels call most often, with its most frequent arguments |

Frequent is what one question in a hundred wants, and two at least. Where each has a tool of its own, as in the simple
categories of BFCL, the label itself would be the answer (and get 91% of them, or 24% where two are enough); there it is
the first tool on offer, without arguments.

They stand beside every score of a benchmark, on the same samples and by the benchmark's own grader, under
``baseline/<answer>/<metric>``. A metric that one of them wins says little of a student: a set of which a third wants
no call gives a third to whoever always refuses, and a leaderboard's irrelevance column gives all
(ShishirPatil/gorilla#443).

``harmonic_accuracy`` is the harmonic mean of the accuracy on samples whose label calls and of that on samples whose
label does not. Whoever always refuses, and whoever always calls, has 0 on one of the two and so 0 in all, whatever the
share of either kind is; the arithmetic mean (balanced accuracy) would give them a half. Open-set recognition, where
rejecting everything is the same temptation, settled on it for that reason (HOS, Bucci et al. 2020, arXiv:2007.12360;
H of generalised zero-shot learning, Xian et al. 2017, arXiv:1707.00600). It is not measured where the labels are all of
one kind.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sloop.measures.stats import harmonic
from sloop.records import Grade, Prediction, Sample, Score, ToolCall, canonical_json, digest
from sloop.rollout import Episode, replay

HEADLINE = "harmonic_accuracy"
_NAMED = re.compile(r"(?P<before>eval/[^/]+/)?baseline/(?P<answer>[^/]+)/(?P<metric>.+)")


@dataclass
class Questions:
    """The questions of a benchmark, and the answers that do not read them."""

    called: Counter[str] = field(default_factory=Counter)
    """How many labels call each tool."""
    arguments: dict[str, Counter[str]] = field(default_factory=dict)
    """By tool, how many labels give it which."""
    prompts: list[str] = field(default_factory=list)
    """Digest of the messages of each."""
    tools: set[str] = field(default_factory=set)
    """Digests of the tools on offer."""

    def always_refuse(self, sample: Sample) -> Prediction:
        """No call; what the sample holds is counted."""
        self.prompts.append(digest([message.to_openai() for message in sample.messages]))
        self.tools.update(digest(tool.to_openai()) for tool in sample.tools)
        wanted = sample.label.calls if sample.label else ()
        self.called.update(list(dict.fromkeys(call.name for call in wanted)))
        for name, arguments in {(call.name, canonical_json(call.arguments)): None for call in wanted}:
            self.arguments.setdefault(name, Counter())[arguments] += 1
        return Prediction(sample_id=sample.id)

    def most_frequent_tool(self, sample: Sample) -> Prediction:
        """The tool on offer that labels call most often, once all are counted; else the first on offer."""
        names = [tool.name for tool in sample.tools] or list(self.called)
        name = max(names, key=lambda name: self._frequent(self.called[name]))
        arguments, number = max(self.arguments.get(name, {"": 0}).items(), key=lambda pair: pair[1])
        calls = (ToolCall(name=name, arguments=json.loads(arguments) if self._frequent(number) else {}),)
        return Prediction(sample_id=sample.id, calls=calls)

    def _frequent(self, number: int) -> int:
        """A number of questions; of too few it says nothing of others."""
        return number if number >= max(2, len(self.prompts) / 100) else 0

    def identity(self) -> dict[str, str]:
        """What was asked, by digests."""
        return {"prompt": digest(self.prompts)[:16], "tools": digest(sorted(self.tools))[:16]}


def constant_grades(episodes: Callable[[], Iterable[Episode]]) -> tuple[Questions, dict[str, list[Grade]]]:
    """The questions of a benchmark, and what the answers that read none of them are graded, by their names.

    Args:
        episodes: fresh ones, all of the benchmark, as often as asked.
    """
    asked = Questions()
    found = {"always_refuse": _played(episodes(), asked.always_refuse)}
    if asked.called:  # else no tool is the most frequent one
        found["most_frequent_tool"] = _played(episodes(), asked.most_frequent_tool)
    return asked, found


def _played(episodes: Iterable[Episode], answer: Callable[[Sample], Prediction]) -> list[Grade]:
    graded: list[Grade] = []
    for episode in episodes:
        replay(episode, answer)
        graded += episode.grade()
    return graded


def headline_scores(grades: Iterable[Grade]) -> list[Score]:
    """``harmonic_accuracy`` overall, and for each slice that holds samples of both kinds."""
    graded = [grade for grade in grades if grade.error != "model"]
    kinds: dict[str, set[bool]] = {}
    for grade in graded:
        kinds.setdefault(grade.slice, set()).add(grade.calls_expected)
    mixed = sorted(part for part, found in kinds.items() if part and len(found) == 2)
    return [
        harmonic(
            HEADLINE, [(g.cluster, g.calls_expected, bool(g.correct)) for g in graded if part in ("", g.slice)], part
        )
        for part in ("", *mixed)
    ]


def named(answer: str, score: Score) -> Score:
    """A score of a constant answer under its name."""
    return score.model_copy(update={"name": f"baseline/{answer}/{score.name}"})


def constant_of(name: str) -> tuple[str, str] | None:
    """Of the name of a constant answer's score: which answer it is, and the name of the student's; None for any other.

    ``eval/dev/baseline/always_refuse/call_accuracy`` is ``always_refuse`` beside ``eval/dev/call_accuracy``.
    """
    found = _NAMED.fullmatch(name)
    return (found["answer"], (found["before"] or "") + found["metric"]) if found else None


def said(answer: str) -> str:
    """The name of a constant answer, in words."""
    return answer.replace("_", " ")
