"""What the next training set is made of: quotas first, then the choice of samples. Pure functions over columns."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import model_validator

from sloop.records import Record, Ruling, Source, digest
from sloop.records.ranges import Share, Within, refused

T = TypeVar("T")


class Quotas(Record):
    """Shares of the next training set, in samples; they add up to the budget unless ``shortfall`` is above 0."""

    unseen: int
    error: int
    expanded: int
    mastered: int
    shortfall: int = 0


class Shares(Record):
    """What the quotas follow: shares of the budget, 0 to 1."""

    unseen: Share
    """Of seed data that no round has trained on, in round 2."""
    unseen_decay: Share
    """Factor on ``unseen`` for every later round (LoopTool: one half)."""
    error: Share
    """Most of the budget that error seeds may take."""
    expanded: Share
    """Most of the budget that expansions may take, unless there is nothing else to fill it with."""
    expansions: Annotated[int, Within(0, 1_000)]
    """Most new samples for each failure, and for each sample that was lost."""
    no_call: Share
    """Most of the error seeds, and of the expansions, whose label does not call: a student that fails to refuse has
    many such errors, and a set full of refusals teaches it to refuse everything. Also most of the unseen and of the
    mastered samples, unless the data had more: where calls are what labels get wrong, calls are what leaves."""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if (total := self.unseen + self.error + self.expanded) > 1 + 1e-9:
            raise refused(f"unseen + error + expanded = {total:g}; they may take at most 1")
        return self


def unseen_quota(budget: int, round: int, shares: Shares) -> int:
    """Unseen seed samples in the set of round ``round`` (2, 3, ...)."""
    return _whole(budget * shares.unseen * shares.unseen_decay ** (round - 2))


def _whole(number: float) -> int:
    """Rounded down, but not below a whole number that binary fractions miss: 0.29 of 100 is 29."""
    return int(number + 1e-9)


def quotas(budget: int, unseen: int, num_error: int, num_mastered: int, num_grown: int, shares: Shares) -> Quotas:
    """Divide the budget: the unseen share first, then error seeds up to their cap, then expansions, then mastered.

    Where there are too few mastered samples to fill the rest, expansions may take more than their share.

    Args:
        budget: samples in the next set.
        unseen: verified unseen samples that are there to be used.
        num_error: error seeds there are.
        num_mastered: mastered samples there are.
        num_grown: samples for each of which new ones can be written: failures, unseen ones too, and what was lost.
        shares: see `Shares`.
    """
    unseen = min(unseen, budget)
    error = min(num_error, _whole(budget * shares.error), budget - unseen)
    left = budget - unseen - error
    most = num_grown * shares.expansions
    expanded = min(most, left, max(_whole(budget * shares.expanded), left - num_mastered))
    mastered = min(num_mastered, left - expanded)
    return Quotas(
        unseen=unseen, error=error, expanded=expanded, mastered=mastered, shortfall=left - expanded - mastered
    )


def by_hash(ids: Sequence[str], salt: str) -> list[str]:
    """The ids in an order that depends on each id alone: a subsample that no other sample can shift."""
    return sorted(ids, key=lambda sample_id: digest([salt, sample_id]))


def balanced(items: Iterable[T], is_no_call: Callable[[T], bool], share: float) -> Iterator[T]:
    """The items, those without a call kept back so that they are never more than ``share`` of what has come.

    What is still kept back at the end does not come at all.
    """
    waiting: deque[T] = deque()
    count = no_calls = 0
    for item in items:
        if is_no_call(item):
            waiting.append(item)
        else:
            count += 1
            yield item
        while waiting and no_calls + 1 <= share * (count + 1):
            count, no_calls = count + 1, no_calls + 1
            yield waiting.popleft()


def capped(ids: Sequence[str], no_call: Container[str], share: float) -> list[str]:
    """The ids, but of those without a call only as many, from the first on, as make up ``share`` of what is kept."""
    if share >= 1:
        return list(ids)
    calling = sum(i not in no_call for i in ids)
    left = itertools.count(_whole(share / (1 - share) * calling), -1)
    return [i for i in ids if i not in no_call or next(left) > 0]


def hardest(perplexity: Mapping[str, float | None], count: int) -> list[str]:
    """The ``count`` ids of highest perplexity; those without a measured one come last."""
    return sorted(perplexity, key=lambda i: (perplexity[i] is None, -(perplexity[i] or 0.0), i))[:count]


class Plan:
    """What the next set may be made of, as columns, and what the quotas make of it."""

    def __init__(
        self,
        rulings: Iterable[Ruling],
        perplexity: Mapping[str, float | None],
        trained: Sequence[str],
        unseen: Sequence[str],
        no_call: Collection[str],
        budget: int,
        shares: Shares,
        salt: str,
    ) -> None:
        """Sort the samples by what was ruled about them.

        Args:
            rulings: on the samples that were judged; a sample without one agrees with its label.
            perplexity: of the student's answers, by sample id.
            trained: ids of the samples that the student was trained on.
            unseen: ids of those that may join.
            no_call: ids of those of both whose label does not call.
            budget: samples in the next set.
            shares: see `Shares`.
            salt: of the order in which error seeds are taken.
        """
        self.budget = budget
        self.outcomes: Counter[str] = Counter()
        self.relabelled: set[str] = set()
        self.placed = 0
        self.rejected: Counter[str] = Counter()
        self.no_call = set(no_call)
        share = max(shares.no_call, sum(i in self.no_call for i in trained) / max(1, len(trained)))
        leaving: set[str] = set()
        lost: set[str] = set()
        failed: set[str] = set()
        for ruling in rulings:
            agreed = ruling.verdict_prediction is None
            self.outcomes[f"AGREED_{ruling.outcome}" if agreed else ruling.outcome] += 1
            if ruling.new is None:
                leaving.add(ruling.sample_id)
            elif ruling.outcome in ("PRED_WRONG", "LABEL_WRONG"):
                failed.add(ruling.sample_id)
                (self.no_call.discard if ruling.new.calls else self.no_call.add)(ruling.sample_id)
            if ruling.outcome == "LABEL_WRONG":
                self.relabelled.add(ruling.sample_id)
            if ruling.outcome == "BOTH_WRONG":
                lost.add(ruling.sample_id)
        kept = [i for i in trained if i not in leaving]
        joining = [i for i in unseen if i not in leaving]
        self.unseen = capped(joining, self.no_call, share)
        errors = by_hash([i for i in kept if i in failed], salt)
        self.errors = list(balanced(errors, self.no_call.__contains__, shares.no_call))
        self.seeds = by_hash([i for i in [*kept, *joining] if i in failed], salt)
        self.lost = by_hash([i for i in [*trained, *unseen] if i in lost], salt)
        mastered = {i: perplexity.get(i) for i in kept if i not in failed}
        self.mastered = capped(hardest(mastered, len(mastered)), self.no_call, share)
        self.held_back = {
            "unseen": len(joining) - len(self.unseen),
            "error": len(errors) - len(self.errors),
            "mastered": len(mastered) - len(self.mastered),
        }
        self._unmeasured = {i for i, measured in mastered.items() if measured is None}
        num_grown = len(self.seeds) + len(self.lost)
        self.quotas = quotas(budget, len(self.unseen), len(self.errors), len(self.mastered), num_grown, shares)

    def chosen(self, expanded: int) -> dict[str, Source]:
        """What each kept sample stands in the next set for, in the set's order.

        Args:
            expanded: expansions that were admitted; where they fell short of their quota, mastered samples fill up.
        """
        quota = self.quotas
        rest = self.budget - quota.unseen - quota.error - expanded
        chosen: dict[str, Source] = dict.fromkeys(self.errors[: quota.error], "error")
        chosen |= dict.fromkeys(self.unseen[: quota.unseen], "unseen")
        chosen |= dict.fromkeys(self.mastered[: max(0, rest)], "mastered")
        return chosen

    def summary(self, expanded: int) -> dict[str, Any]:
        """Counts of outcomes, sources and rejections, and any shortfall.

        ``mastered_by_id``: mastered samples of which no perplexity was measured, taken after those that have one, in
        the order of their ids, which is as good as at random. ``held_back``: samples without a call that were
        candidates and are none, as there were more of them than `Shares.no_call` allows.
        """
        picked = self.chosen(expanded)
        chosen = Counter(picked.values())
        total = chosen.total() + expanded
        return {
            "outcomes": dict(sorted(self.outcomes.items())),
            "composition": {**dict(sorted(chosen.items())), "expanded": expanded},
            "mastered_by_id": sum(source == "mastered" and i in self._unmeasured for i, source in picked.items()),
            "held_back": self.held_back,
            "quotas": self.quotas.model_dump(),
            "expansion_orders": self.placed,
            "rejected": dict(sorted(self.rejected.items())),
            "samples": total,
            "shortfall": self.budget - total,
        }
