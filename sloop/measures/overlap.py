"""Contamination: what a benchmark shares with what a student was trained on.

Three things are looked for, of which no kind of request is exempt (small talk counts like any other):

- Samples and requests that stand in both: the same tools and messages; the same words in the last user message,
  whatever their case, spacing and punctuation (`sloop.calls.wording.request_key`) and whatever tools are on offer.
- Requests that stand in training nearly: the share of a request's words that lie in runs of ``words`` words which
  occur in training requests, in one or in several; symbols are no words here, and where a script puts no spaces
  between words (Chinese, Japanese, Thai and their like) each character is one. From ``share`` on it counts. A request
  of fewer words has no such run: it is compared whole, and counted as short.
- Tools: names in common, and tools of one schema. A schema is what calls are checked by (`sloop.calls.schema`): its
  parameters without titles, descriptions, examples, comments and formats. It may go by another name, unless it has
  fewer than two parameters, for which any search and its query would be the same tool.

How long a run is and what share counts differ from study to study: any run of 13 words (GPT-3), four fifths of the
tokens in runs of more than 10 (Llama 2), 70% of all runs of 8 (PaLM), more than half of the tokens in runs of 8 that
one training text holds (Tulu 3).

The training set is read once, in time and memory that do not depend on how much the two share.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from sloop.calls.schema import DATA, MAPS
from sloop.calls.wording import request_key
from sloop.measures.metrics import METRICS
from sloop.measures.stats import rate
from sloop.records import Grade, Record, Sample, Score, Tool, canonical_json
from sloop.records.ranges import PositiveShare, Within
from sloop.store import Dataset, line_of, write_bytes

CONTAMINATION = "contamination.jsonl"
"""File of the evidence (`Contaminated`), beside a round's record or an evaluation's scores."""

How = Literal["sample", "request", "near"]
HOWS: tuple[How, ...] = ("sample", "request", "near")
"""The strongest first: a sample is counted under one."""
ANNOTATIONS = frozenset({"title", "description", "examples", "$comment", "format"})
"""Keys of a schema that decide about no call."""
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts without spaces between words, as the names of their characters begin."""
_WORD = re.compile(r"\w+")


class OverlapSettings(Record):
    """What counts as near; values and their origin stand in ``conf/config.yaml``."""

    words: Annotated[int, Within(1, 1_000)]
    share: PositiveShare
    examples: Annotated[int, Within(0, 100_000)]


class Contaminated(Record):
    """A sample of a benchmark that stands in training, wholly or nearly: the evidence."""

    benchmark: str
    sample_id: str
    slice: str
    how: How
    share: float
    """Of its request's words; 1 where the request is the same."""
    request: str
    train_id: str
    """The training sample; where several hold parts of the request, the one that came first with most of them."""
    train_request: str


class Overlap(Record):
    """What a benchmark shares with training data; all counts but ``train`` are of the benchmark."""

    benchmark: str
    sha256: str
    """Of the benchmark's data."""
    words: int
    share: float
    train: int
    """Training samples that were read, each once."""
    samples: int
    short: int
    """Samples whose request has fewer than ``words`` words and so no run of them."""
    counts: dict[str, dict[str, int]]
    """By slice ("" = all): samples, and how many of them are contaminated in which way (`How`)."""
    tools: int
    """Different tools (name and schema) on offer."""
    tool_names: int
    tool_schemas: int
    samples_by_tool_name: int
    """Samples for whose decision a tool of a known name is wanted: called by the label, or, where it calls none, on
    offer."""
    samples_by_tool_schema: int
    shared_tools: tuple[str, ...]
    """The first few names of tools that were known by name or by schema."""
    worst: tuple[Contaminated, ...]
    """The first few, the strongest first."""

    def scores(self) -> list[Score]:
        """Shares of the benchmark's samples (by slice, too) and tools, under ``contamination/<benchmark>/``. No
        interval: everything was counted.
        """
        names: dict[How, str] = {"sample": "same_samples", "request": "same_requests", "near": "near_requests"}
        found = [
            self._score(name, part[how], part["samples"], slice)
            for slice, part in self.counts.items()
            for how, name in names.items()
        ]
        found += [
            self._score("short_requests", self.short, self.samples),
            self._score("tool_names", self.tool_names, self.tools),
            self._score("tool_schemas", self.tool_schemas, self.tools),
            self._score("samples_by_tool_name", self.samples_by_tool_name, self.samples),
            self._score("samples_by_tool_schema", self.samples_by_tool_schema, self.samples),
        ]
        return found

    def _score(self, name: str, count: int, of: int, slice: str = "") -> Score:
        value = count / of if of else None
        return Score(name=f"contamination/{self.benchmark}/{name}", value=value, n=of, slice=slice)


def forbidden_requests(bench: Iterable[Sample]) -> frozenset[str]:
    """Keys of the requests that no training sample may repeat (refused as ``in_benchmark``)."""
    return frozenset(key for sample in bench if (key := request_key(sample.request)))


@dataclass
class _Asked:
    """What is remembered of a sample of the benchmark."""

    sample_id: str
    slice: str
    request: str
    key: str
    length: int
    """In words."""
    runs: list[int]
    """Number of each run of words, in order."""
    tools: frozenset[tuple[str, str]]
    """Those that its decision is about: name and schema."""


@dataclass
class _Seen:
    """What of the benchmark was seen in training."""

    train_ids: set[bytes] = field(default_factory=set)
    samples: dict[str, str] = field(default_factory=dict)
    """Training sample by sample id."""
    requests: dict[str, str] = field(default_factory=dict)
    """By request key."""
    runs: dict[int, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """Requests of these training samples."""
    names: set[str] = field(default_factory=set)
    schemas: set[str] = field(default_factory=set)


class Contamination:
    """A benchmark that training sets are held against, one after the other; what it found is about all of them."""

    def __init__(self, benchmark: str, sha256: str, data: Iterable[Sample], settings: OverlapSettings) -> None:
        """Read the benchmark.

        Args:
            benchmark: its name.
            sha256: of its data.
            data: its samples.
            settings: what counts as near.
        """
        self.benchmark, self.sha256, self.settings = benchmark, sha256, settings
        self._runs: dict[tuple[str, ...], int] = {}
        self._offered: dict[tuple[str, str], None] = {}
        self._known: dict[bytes, str] = {}
        self._asked = [self._ask(sample) for sample in data]
        self._ids = {asked.sample_id for asked in self._asked}
        self._keys = {asked.key for asked in self._asked if asked.key}
        self._names = {name for name, _ in self._offered}
        self._schemas = {schema for _, schema in self._offered}
        self._seen = _Seen()

    @classmethod
    def of(cls, benchmark: str, data: Dataset, settings: OverlapSettings) -> Self:
        """Read a benchmark of this name; errors as of the constructor."""
        return cls(benchmark, data.sha256, data, settings)

    def _ask(self, sample: Sample) -> _Asked:
        words = request_words(sample.request)
        offered = {tool.name: (tool.name, self._schema(tool)) for tool in sample.tools}
        self._offered |= dict.fromkeys(offered.values())
        called = [call.name for call in sample.label.calls] if sample.label else []
        wanted = [offered[name] for name in called if name in offered] or offered.values()
        return _Asked(
            sample_id=sample.id,
            slice=sample.slice,
            request=sample.request,
            key=request_key(sample.request),
            length=len(words),
            runs=[self._runs.setdefault(run, len(self._runs)) for run in _runs(words, self.settings.words)],
            tools=frozenset(wanted),
        )

    def _schema(self, tool: Tool) -> str:
        """`schema_key`, worked out once for every different tool."""
        known_as = blake2b(f"{tool.name} {tool.parameters}".encode(), digest_size=16).digest()
        if known_as not in self._known:
            self._known[known_as] = schema_key(tool)
        return self._known[known_as]

    def add(self, train: Iterable[Sample]) -> list[Sample]:
        """Hold training samples against the benchmark, each once, however often it comes.

        Returns:
            The first few that repeat a sample or a request of the benchmark.
        """
        seen = self._seen
        repeats: list[Sample] = []
        for sample in train:
            if (known_as := bytes.fromhex(sample.id)) in seen.train_ids:
                continue
            seen.train_ids.add(known_as)
            key = request_key(sample.request)
            same_sample, same_request = sample.id in self._ids, key in self._keys
            if same_sample:
                seen.samples[sample.id] = sample.id
            if same_request:
                seen.requests.setdefault(key, sample.id)
            if same_sample or same_request:
                seen.texts[sample.id] = sample.request
                if len(repeats) < max(1, self.settings.examples):
                    repeats.append(sample)
            for run in _runs(request_words(sample.request), self.settings.words):
                number = self._runs.get(run)
                if number is not None and number not in seen.runs:
                    seen.runs[number] = sample.id
                    seen.texts[sample.id] = sample.request
            seen.names.update(tool.name for tool in sample.tools if tool.name in self._names)
            schemas = map(self._schema, sample.tools)
            seen.schemas.update(schema for schema in schemas if schema in self._schemas)
        return repeats

    def contaminated(self) -> list[Contaminated]:
        """The samples of the benchmark that stand in what was added, in the benchmark's order."""
        return [found for asked in self._asked if (found := self._match(asked)) is not None]

    def _match(self, asked: _Asked) -> Contaminated | None:
        seen = self._seen
        how: How = "near"
        if train_id := seen.samples.get(asked.sample_id):
            how, share = "sample", 1.0
        elif train_id := seen.requests.get(asked.key):
            how, share = "request", 1.0
        else:
            share = self._share(asked)
            if share < self.settings.share:
                return None
            holders = Counter(seen.runs[run] for run in asked.runs if run in seen.runs)
            train_id = holders.most_common(1)[0][0]
        return Contaminated(
            benchmark=self.benchmark,
            sample_id=asked.sample_id,
            slice=asked.slice,
            how=how,
            share=round(share, 4),
            request=asked.request,
            train_id=train_id,
            train_request=seen.texts[train_id],
        )

    def _share(self, asked: _Asked) -> float:
        """Share of the request's words that lie in a run which was seen."""
        covered = end = 0
        for start, run in enumerate(asked.runs):
            if run in self._seen.runs:
                covered += start + self.settings.words - max(start, end)
                end = start + self.settings.words
        return covered / asked.length if asked.length else 0.0

    def split(self, grades: Iterable[Grade]) -> list[Score]:
        """Call accuracy on the samples that stand in training, wholly or nearly, and on the others (the clean ones)."""
        contaminated = {found.sample_id for found in self.contaminated()}
        parts: dict[str, list[Grade]] = {"call_accuracy_clean": [], "call_accuracy_contaminated": []}
        for grade in grades:
            parts["call_accuracy_" + ("contaminated" if grade.sample_id in contaminated else "clean")].append(grade)
        count = METRICS["call_accuracy"]
        return [rate(name, ((grade.cluster, *count(grade)) for grade in part)) for name, part in parts.items()]

    def overlap(self) -> Overlap:
        """What was found, in counts."""
        found = self.contaminated()
        how = {match.sample_id: match.how for match in found}
        slices = ["", *sorted({asked.slice for asked in self._asked} - {""})]
        counts: dict[str, dict[str, int]] = {slice: dict.fromkeys(("samples", *HOWS), 0) for slice in slices}
        for asked in self._asked:
            for part in {"", asked.slice}:
                counts[part]["samples"] += 1
                if asked.sample_id in how:
                    counts[part][how[asked.sample_id]] += 1
        seen = self._seen
        by_name = {tool for tool in self._offered if tool[0] in seen.names}
        by_schema = {tool for tool in self._offered if tool[1] in seen.schemas}
        shared = sorted({name for name, _ in by_name | by_schema})
        worst = sorted(found, key=lambda match: (HOWS.index(match.how), -match.share, match.sample_id))
        return Overlap(
            benchmark=self.benchmark,
            sha256=self.sha256,
            words=self.settings.words,
            share=self.settings.share,
            train=len(seen.train_ids),
            samples=len(self._asked),
            short=sum(asked.length < self.settings.words for asked in self._asked),
            counts=counts,
            tools=len(self._offered),
            tool_names=len(by_name),
            tool_schemas=len(by_schema),
            samples_by_tool_name=sum(bool(asked.tools & by_name) for asked in self._asked),
            samples_by_tool_schema=sum(bool(asked.tools & by_schema) for asked in self._asked),
            shared_tools=tuple(shared[: self.settings.examples]),
            worst=tuple(worst[: self.settings.examples]),
        )


def write_evidence(folder: Path, held: Iterable[Contamination]) -> list[Overlap]:
    """Write `CONTAMINATION` into a folder, where it differs from what is there; returns what was found, in counts."""
    held = list(held)
    found = [match for one in held for match in one.contaminated()]
    path, content = folder / CONTAMINATION, "".join(map(line_of, found)).encode()
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)
    return [one.overlap() for one in held]


def schema_key(tool: Tool) -> str:
    """What two tools share that are called alike: see the head of this module."""
    name = tool.name if len(tool.properties) < 2 else ""
    return f"{name} {canonical_json(_bare(tool.parameters))}"


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, Any] = {}
    for key, value in schema.items():
        says_nothing = value is False if key == "additionalProperties" else key == "required" and not value
        if key in ANNOTATIONS or says_nothing:  # an object whose properties are declared is closed as it is
            continue
        if key in MAPS and isinstance(value, dict):
            bare[key] = {name: _bare(part) for name, part in value.items()}
        elif key == "required" and isinstance(value, list):
            bare[key] = sorted(map(str, value))
        else:
            bare[key] = value if key in DATA else _bare(value)
    return bare


def request_words(text: str) -> tuple[str, ...]:
    """Words without case and accents that stand alone (the vowel signs of Arabic and Hindi), or they would cut words.

    Symbols are left out, or the five tokens of a date would make a run; each character of `UNSPACED` is a word.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return tuple(_WORD.findall(text if text.isascii() else "".join(map(_apart, text))))


@cache
def _apart(char: str) -> str:
    if unicodedata.category(char).startswith("M"):
        return ""
    return f" {char} " if unicodedata.name(char, "").startswith(UNSPACED) else char


def _runs(words: tuple[str, ...], length: int) -> Iterator[tuple[str, ...]]:
    return (words[at : at + length] for at in range(len(words) - length + 1))
