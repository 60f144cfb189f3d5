"""Error-driven expansion: each error seed becomes orders for new samples, one scenario axis each.

Where those do not fill the set, new samples take the place of what left it because student and label were wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from sloop.records import AnyKind, Axis, Order, Prediction, Sample, Tool, digest


def axes_of(sample_id: str, axes: Sequence[Axis]) -> list[Axis]:
    """The axes in this seed's own order, so that few expansions a seed still use every axis."""
    start = int(digest(sample_id)[:8], 16) % len(axes)
    return [*axes[start:], *axes[:start]]


def plan_expansions(ids: Sequence[str], axes: Sequence[Axis], expansions: int) -> Iterator[tuple[str, str, Axis]]:
    """Orders to be placed as (key, seed id, axis): every seed once, then every seed again, up to ``expansions``."""
    for turn in range(expansions):
        for sample_id in ids:
            axis = axes_of(sample_id, axes)[turn % len(axes)]
            yield f"e{turn}-{axis}-{sample_id}", sample_id, axis


def order_for(
    key: str, seed: Sample, mistake: Prediction | None, axis: Axis, tools: Sequence[Tool], rng: Random
) -> Order:
    """The order that expands one seed along one axis.

    ``values`` and ``phrasing`` keep the tools on offer; ``tools`` replaces those that the label does not call;
    ``contrast`` offers anything but the tools that the label calls. Where the label calls nothing, ``tools`` and
    ``contrast`` leave one of the offered tools out: another tool might be the very one that the request wants.

    Args:
        key: of the order.
        seed: an error seed, its label repaired where it was wrong.
        mistake: what the student answered.
        axis: what is to change.
        tools: that the loop runs on.
        rng: the order's own generator.
    """
    called = {call.name for call in seed.label.calls} if seed.label else set()
    wanted = tuple(tool for tool in seed.tools if tool.name in called)
    offered = list(seed.tools)
    if axis in ("tools", "contrast") and not called:
        offered = rng.sample(offered, max(1, len(offered) - 1))
    elif axis in ("tools", "contrast"):
        drawn = rng.sample(list(tools), min(len(offered) + len(called), len(tools)))
        others = [tool for tool in drawn if tool.name not in called]
        kept = list(wanted) if axis == "tools" else []
        offered = [*kept, *others[: max(1, len(offered) - len(kept))]]
        rng.shuffle(offered)
    kind = "irrelevant" if axis == "contrast" else kind_of(seed)
    return Order(key=key, kind=kind, tools=tuple(offered), wanted=wanted, axis=axis, seed=seed, mistake=mistake)


def kind_of(sample: Sample) -> AnyKind:
    """What a sample asks for; where nobody said it, as of traces, by what its label does.

    An answer to what a tool said is no refusal: its request has asked for a call.
    """
    if sample.kind:
        return sample.kind
    calls = len(sample.label.calls) if sample.label else 0
    if not calls and sample.messages and sample.messages[-1].role == "user":
        return "irrelevant"
    return "parallel" if calls > 1 else "single"


def plan_replacements(ids: Sequence[str], replacements: int) -> Iterator[tuple[str, str, None]]:
    """Orders to be placed as (key, id of a sample that left, no axis): every sample once, then every sample again."""
    for turn in range(replacements):
        for sample_id in ids:
            yield f"l{turn}-{sample_id}", sample_id, None


def replacement_for(key: str, lost: Sample, like: Sample, rng: Random) -> Order:
    """The order for a sample in place of one of which nothing right is known: about tools that it offers.

    Args:
        key: of the order.
        lost: left the set, as student and label were wrong.
        like: any sample of the data, whose kind it takes: what is lost is mostly of one kind, and new samples of that
            kind alone would teach that nothing else is asked for.
        rng: the order's own generator.
    """
    kind = kind_of(like)
    count = {"chat": 0, "parallel": 2}.get(kind, 1)
    wanted = tuple(rng.sample(lost.tools, min(count, len(lost.tools))))
    if not lost.tools:
        kind = "chat"
    elif (kind == "irrelevant" and len(lost.tools) < 2) or (kind == "incomplete" and not wanted[0].required):
        kind = "single"
    offered = tuple(tool for tool in lost.tools if kind != "irrelevant" or tool not in wanted)
    return Order(key=key, kind=kind, tools=offered, wanted=wanted)
