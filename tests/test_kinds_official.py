"""Malformed answers as official evaluators read them: every kind of the table, and BFCL's own code beside ours."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kinds import Kind
from kinds.official import KINDS

from sloop.calls.bfcl_languages import CALL_READERS, UNNAMED
from sloop.calls.readings import BFCL, read_bracketed, read_result

PARSERS = "takes whole calls of Java and JavaScript apart by the leaderboard's parsers: pip install 'sloop[bfcl]'"
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from format_cases import FORMS, ways  # noqa: E402 - the programs are no package
from official_cases import answers, kinds  # noqa: E402

RIGHT = [
    (
        "a.first",
        {"city": "New York", "days": 2, "units": ["km", "mi"], "exact": True, "near": {"lat": 1.5, "of": None}},
    ),
    ("second", {"n": 1}),
    ("third", {}),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_answer_is_read_as_officially(kind: Kind) -> None:
    reading, given = kind.given
    if reading.partition(" ")[2] in CALL_READERS:
        pytest.importorskip("tree_sitter", reason=PARSERS)
    found = read_result(reading, given) if reading in BFCL else read_bracketed(given, step=reading.endswith("step"))
    assert (repr(found) if isinstance(kind.comes, str) else found) == kind.comes


@pytest.mark.skipif(
    not importlib.util.find_spec("bfcl_eval"),
    reason="compares with the official decoder, which pins other versions: pip install --no-deps bfcl-eval",
)
@pytest.mark.parametrize("mode", sorted(BFCL))
def test_the_official_decoder_reads_every_kind_alike(mode: str, tmp_path: Path) -> None:
    form = mode.partition(" ")[2]
    if form in CALL_READERS:
        pytest.importorskip("tree_sitter", reason=PARSERS)
    manners = ways(form) if form.removesuffix(" tag") in FORMS else kinds(mode)
    many = {str(number): RIGHT[number % 2 :] for number in range(2 * len(manners))}
    made: list[tuple[str, Any]] = list(answers(manners, many, Random(0)).values())
    made += [(kind.name, kind.given[1]) for kind in KINDS if kind.given[0] == mode]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "official_runners.py"), mode],
        input=json.dumps([result for _, result in made]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "BFCL_PROJECT_ROOT": str(tmp_path)},
    )
    for (name, result), theirs in zip(made, json.loads(done.stdout), strict=True):
        found = read_result(mode, result)
        ours = None if found is None else repr(found).replace(f"'{UNNAMED}'", "None")  # its name of starred ones
        assert ours == ("{}" if theirs == "None" else theirs), (name, result)  # both are of the wrong format
