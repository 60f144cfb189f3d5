"""The data card: what is in a generated dataset, and fifty of its samples to read."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sloop.records import Sample

SAMPLES = 50


def data_card(samples: Iterable[Sample], summary: Mapping[str, Any]) -> str:
    """Markdown: counts, then `SAMPLES` samples chosen by their ids, which are hashes.

    Args:
        samples: iterated once; only the chosen ones are kept.
        summary: of the gen stage, as plain data.
    """
    tools: Counter[str] = Counter()
    chosen: list[tuple[str, str]] = []
    for sample in samples:
        tools.update(call.name for call in (sample.label.calls if sample.label else ()))
        known_as = _reversed(sample.id)
        if len(chosen) < SAMPLES:
            heapq.heappush(chosen, (known_as, describe_sample(sample)))
        elif known_as > chosen[0][0]:
            heapq.heapreplace(chosen, (known_as, describe_sample(sample)))
    lines = ["# Data card", "", "| what | count |", "|---|---|", f"| samples | {summary['samples']} |"]
    lines += [
        f"| {group}: {name} | {count} |" for group in ("kinds", "rejected") for name, count in summary[group].items()
    ]
    lines += [f"| shortfall | {summary['shortfall']} |", f"| tools called | {len(tools)} |", ""]
    lines += ["Labels are the annotator's, right or wrong.", "", f"## {len(chosen)} samples", ""]
    return "\n".join([*lines, *(text for _, text in sorted(chosen, reverse=True))]) + "\n"


def describe_sample(sample: Sample) -> str:
    """One sample as a Markdown list item."""
    label = sample.label
    calls = (
        [f"{c.name}({', '.join(f'{k}={v!r}' for k, v in c.arguments.items())})" for c in label.calls] if label else []
    )
    answer = "; ".join(calls) or (label.content if label else "no label")
    offered = ", ".join(tool.name for tool in sample.tools)
    return (
        f"- *{sample.kind}*: {_plain(sample.request)}\n  - label: `{_plain(answer)}`\n  - on offer: {_plain(offered)}"
    )


def _plain(text: str) -> str:
    """Text of a model or a user, kept from being read as markup, or as orders to a terminal."""
    shown = text if text.isprintable() else "".join(mark if mark.isprintable() else " " for mark in text)
    return " ".join(shown.split()).replace("`", "'").replace("<", "&lt;").replace("|", "\\|").replace("](", "]\\(")


def _reversed(sample_id: str) -> str:
    """Sorts the other way round, so that the heap keeps the smallest ids."""
    return "".join(f"{15 - int(digit, 16):x}" for digit in sample_id)
