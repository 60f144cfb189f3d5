"""Comparators, all pure: is this the call that the label asks for?

`strict` alone serves probe, reward and verify; `bfcl` and `acebench` give the verdicts of published benchmarks.
"""

from sloop.calls.match.acebench import acebench
from sloop.calls.match.bfcl import bfcl
from sloop.calls.match.normalise import call_key, normalise_call, normalise_text
from sloop.calls.match.official import OfficialMatch
from sloop.calls.match.strict import Match, strict
