"""``sloop diff RUN RUN``: which stage of two runs is the first to differ, and what can explain it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from sloop.records import UserError
from sloop.runs.bundle import MANIFEST, RUN, read_bundle
from sloop.runs.differences import Difference, StagePair, differences, score_pairs, stage_pairs
from sloop.runs.find import find_run
from sloop.runs.read import Run
from sloop.show.arguments import parser
from sloop.show.console import console

RANKS = ("of what names it", "may be behind it", "made no difference to it")
"""What a difference has to do with the first stage that differs, by `Difference.rank`."""
SHOWN = 20
"""Scores that are shown; the rest are counted."""


def diff(arguments: Sequence[str]) -> None:
    """Print what differs between two runs; exit status 1 where stages or scores do."""
    what = "data, code, configuration, environment, processor, models"
    status = "Exit status 0: the same bytes and scores; 1: others."
    made = parser("diff", f"Which stage of two runs is the first to differ, and what can explain it: {what}. {status}")
    forms = "folder, name or id, a search such as variant=full,seed=0, or a bundle: its zip, or its folder"
    made.add_argument("a", metavar="RUN", help=forms)
    made.add_argument("b", metavar="RUN", help="another")
    options = made.parse_args(arguments)
    with TemporaryDirectory() as scratch:
        a, b = (_run(options.outputs, what, Path(scratch, side)) for side, what in (("a", options.a), ("b", options.b)))
        is_same = _print(a, b)
    sys.exit(0 if is_same else 1)


def _run(outputs: Path, what: str, scratch: Path) -> Run:
    """The run that is meant; that of a zip is unpacked to ``scratch``."""
    path = Path(what)
    if path.suffix == ".zip" and path.is_file():
        read_bundle(path).unpack(scratch)
        path = scratch
    return Run.at(path / RUN) if (path / MANIFEST).is_file() else find_run(outputs, what)


def _print(a: Run, b: Run) -> bool:
    """Print what differs; returns whether nothing does."""
    if a.record.kind != b.record.kind:
        raise UserError(f"{a.name} is of kind {a.record.kind} and {b.name} of {b.record.kind}: give two of one kind.")
    pairs = stage_pairs(a, b)
    apart = [pair for pair in pairs if not pair.is_same]
    scores = list(score_pairs(a, b))
    _print_stages(a, b, pairs, apart)
    _print_causes(differences(a, b, pairs), apart)
    if scores:
        shown = Table("round", "score", "first", "second", title="scores that differ", title_justify="left")
        for number, name, one, other in scores[:SHOWN]:
            shown.add_row(str(number), name, *("-" if value is None else f"{value:.4g}" for value in (one, other)))
        console().print(shown)
    if len(scores) > SHOWN:
        console().say(f"{len(scores) - SHOWN} more scores differ")
    return not apart and not scores


def _print_stages(a: Run, b: Run, pairs: list[StagePair], apart: list[StagePair]) -> None:
    out = console()
    out.say(f"first: {a.name}; second: {b.name}; {len(pairs) - len(apart)} of {len(pairs)} stages have the same bytes")
    if not apart:
        return
    first = apart[0]
    if first.first is None or first.second is None:
        why = f"only the {'second' if first.first is None else 'first'} run has it"
    elif first.parts:
        why = f"it was made of other parts: {', '.join(first.parts)}"
    else:
        why = "it was made of the same parts, so that no setting, input or code explains it"
    out.say(f"the first stage that differs: {first.place} ({', '.join(first.files)}); {why}")
    if later := [pair.place for pair in apart[1:]]:
        out.say(f"after it: {', '.join(later)}")


def _print_causes(found: list[Difference], apart: list[StagePair]) -> None:
    shown = Table("what", "", "first", "second")
    if apart:
        shown.add_column(f"of {apart[0].place}")
    for one in found:
        row = [one.kind, one.what, _short(one.first), _short(one.second)]
        shown.add_row(*row, *([RANKS[one.rank]] if apart else []))
    if found:
        console().print(shown)
    elif apart:
        console().say("nothing that is recorded differs: not the data, code, settings, environment or processor")


def _short(value: str) -> str:
    """A value in a cell; of a digest, its beginning."""
    return value[:12] if len(value) == 64 and value.isalnum() else value if len(value) <= 60 else f"{value[:57]}..."
