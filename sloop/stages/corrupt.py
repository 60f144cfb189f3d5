"""The corrupt stage: a generated set made dirty, between gen and training, whatever teacher wrote it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from sloop.engine.stage import Desk
from sloop.records import Record, Truth
from sloop.simulation.corruption import Corruption, corrupted, kept
from sloop.simulation.mistakes import packaged_grammar
from sloop.stages.accept import TRUTH
from sloop.stages.gen import TRAIN, Gen
from sloop.store import Dataset


class CorruptSummary(Record):
    """What was made of a set."""

    samples: int
    kinds: dict[str, int]
    """Samples by what was done to them: the name of a mistake, ``older_schema``, both (``wrong_tool and
    older_schema``), or ``foreign``."""
    not_kept: int
    """Samples fewer than there were."""


@dataclass(frozen=True, kw_only=True)
class Corrupt:
    """Spoil a set by shares; what its labels were before goes to ``truth.jsonl``, for metrics alone.

    Nothing is refused here: wrong labels are there to be found, by the judge of optimize.
    """

    name: ClassVar[str] = "corrupt"
    MODULES: ClassVar[tuple[str, ...]] = (
        *Gen.MODULES,
        "sloop.calls.match.normalise",
        "sloop.calls.match.strict",
        "sloop.simulation.corruption",
        "sloop.simulation.grammar",
        "sloop.simulation.invent",
        "sloop.simulation.matching",
        "sloop.simulation.mistakes",
        "sloop.simulation.phrases",
        "sloop.simulation.templates",
        "sloop.simulation.values",
        "sloop/simulation/everyday.yaml",
        "sloop.stages.corrupt",
    )
    summary_type: ClassVar[type[CorruptSummary]] = CorruptSummary

    data: Dataset
    foreign: Dataset | None = None
    """Samples of another domain."""
    settings: Corruption
    seed: int

    def __post_init__(self) -> None:
        """Raise a `UserError` for settings that contradict each other."""
        self.settings.check()

    def make(self, desk: Desk) -> CorruptSummary:
        """Go through the set once."""
        kinds: Counter[str] = Counter()
        here = kept(self.data.ids(), self.settings, self.seed)
        chosen = (sample for sample in self.data if here(sample.id))
        with desk.writing(TRAIN, TRUTH) as append:
            for sample, label, done in corrupted(
                chosen, iter(self.foreign or ()), self.settings, self.seed, packaged_grammar()
            ):
                append[TRAIN](sample)
                append[TRUTH](Truth(sample_id=sample.id, label=label, noise=done or None))
                kinds[done] += 1
        total = kinds.total()
        del kinds[""]
        return CorruptSummary(samples=total, kinds=dict(sorted(kinds.items())), not_kept=len(self.data) - total)
