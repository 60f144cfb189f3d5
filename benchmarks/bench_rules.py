"""The rule judge: how often it is right on home-made sets and on text written by nobody here, and what each rule adds.

usage: python benchmarks/bench_rules.py [--tools FILE] [--bfcl FOLDER] [--toolalpaca FOLDER --toolalpaca-tools FILE]
                                        [--run FOLDER ...] [--draws 2] [--most 1000] [--markdown]

Each answer is judged alone, and each wrong one beside the right one. A rule is left out of the table and everything is
judged again; where a rule was not heard, leaving it out changes nothing, and that is not judged again. The environment
variables SLOOP_TOOLS, SLOOP_BFCL, SLOOP_TOOLALPACA and SLOOP_TOOLALPACA_TOOLS stand for the arguments; a set whose
data are not named is left out, and says so.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from judge_cases import CONF, Case, cases, from_tools, home_made, of_bfcl, of_run, of_toolalpaca

from sloop.judges.grounding import verdicts
from sloop.judges.rules.question import Question, Thresholds, read_question
from sloop.judges.rules.relevance import Weights
from sloop.judges.rules.rule import Rule
from sloop.judges.rules.table import RULES, inspect
from sloop.measures.stats import rate
from sloop.records import Label, Sample, Score

SHARED = """\
Writer and judge share one table of spoken forms (sloop/calls/surface.py): in the home-made sets every value is written
in a form that the judge accepts, so that its figures there are an upper bound. BFCL and ToolAlpaca share no table with
it; there a right answer may say a value as no form of ours does, and the judge then calls it wrong."""
LEFT_OUT = """\
Each rule left out: answers, judged alone, of which it says something (in a run: questions), verdicts that change
without it, alone and side by side, and the change of precision, recall and undecided in points."""
Words = tuple[bool | None, ...]
"""Verdicts on some answers: right, wrong, or None."""


@dataclass(frozen=True)
class Asked:
    """Answers to one question that are judged side by side, and which of them are right (None: not known)."""

    question: Question
    answers: tuple[Label | None, ...]
    right: tuple[bool | None, ...]
    group: str


@dataclass
class Judged:
    """A set, judged by all rules and by all but each."""

    name: str
    asked: list[Asked]
    full: list[Words] = field(default_factory=list)
    heard: Counter[str] = field(default_factory=Counter)
    """By rule: answers, judged alone, of which it says something; in a run, questions."""
    blamed: Counter[str] = field(default_factory=Counter)
    """By rule: right answers, judged alone, that it calls wrong."""
    without: dict[str, dict[int, Words]] = field(default_factory=dict)
    """By rule left out: the verdicts that change, by place in ``asked``."""

    def words(self, rule: str | None) -> list[Words]:
        """Verdicts without a rule; None: with all."""
        changed = self.without.get(rule, {}) if rule else {}
        return [changed.get(k, words) for k, words in enumerate(self.full)]


def read(sample: Sample) -> Question:
    """A question as the judge of ``conf/judge/grounding.yaml`` reads it."""
    given = yaml.safe_load((CONF / "judge" / "grounding.yaml").read_text())
    weights = Weights(given["name_weight"], given["description_weight"], given["parameter_weight"])
    names = ("relevant", "irrelevant", "strong", "margin", "sign", "most", "some")
    return read_question(sample, weights, Thresholds(**{name: given[name] for name in names}))


def asked_of(given: Iterable[Case]) -> list[Asked]:
    """Each answer alone, and each wrong one beside the right one."""
    asked: list[Asked] = []
    last = ""
    for case in given:
        group = case.sample.group or case.sample.id
        question = asked[-1].question if case.sample.id == last else read(case.sample)
        if case.sample.id != last:
            asked.append(Asked(question, (case.right,), (True,), group))
        last = case.sample.id
        if case.wrong is not None:
            asked.append(Asked(question, (case.wrong,), (False,), group))
            asked.append(Asked(question, (case.right, case.wrong), (True, False), group))
    return asked


def judge(name: str, asked: list[Asked], rules: Sequence[Rule]) -> Judged:
    """Judge a set by all rules, and again without each rule where it was heard."""
    made = Judged(name, asked, without={rule.name: {} for rule in rules})
    for place, each in enumerate(asked):
        findings = [inspect(each.question, answer, rules).findings for answer in each.answers]
        heard = {finding.rule for found in findings for finding in found}
        made.full.append(_words(each, rules))
        if len(each.answers) == 1 or None in each.right:
            made.heard.update(heard)
        if each.right == (True,):
            made.blamed.update({finding.rule for found in findings for finding in found if finding.sure})
        for rule in heard:
            words = _words(each, [other for other in rules if other.name != rule])
            if words != made.full[-1]:
                made.without[rule][place] = words
    return made


def _words(asked: Asked, rules: Sequence[Rule]) -> Words:
    return tuple(verdict.correct for verdict in verdicts(asked.question, asked.answers, rules))


# --- figures ----------------------------------------------------------------------------------------------------------

Counts = Callable[[Asked, Words], tuple[int, int]]
"""Of one question: (how many, of how many)."""


def _alone(right: bool, word: bool | None) -> Counts:
    """Right (or wrong) answers, judged alone, that are called so."""
    return lambda asked, words: (int(words == (word,)), int(asked.right == (right,)))


def _precision(asked: Asked, words: Words) -> tuple[int, int]:
    called = len(words) == 1 and words[0] is False
    return int(called and asked.right == (False,)), int(called and asked.right != (None,))


def _undecided(asked: Asked, words: Words) -> tuple[int, int]:
    return int(words == (None,)), int(len(words) == 1)


def _pair(*words_wanted: Words) -> Counts:
    return lambda asked, words: (int(words in words_wanted), int(asked.right == (True, False)))


FIGURES: dict[str, Counts] = {
    "right alone, called right": _alone(True, True),
    "right alone, called wrong": _alone(True, False),
    "right alone, undecided": _alone(True, None),
    "wrong alone, called right": _alone(False, True),
    "wrong alone, called wrong (recall)": _alone(False, False),
    "wrong alone, undecided": _alone(False, None),
    "called wrong alone, is wrong (precision)": _precision,
    "side by side, the wrong one named": _pair((True, False)),
    "side by side, the right one named as wrong": _pair((False, True)),
}
ABLATED = {"precision": _precision, "recall": _alone(False, False), "undecided": _undecided}


def figure(name: str, made: Judged, counts: Counts, rule: str | None = None) -> Score:
    """A share with its 95% interval; questions of one group (an API, a dialogue) are alike."""
    rows = zip(made.asked, made.words(rule), strict=True)
    return rate(name, ((asked.group, *counts(asked, words)) for asked, words in rows))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> None:
    if markdown:
        for row in (head, ["---"] * len(head), *rows):
            print("| " + " | ".join(row) + " |")
        return
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def figures(sets: Sequence[Judged], markdown: bool) -> None:
    """How often the judge is right, by set."""
    rows = []
    for name, counts in FIGURES.items():
        row = [name]
        for made in sets:
            score = figure(name, made, counts)
            value = "none" if score.value is None else f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
            row.append(f"{value}, n={score.n}")
        rows.append(row)
    _table(["", *(made.name for made in sets)], rows, markdown)


def ablation(sets: Sequence[Judged], rules: Sequence[Rule], markdown: bool) -> None:
    """What leaving each rule out changes, by set: verdicts, and points of precision, recall and undecided."""
    rows = []
    for rule in rules:
        row = [f"{rule.name} ({rule.topic})"]
        for made in sets:
            changed = len(made.without[rule.name])
            cell = f"{made.heard[rule.name]} heard, {changed} changed"
            if made.name.startswith("run"):  # nothing says here which answers are right
                row.append(cell if made.heard[rule.name] or changed else "")
                continue
            shifts = []
            for name, counts in ABLATED.items():
                before, after = figure(name, made, counts).value, figure(name, made, counts, rule.name).value
                known = before is not None and after is not None
                shifts.append(f"{100 * (after - before):+.1f}" if known else "none")
            row.append(cell + (": " + " ".join(shifts) if changed else "") if made.heard[rule.name] or changed else "")
        rows.append(row)
    _table(["left out", *(made.name for made in sets)], rows, markdown)


# --- sets -------------------------------------------------------------------------------------------------------------


def sets_of(given: argparse.Namespace) -> list[tuple[str, list[Asked]]]:
    """The sets whose data are named."""
    sets = [("dev", asked_of(cases(home_made(), draws=given.draws)))]
    if given.tools:
        sets.append(("apizoo", asked_of(cases(from_tools(Path(given.tools), given.most), draws=given.draws))))
    else:
        print("apizoo: left out, no tools named (--tools or SLOOP_TOOLS)")
    if given.bfcl:
        samples, is_wrong = of_bfcl(Path(given.bfcl), given.most)
        sets.append(("bfcl", asked_of(cases(samples, draws=given.draws, is_wrong=is_wrong))))
    else:
        print("bfcl: left out, no folder named (--bfcl or SLOOP_BFCL)")
    if given.toolalpaca and given.toolalpaca_tools:
        golden = of_toolalpaca(Path(given.toolalpaca), Path(given.toolalpaca_tools), given.most)
        sets.append(("toolalpaca", asked_of(cases(golden, draws=given.draws))))
    else:
        print("toolalpaca: left out, no folder and tools named (--toolalpaca and --toolalpaca-tools, or "
              "SLOOP_TOOLALPACA and SLOOP_TOOLALPACA_TOOLS)")  # fmt: skip
    for folder in given.run:
        found = [(read(sample), tuple(answers), sample) for sample, answers in of_run(Path(folder))]
        asked = [Asked(question, answers, (None,) * len(answers), sample.group) for question, answers, sample in found]
        sets.append((f"run {Path(folder).name}", asked))
    return sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tools", "bfcl", "toolalpaca", "toolalpaca-tools"):
        parser.add_argument(f"--{name}", default=os.environ.get(f"SLOOP_{name.upper().replace('-', '_')}"))
    parser.add_argument("--run", action="append", default=[], help="folder of a finished run, judged again")
    parser.add_argument("--draws", type=int, default=2, help="mistakes drawn for each sample")
    parser.add_argument("--most", type=int, default=1000, help="samples of a set at most, chosen by hash")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    began = time.process_time()
    judged = [judge(name, asked, RULES) for name, asked in sets_of(given)]
    known = [made for made in judged if not made.name.startswith("run")]
    print(f"\n{SHARED}\n\nShares with 95% intervals; {given.draws} mistakes drawn for each right answer.\n")
    figures(known, given.markdown)
    print("\nRight answers that are called wrong alone, by rule:")
    for made in known:
        print(f"  {made.name}: {', '.join(f'{rule} {count}' for rule, count in made.blamed.most_common()) or 'none'}")
    print(f"\n{LEFT_OUT}\n")
    ablation(judged, RULES, given.markdown)
    print(f"\n{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
