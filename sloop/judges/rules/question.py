"""A question as the rules see it: the request and the tools on offer, read once for all answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sloop.judges.rules.reading import Reading, read
from sloop.judges.rules.relevance import Profile, Weights, profile, rarity
from sloop.records import Sample, Tool


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as much, in units of one word of a tool's name that no other offered tool has."""

    relevant: float
    """Evidence from which a request asks for a tool."""
    irrelevant: float
    """Evidence below which it may not."""
    strong: float
    """Evidence from which the wording alone may call an answer wrong."""
    margin: float
    """By how much another tool must speak more."""
    sign: float
    """What one sign around a value adds to the evidence for its tool; two of them at most."""
    most: float
    """Share of the request's wording that a tool accounts for, from which the request is about it."""
    some: float
    """Share from which it may be."""


@dataclass(frozen=True, slots=True)
class Question:
    """A sample without its label."""

    sample: Sample
    limits: Thresholds
    tools: Mapping[str, Tool]
    """By name, as are their profiles."""
    profiles: Mapping[str, Profile]
    rare: Mapping[str, float]
    """How rare a stem is among the offered tools (`rarity`)."""
    reading: Reading


def read_question(sample: Sample, weights: Weights, limits: Thresholds) -> Question:
    """Read the request and the tools."""
    profiles = {tool.name: profile(tool, weights) for tool in sample.tools}
    return Question(
        sample=sample,
        limits=limits,
        tools={tool.name: tool for tool in sample.tools},
        profiles=profiles,
        rare=rarity(list(profiles.values())),
        reading=read(sample.request),
    )
