"""Dirty data, simulated: what traces of a deployed model are like, made of a clean seed set by shares.

The kinds are those of distil-labs/distil-tft-benchmarking, which measured what training on such traces costs: wrong
calls, an older schema, few traces, another domain. Each sample is decided on for itself, by its id and a seed, so that
a larger set, or another share of another kind, changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator

from sloop.engine.identity import unit_rng
from sloop.records import Label, Record, Sample, ToolCall, UserError, digest
from sloop.records.ranges import Name, PathText, Samples, Share, Weight, refused
from sloop.simulation.grammar import Grammar
from sloop.simulation.mistakes import MISTAKES, spoilt


def _known(weights: dict[str, float]) -> dict[str, float]:
    if strange := weights.keys() - MISTAKES.keys():
        raise refused(f"{min(strange)} is no mistake; give weights of {', '.join(MISTAKES)}")
    return {name: weights.get(name, 0.0) for name in MISTAKES}


class Corruption(Record):
    """What is wrong with a seed set; ``conf/corruption/clean.yaml`` says what each key means."""

    name: Name
    wrong: Share
    mistakes: Annotated[dict[str, Weight], AfterValidator(_known)]
    refusal: str
    drifted: Share
    foreign: Share
    foreign_tools: PathText
    keep: Samples | None

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.wrong or self.drifted or self.foreign or self.keep)

    def check(self) -> None:
        """Raise a `UserError` for mistakes of no kind."""
        if self.wrong and not any(self.mistakes.values()):
            raise UserError(
                f"corruption.wrong={self.wrong:g}, but all weights of corruption.mistakes are 0. "
                "Try corruption.mistakes.altered_value=1"
            )


VERBS: Mapping[str, str] = {
    "get": "fetch", "set": "configure", "search": "lookup", "find": "query", "create": "add", "add": "append",
    "send": "post", "convert": "change", "translate": "render", "play": "start", "define": "explain", "book": "reserve",
    "order": "request", "track": "follow", "log": "record", "transfer": "move", "rent": "hire",
}  # fmt: skip
"""By the first word of a tool's name: that of its older name; of any other word, "run" stands before it."""


def older(call: ToolCall, offered: Iterable[str]) -> ToolCall:
    """A call in the words of an older schema: tool and arguments have other names, the values stay.

    Args:
        call: in those of today.
        offered: names of the tools on offer, of which the older name is none.
    """
    first, _, rest = call.name.partition("_")
    name = f"{VERBS[first]}_{rest}" if first in VERBS and rest else f"run_{call.name}"
    while name in offered:
        name = f"run_{name}"
    return ToolCall(name=name, arguments={f"{key}_value": value for key, value in call.arguments.items()})


def is_foreign(sample_id: str, settings: Corruption, seed: int) -> bool:
    """Whether a sample of another domain takes this one's place."""
    return _drawn("foreign", settings.foreign, sample_id, seed)


def corrupted(
    samples: Iterable[Sample], foreign: Iterator[Sample], settings: Corruption, seed: int, grammar: Grammar
) -> Iterator[tuple[Sample, Label, str]]:
    """The samples as they are found, each with the label that it had before, and what was done to it (or nothing).

    Args:
        samples: with labels, which are right as far as their teacher is.
        foreign: of another domain; one after another takes a sample's place, as long as there are some.
        settings: how much of what.
        seed: decides, with a sample's id, what becomes of it.
        grammar: of invented values.
    """
    for sample in samples:
        assert sample.label is not None
        label, found, done = sample.label, sample.label, ""
        if is_foreign(sample.id, settings, seed) and (other := next(foreign, None)) is not None:
            assert other.label is not None
            yield other.model_copy(update={"group": f"foreign-{other.group}"}), other.label, "foreign"
            continue
        if _drawn("wrong", settings.wrong, sample.id, seed):
            rng = unit_rng(seed, "corrupt", 0, f"mistake-{sample.id}")
            given = sample.tools, sample.request, label, rng, grammar
            done, wrong = spoilt(*given, weights=settings.mistakes, refusal=settings.refusal)
            found = wrong or label
        if found.calls and _drawn("drifted", settings.drifted, sample.id, seed):
            names = [tool.name for tool in sample.tools]
            calls = tuple(older(call, names) for call in found.calls)
            done = f"{done} and older_schema" if done else "older_schema"
            found = found.model_copy(update={"calls": calls})
        yield sample.model_copy(update={"label": found}), label, done


def _drawn(what: str, share: float, sample_id: str, seed: int) -> bool:
    return unit_rng(seed, "corrupt", 0, f"{what}-{sample_id}").random() < share


def kept(ids: Iterable[str], settings: Corruption, seed: int) -> Callable[[str], bool]:
    """Which samples there are: all, or so few."""
    if settings.keep is None:
        return lambda _: True
    chosen = frozenset(sorted(ids, key=lambda sample_id: digest([seed, "keep", sample_id]))[: settings.keep])
    return chosen.__contains__
