"""Comparators: is this the call that the label asks for? Pure; `strict` alone serves probe, reward and verify."""

from sloop.calls.match.normalise import call_key, normalise_call, normalise_text
from sloop.calls.match.strict import Match, strict

__all__ = ["Match", "call_key", "normalise_call", "normalise_text", "strict"]
