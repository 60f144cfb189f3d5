"""Comparators, all pure: is this the call that the label asks for?

`strict` alone serves probe, reward and verify; `bfcl` gives the verdicts of a published benchmark.
"""

from sloop.calls.match.bfcl import BfclMatch, bfcl
from sloop.calls.match.normalise import call_key, normalise_call, normalise_text
from sloop.calls.match.strict import Match, strict

__all__ = ["BfclMatch", "Match", "bfcl", "call_key", "normalise_call", "normalise_text", "strict"]
