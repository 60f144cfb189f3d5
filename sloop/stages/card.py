"""The data card: what is in a generated dataset, and fifty of its samples to read."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

from sloop.records import Sample

SAMPLES = 50


class Card:
    """Is shown the samples of a dataset one by one, and keeps those that it will tell of: the least by their ids, which
    are hashes.
    """

    def __init__(self) -> None:
        self._tools: set[str] = set()
        self._chosen: list[tuple[int, str]] = []

    def add(self, sample: Sample) -> None:
        """One more sample, of an id of its own."""
        self._tools.update(call.name for call in (sample.label.calls if sample.label else ()))
        known_as = -int(sample.id, 16)  # so that the heap keeps the smallest
        if len(self._chosen) < SAMPLES:
            heapq.heappush(self._chosen, (known_as, describe_sample(sample)))
        elif known_as > self._chosen[0][0]:
            heapq.heapreplace(self._chosen, (known_as, describe_sample(sample)))

    def text(self, summary: Mapping[str, Any]) -> str:
        """Markdown: counts, of the summary of a gen stage as plain data among them, then `SAMPLES` samples."""
        lines = ["# Data card", "", "| what | count |", "|---|---|", f"| samples | {summary['samples']} |"]
        lines += [
            f"| {group}: {name} | {count} |"
            for group in ("kinds", "rejected")
            for name, count in summary[group].items()
        ]
        lines += [f"| shortfall | {summary['shortfall']} |", f"| tools called | {len(self._tools)} |", ""]
        lines += ["Labels are the annotator's, right or wrong.", "", f"## {len(self._chosen)} samples", ""]
        return "\n".join([*lines, *(text for _, text in sorted(self._chosen, reverse=True))]) + "\n"


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
