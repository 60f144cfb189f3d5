"""Dialogues of any form (`sloop.intake.forms`) read as samples.

Every assistant message is a decision, but one that its author took out of training. Calls that stand in its text are
read as calls, nulls that a table put into arguments are dropped, and a label is checked against the tools of its line:
one that calls what is not offered, misses a schema or opens a call that cannot be read makes no sample. What is left
out is counted under one of `LEFT_OUT`, with the lines. A system message that lists the tools is dropped as well, where
a line offers no others: students are shown tools by their own template. Other keys say nothing that a sample holds.

A file is converted once, into a file of samples in a folder of its own, under a name that stands for its bytes, for how
it was read, and for the code that read it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import Field

from sloop.calls.schema import call_errors
from sloop.engine.identity import code_digest
from sloop.intake.forms import dialogue_of, form_of, unknown
from sloop.intake.padding import unpadded, without_nulls
from sloop.intake.sources import Source
from sloop.intake.text import tools_in
from sloop.intake.turns import NotTextError, Turn, read_calls, turns_of
from sloop.records import Dialogue, Lineage, Record, Sample, Tool, UserError, decisions, digest
from sloop.store.files import first_fault, is_file, read_json, write_json, write_rows
from sloop.store.rows import Dataset, from_datasets
from sloop.tools.definitions import read_tools

MODULES = (
    "sloop.calls.formats",
    "sloop.calls.schema",
    "sloop.intake",
    "sloop.records.base",
    "sloop.records.samples",
    "sloop.store.rows",
    "sloop.tools.definitions",
    "sloop.tools.dialects",
    "sloop.tools.operations",
)
"""What a conversion depends on."""

Form = Literal[
    "auto",
    "sloop",
    "openai",
    "sharegpt",
    "hermes",
    "glaive",
    "xlam",
    "toolace",
    "toucan",
    "when2call",
    "apigen_mt",
    "langchain",
    "toolbench",
    "trl",
    "distilabel",
]
"""Of a file; ``auto``: of its first line that tells."""
Decisions = Literal["all", "last"]

LEFT_OUT = {
    "malformed": "lines that are no dialogue",
    "no_decision": "lines without an assistant message",
    "not_text": "lines with content that is not text",
    "undesired": "lines whose answer is marked as a bad one",
    "weight_0": "assistant messages of weight 0",
    "no_request": "assistant messages before any user message",
    "empty": "assistant messages that say and call nothing",
    "unread_call": "assistant messages that open a call which cannot be read",
    "not_offered": "assistant messages that call a tool which their line does not offer",
    "off_schema": "assistant messages with a call that misses its tool's schema",
    "repeated": "the same tools, messages and calls as before",
    "contradicted": "the same tools and messages as before with other calls",
}
"""Why something of a file makes no sample."""
MEANT = frozenset({"undesired", "weight_0", "no_request", "repeated"})
"""Of these, what a sound file has as well: no share of it is too much."""
DISLIKED = ("label", "kto_tag")
"""Keys that are false where a line's answer is a bad one (TRL, LLaMA-Factory)."""
NAMED = 5
"""Lines that are named of those left out for one reason."""


class Intake(Record):
    """How dialogues were read."""

    path: str
    sha256: str
    """Of the file as it was given."""
    form: str = "openai"
    lines: int
    samples: int
    silent: int
    """Lines that made no sample."""
    left_out: dict[str, int]
    """By reason (`LEFT_OUT`)."""
    places: dict[str, list[int]] = Field(default_factory=dict)
    """The first lines (`NAMED`) of each reason."""
    example: dict[str, str] = Field(default_factory=dict)
    """What is wrong in the first of these."""
    padded: int = 0
    """Calls whose nulls were dropped."""
    tool_prompts: int = 0
    """System messages that were dropped as they list the tools."""

    @property
    def share(self) -> float:
        """Of the decisions, what was left out and not meant to be."""
        faults = sum(count for reason, count in self.left_out.items() if reason not in MEANT)
        return faults / (faults + self.samples) if faults else 0.0

    def note(self) -> str:
        """In a sentence."""
        silent = f", {self.silent} of which made none" if self.silent else ""
        changed = [
            f"; {count} {what}"
            for count, what in (
                (self.padded, "calls without nulls that their schema has no place for"),
                (self.tool_prompts, "system messages dropped, as they list the tools"),
            )
            if count
        ]
        return (
            f"{self.path}: {self.samples} samples of {self.lines} lines{silent}, read as {self.form}; left out: "
            f"{self._told() or 'nothing'}{''.join(changed)}"
        )

    def _told(self) -> str:
        return "; ".join(f"{count} {LEFT_OUT[reason]}{self._where(reason)}" for reason, count in self.left_out.items())

    def _where(self, reason: str) -> str:
        places = self.places.get(reason, [])
        more = ", ..." if len(places) == NAMED else ""
        return f" (line{'s' * (len(places) > 1)} {', '.join(map(str, places))}{more})" if places else ""

    def check(self, most: float, section: str = "") -> None:
        """Pass what is fit for use.

        Args:
            most: share of the decisions that may be left out.
            section: of the configuration in which that stands, with a dot.

        Raises:
            UserError: nothing is left, or more than ``most`` of it is left out; names the first fault.
        """
        faults = [reason for reason in LEFT_OUT if reason in self.example and reason not in MEANT]
        worst = min(faults, key=lambda reason: self.places[reason][0], default="no_decision")
        if not self.samples:
            first = f"Line {self.places[worst][0]}: {self.example[worst]} " if faults else ""
            raise UserError(f"{self.note()}. Nothing is left. {first}Give lines that end in an assistant message.")
        if self.share > most:
            raise UserError(
                f"{self.path}, line {self.places[worst][0]}: {self.example[worst]} Read as {self.form}, "
                f"{self.share:.1%} of its decisions are left out, more than {section}max_left_out={most:g} allows: "
                f"{self._told()}. Correct the file, name its form ({section}form=...), or take the rest: "
                f"{section}max_left_out=1"
            )


class Converted(Dataset):
    """A dataset that was made of dialogues."""

    def __init__(self, path: Path, intake: Intake) -> None:
        """Open the samples; ``intake`` says what they were made of."""
        super().__init__(path)
        self.intake = intake


def open_dataset(
    given: str | Path | Source,
    *,
    form: Form,
    chosen: Decisions,
    cache: Path,
    max_left_out: float = 1.0,
    section: str = "",
) -> Dataset:
    """A dataset in any form.

    Args:
        given: a file, a folder or a set of `datasets` (`sloop.intake.sources`).
        form: of its rows.
        chosen: of a dialogue's assistant messages, all or the last that is a decision.
        cache: folder for the samples of dialogues.
        max_left_out: share of the decisions that may be left out.
        section: of the configuration in which form and share stand, with a dot.

    Raises:
        UserError: no such file; no known form; nothing that makes a sample, or too much that makes none.
    """
    source = given if isinstance(given, Source) else Source(given)
    form = form_in(source) if form == "auto" else form
    if form == "sloop" and source.is_lines:
        return Dataset(source.path)
    name = digest([source.sha256, form, chosen, code_digest(MODULES)])[:32]
    target, told = cache / f"{name}.jsonl", cache / f"{name}.json"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if not is_file(told) or not is_file(target):
            reader = _Reader(source, form, chosen)
            samples = write_rows(target, reader)
            write_json(told, {**reader.told(), "samples": samples})
        intake = Intake(path=source.given, sha256=source.sha256, **read_json(told))
    intake.check(max_left_out, section)
    return Converted(target, intake)


def form_in(source: Source) -> Form:
    """The form of a file: of its first row that tells; tools and messages without an answer are sloop's questions.

    Raises:
        UserError: a row that comes before it is of no known form.
    """
    bare: Form = "sloop"
    for number, row in source.rows():
        if found := form_of(row):
            return found  # type: ignore[return-value]  # the table's names are those of the type: a test
        if not isinstance(row.get("messages"), list):
            raise UserError(f"{source.given}, line {number}: {unknown(row)}.")
        bare = bare if set(row) <= {*Sample.model_fields, "id"} else "openai"
    return bare


class _Reader:
    """The samples of a file, once; counts what makes none."""

    def __init__(self, source: Source, form: Form, chosen: Decisions) -> None:
        self._source = source
        self._form = form
        self._chosen = chosen
        self._labels: dict[bytes, str] = {}
        """Digest of the calls by id of every sample so far."""
        self._line = self.lines = self.silent = self.padded = self.tool_prompts = 0
        self.left_out: Counter[str] = Counter()
        self.places: defaultdict[str, list[int]] = defaultdict(list)
        self.example: dict[str, str] = {}

    def __iter__(self) -> Iterator[Sample]:
        for number, row in self._source.rows():
            self._line = number
            self.lines += 1
            try:
                found = list(from_datasets([row]) if self._form == "sloop" else self._samples(row))
            except NotTextError as error:
                found = self._leave("not_text", f"its content is of the kind {error}.")
            except (ValueError, UserError) as error:
                found = self._leave("malformed", f"{first_fault(error).rstrip('.')}.")
            self.silent += not found
            yield from found

    def told(self) -> dict[str, Any]:
        """What `Intake` holds of it, but the number of samples."""
        ordered = {reason: self.left_out[reason] for reason in LEFT_OUT if self.left_out[reason]}
        told = {key: getattr(self, key) for key in ("lines", "silent", "places", "example", "padded", "tool_prompts")}
        return {**told, "form": self._form, "left_out": ordered}

    def _leave(self, reason: str, detail: str) -> list[Sample]:
        self.left_out[reason] += 1
        self.example.setdefault(reason, detail)
        if len(self.places[reason]) < NAMED and self._line not in self.places[reason]:
            self.places[reason].append(self._line)
        return []

    def _samples(self, row: Mapping[str, Any]) -> Iterator[Sample]:
        given = dialogue_of(self._form, row)
        turns = turns_of(given)
        tools = self._tools(given.tools, turns)
        read_calls(turns, tools)
        self._clean(turns, tools)
        dialogue = Dialogue.model_validate({"tools": tools, "messages": [turn.plain() for turn in turns]})
        asked = [place for place, turn in enumerate(turns) if turn.role == "assistant" and turn.place >= given.first]
        if any(row.get(key) is False for key in DISLIKED) or ("completion" in row and row.get("label") == 0):
            self._leave("undesired", "its answer is marked as a bad one.")
            return
        if not asked:
            self._leave("no_decision", "it has no assistant message.")
        sound = [place for place in asked if not self._is_left_out(turns, place, tools)]
        chosen = sound if self._chosen == "all" else sound[-1:]
        unit = f"line-{self._line}"
        others = {place for place, turn in enumerate(turns) if turn.role == "assistant"} - set(chosen)
        for sample, _ in decisions(
            dialogue.model_copy(update={"doubtful": frozenset(others)}),
            group=unit,
            kind=None,
            source="seed",
            lineage=Lineage(unit=unit),
        ):
            calls = digest([call.to_openai() for call in sample.label.calls]) if sample.label else ""
            before = self._labels.get(known_as := bytes.fromhex(sample.id))
            if before is None:
                self._labels[known_as] = calls
                yield sample
            else:
                self._leave("repeated" if before == calls else "contradicted", "it asks what was asked before it.")

    def _tools(self, given: Any, turns: list[Turn]) -> list[Tool]:
        """What a line offers; where it does not say, what its system message lists, which is dropped."""
        if given is not None:
            return read_tools(without_nulls(given), "tools")
        listed = tools_in(turns[0].content) if turns[0].role == "system" else []
        if listed:
            turns.pop(0)
            self.tool_prompts += 1
        return read_tools(without_nulls(listed), "tools")

    def _clean(self, turns: list[Turn], tools: list[Tool]) -> None:
        """Drop the nulls of a table from the arguments of calls."""
        offered = {tool.name: tool for tool in tools}
        for turn in turns:
            for number, (known_as, call) in enumerate(turn.calls):
                if call.name in offered:
                    arguments = unpadded(call.arguments, offered[call.name])
                    self.padded += arguments != call.arguments
                    turn.calls[number] = (known_as, call.model_copy(update={"arguments": arguments}))

    def _is_left_out(self, turns: list[Turn], place: int, tools: list[Tool]) -> bool:
        """Count an assistant message that is no decision."""
        turn = turns[place]
        errors = [(call, error) for _, call in turn.calls for error in call_errors(call, tools)]
        if turn.reason:
            self._leave(turn.reason, f"it says {turn.detail!r}." if turn.detail else "its author left it out.")
        elif all(before.role != "user" for before in turns[:place]):
            self._leave("no_request", "no user has spoken.")
        elif not turn.content and not turn.calls:
            self._leave("empty", "it says and calls nothing.")
        elif errors:
            strange = next((call.name for call, error in errors if error.startswith("unknown_tool:")), None)
            if strange is not None:
                self._leave("not_offered", f"it calls {strange}, which is not offered.")
            else:
                self._leave("off_schema", f"{errors[0][0].name}: {errors[0][1]}.")
        else:
            return False
        return True
