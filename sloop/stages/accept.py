"""May this sample enter a dataset? Local rules, then what needs a memory, then a judge's verdict.

Which rules apply is the caller's choice: data of a fallible annotator must keep its mistakes (they are what the loop is
there to find), so it is asked for ``forbidden``, ``duplicate`` and ``near_duplicate`` alone; an expansion is asked
for everything.

Every refusal is a `Rejected` whose ``reason`` is a `Reason`, so that refusals can be counted.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from typing import Literal, get_args

from sloop.calls.grounding import ungrounded
from sloop.calls.schema import call_errors, validator
from sloop.calls.wording import request_key, request_tokens
from sloop.environments.checks import can_run
from sloop.records import Judgement, Label, Record, Rejected, Sample, Tool, Truth, UserError, Verdict, canonical_json
from sloop.stages.evidence import MODULES as EVIDENCE
from sloop.stages.evidence import weigh

MODULES = (
    "sloop.calls.grounding",
    "sloop.calls.schema",
    "sloop.calls.surface",
    "sloop.calls.wording",
    "sloop.records.base",
    "sloop.records.judging",
    "sloop.records.samples",
    "sloop.stages.accept",
    *EVIDENCE,
)
"""The modules whose code can change what is let in."""

Rule = Literal["duplicate", "forbidden", "tools", "membership", "calls", "near_duplicate", "execution", "grounding"]
RULES: tuple[Rule, ...] = get_args(Rule)
"""In the order in which they are asked, cheapest first."""

Reason = Literal[
    "duplicate",
    "in_benchmark",
    "invalid_tools",
    "not_offered",
    "invalid_call",
    "near_duplicate",
    "execution_failed",
    "ungrounded",
    "judge_abstained",
    "judged_wrong",
    "low_score",
    "not_needed",
]

TRUTH, REJECTED, JUDGEMENTS = (f"{name}.jsonl" for name in ("truth", "rejected", "judgements"))
"""Beside the samples of every dataset that is made."""

SHINGLE = 3
_TOOL_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


def check(sample: Sample, rules: Collection[Rule]) -> Rejected | None:
    """Apply those of ``rules`` that look at one sample alone: ``tools``, ``membership``, ``calls``, ``execution``,
    ``grounding``.

    tools: names are unique, at most 64 letters, digits, ``_``, ``.`` or ``-``; parameters are a valid JSON Schema
    (draft 2020-12) of type object. membership: the label calls offered tools only. calls: the label's calls satisfy
    their tools' schemas. execution: in an environment of ours, they run without an error in the state of the decision.
    grounding: every argument value stands in the dialogue (`ungrounded`).
    A sample without label passes all but the first.
    """
    calls = sample.label.calls if sample.label else ()
    if "tools" in rules:
        names = [tool.name for tool in sample.tools]
        if len(set(names)) < len(names):
            return _reject(sample, "invalid_tools", "two tools of one name")
        for tool in sample.tools:
            if detail := _tool_error(tool):
                return _reject(sample, "invalid_tools", f"{tool.name}: {detail}")
    for call in calls:
        if "membership" in rules and sample.tool(call.name) is None:
            return _reject(sample, "not_offered", call.name)
        if "calls" in rules and (errors := call_errors(call, sample.tools)):
            return _reject(sample, "invalid_call", f"{call.name}: {errors[0]}")
    if "execution" in rules and can_run(sample) and (found := weigh(sample, sample.label or Label())).is_wrong:
        return _reject(sample, "execution_failed" if found.schema_valid else "invalid_call", found.told[0])
    if "grounding" in rules and sample.label and (loose := ungrounded(sample, sample.label)):
        return _reject(sample, "ungrounded", loose[0])
    return None


class Admission:
    """The door of one dataset: remembers what it has let in, so ask it in a fixed order (a fold), never concurrently.

    Two samples are near-duplicates when they offer the same set of tools, have the same run of message roles, and
    their texts (`request_tokens` of all messages) either are equal or share at least ``similarity`` of their
    three-word shingles (Jaccard). A contrast pair offers other tools and so survives; so do two short requests that
    differ in one value.

    Args:
        rules: the rules to apply.
        forbidden: `request_key` of every request that must stay out of training (the benchmark's).
        similarity: 0 to 1; 1 = only texts with the same shingles are near-duplicates.
    """

    def __init__(self, *, rules: Collection[Rule], forbidden: Container[str], similarity: float):
        self.rules = frozenset(rules)
        self.forbidden = forbidden
        self.similarity = similarity
        # A temporary database of sqlite's own, which keeps 2 MB in memory and the rest on disk.
        self._ids = sqlite3.connect("", isolation_level=None)
        self._ids.execute("PRAGMA journal_mode = OFF")
        self._ids.execute("CREATE TABLE admitted (id BLOB PRIMARY KEY) WITHOUT ROWID")
        self._shingles: dict[tuple[str, str], list[frozenset[str]]] = defaultdict(list)

    def admit(self, sample: Sample) -> Rejected | None:
        """Let the sample in and remember it, or say why not (then nothing is remembered)."""
        if "duplicate" in self.rules and self._holds(sample):
            return _reject(sample, "duplicate", sample.id)
        if "forbidden" in self.rules and request_key(sample.request) in self.forbidden:
            return _reject(sample, "in_benchmark", sample.request)
        if rejected := check(sample, self.rules):
            return rejected
        if "near_duplicate" in self.rules:
            bucket = _bucket(sample)
            shingles = _shingles(sample)
            keys = [(bucket, shingle) for shingle in self._prefix(shingles)]
            for key in keys:
                for seen in self._shingles[key]:
                    if len(seen & shingles) >= self.similarity * len(seen | shingles):
                        return _reject(sample, "near_duplicate", sample.request)
        self.remember(sample)
        return None

    def remember(self, sample: Sample) -> None:
        """Count the sample as let in, whatever the rules say of it: data that is there already."""
        self._ids.execute("INSERT OR IGNORE INTO admitted VALUES (?)", (bytes.fromhex(sample.id),))
        if "near_duplicate" in self.rules:
            bucket = _bucket(sample)
            shingles = _shingles(sample)
            for shingle in self._prefix(shingles):
                self._shingles[bucket, shingle].append(shingles)

    def _holds(self, sample: Sample) -> bool:
        found = self._ids.execute("SELECT 1 FROM admitted WHERE id = ?", (bytes.fromhex(sample.id),))
        return found.fetchone() is not None

    def _prefix(self, shingles: frozenset[str]) -> list[str]:
        """Shingles of which two sets with Jaccard >= similarity share at least one (prefix filtering).

        Sorted as text, numbers come first: they tell requests apart best, so few sets meet in one entry.
        """
        return sorted(shingles)[: len(shingles) - math.ceil(self.similarity * len(shingles) - 1e-9) + 1]


class Door:
    """Lets what units gave into the files of a dataset, in the units' order, and counts what becomes of it."""

    def __init__(self, admission: Admission, most: int) -> None:
        """Take the rules, and how many samples there is room for."""
        self._admission = admission
        self._most = most
        self.kinds: Counter[str] = Counter()
        """Samples that were let in, by kind."""
        self.rejected: Counter[str] = Counter()
        """By reason."""

    def take(
        self,
        records: Sequence[Record],
        append: Mapping[str, Callable[[Record], None]],
        file_of: Callable[[Sample], str],
    ) -> None:
        """What one unit gave, to its files; ``file_of`` says to which one a sample goes that is let in."""
        verdicts = {record.sample_id: record.verdict for record in records if isinstance(record, Judgement)}
        admitted: set[str] = set()
        for record in records:
            refused = record if isinstance(record, Rejected) else None
            if isinstance(record, Judgement):
                append[JUDGEMENTS](record)
            elif isinstance(record, Sample):
                refused = self.refusal(record, verdicts.get(record.id))
                if refused is None:
                    append[file_of(record)](record)
                    admitted.add(record.id)
            elif isinstance(record, Truth) and record.sample_id in admitted:
                append[TRUTH](record)
            if refused is not None:
                append[REJECTED](refused)
                self.rejected[refused.reason] += 1

    def refusal(self, sample: Sample, verdict: Verdict | None) -> Rejected | None:
        """Why a sample stays out: there is room for no more, its verdict where it got one, or the rules. None: it is
        let in and remembered.
        """
        if self.kinds.total() >= self._most:
            return _reject(sample, "not_needed", f"{self._most} are there")
        refused = (check_verdict(sample, verdict) if verdict else None) or self._admission.admit(sample)
        if refused is None:
            self.kinds[str(sample.kind)] += 1
        return refused


def accepted_by(verdict: Verdict, threshold: float = 0.7) -> bool:
    """True where the judge says right and the rubric, where there is one, reaches the threshold (ToolsGen: 0.7)."""
    return verdict.correct is True and (verdict.rubric is None or verdict.rubric.score >= threshold)


def check_verdict(sample: Sample, verdict: Verdict, threshold: float = 0.7) -> Rejected | None:
    """`accepted_by` with the reason for the refusal; the detail is the evidence."""
    if accepted_by(verdict, threshold):
        return None
    reason: Reason = "low_score"
    if verdict.schema_valid is False:
        reason = "invalid_call"
    elif verdict.execution is False:
        reason = "execution_failed"
    elif verdict.correct is None:
        reason = "judge_abstained"
    elif verdict.correct is False:
        reason = "judged_wrong"
    return _reject(sample, reason, "; ".join(verdict.evidence))


def _reject(sample: Sample, reason: Reason, detail: str) -> Rejected:
    return Rejected(key=sample.lineage.unit or sample.id, reason=reason, detail=detail)


def _tool_error(tool: Tool) -> str:
    if not _TOOL_NAME.fullmatch(tool.name):
        return "not a tool name"
    try:
        validator(tool)
    except UserError as error:
        return str(error)
    return ""


def _bucket(sample: Sample) -> str:
    names = sorted(tool.name for tool in sample.tools)
    return canonical_json([names, [message.role for message in sample.messages]])


def _shingles(sample: Sample) -> frozenset[str]:
    words: list[str] = []
    for message in sample.messages:
        words += request_tokens(message.content)
        words += [token for call in message.tool_calls for token in request_tokens(canonical_json(call.to_openai()))]
    count = max(1, len(words) - SHINGLE + 1)
    return frozenset(" ".join(words[at : at + SHINGLE]) for at in range(count))
