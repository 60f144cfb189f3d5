"""What a run shows of itself: its figures, on one page that needs no network or as image files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sloop.measures.constants import constant_of
from sloop.records import Score, UserError
from sloop.runs.read import Run
from sloop.show.figures import DARK, LIGHT, by_round, dots, error_kinds, heat_map, said
from sloop.store import write_bytes

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FORMS = ("html", "svg", "png")
HEADLINE = "call_accuracy"
"""The metric that is shown slice by slice with its intervals."""
NOISE = "data/label_noise"
IMAGE_WIDTH = 1000
STYLE = """body { margin: 0 auto; min-width: 720px; max-width: 1100px; padding: 0 16px; }
body { background: #ffffff; color: #222222; }
.plotly-graph-div { margin: 24px 0; }
@media (prefers-color-scheme: dark) { body { background: #111418; color: #dddddd; } }"""
# A page stands as easily in a frame of MLflow's as by itself: it asks the browser what its reader prefers.
THEME = """const dark = matchMedia("(prefers-color-scheme: dark)");
const themes = {false: %s, true: %s};
const paint = () => document.querySelectorAll(".plotly-graph-div")
  .forEach(figure => Plotly.relayout(figure, {template: themes[dark.matches]}));
dark.addEventListener("change", paint);
if (dark.matches) paint();"""


def figures_of(run: Run, round: int | None = None) -> dict[str, Figure]:
    """The figures of a loop, or of an evaluation, by names that are fit for files.

    Of each benchmark: ``rounds`` (metrics by round, of a loop) or ``metrics``; ``heat_map`` (metrics x slices);
    ``errors`` (kinds of wrong answers); ``slices`` (the accuracy of each slice, with intervals).

    Args:
        run: with what it has on disk.
        round: of a loop, to be shown by itself; None: all rounds, or where there is place for one, the last.

    Returns:
        None at all for a stage that evaluates nothing, or a loop without a complete round.
    """
    measured = _measured(run, round)
    benchmarks = dict.fromkeys(
        score.name.split("/")[1] for scores in measured.values() for score in scores if score.name.startswith("eval/")
    )
    found: dict[str, Figure] = {}
    for benchmark in benchmarks:
        prefix = re.sub(r"\W", "-", benchmark) + "_" if len(benchmarks) > 1 else ""
        drawn = _of_benchmark(run, benchmark, measured)
        found |= {f"{prefix}{name}": figure for name, figure in drawn.items()}
    return found


def _measured(run: Run, round: int | None) -> dict[int, list[Score]]:
    """Scores by round; those of an evaluation under 0."""
    if run.record.kind == "eval":
        return {0: list(run.record.metrics)}
    return {found.round: list(found.metrics) for found in run.rounds if round in (None, found.round)}


def _of_benchmark(run: Run, benchmark: str, measured: Mapping[int, list[Score]]) -> dict[str, Figure]:
    shares = {number: list(_shares(scores, benchmark)) for number, scores in measured.items()}
    first, *_, last = [min(shares), max(shares)]
    rounds = {number: f"round {number}" if run.record.is_loop else "" for number in sorted(shares)}
    where = {number: f"{run.name}, {told}" if told else run.name for number, told in rounds.items()}
    whose = where[last] if first == last else run.name
    found: dict[str, Figure] = {}
    if len(shares) > 1:
        rows = ((number, score) for number, scores in shares.items() for score in scores)
        found["rounds"] = by_round(rows, f"{run.name}: {benchmark} by round")
    else:
        overall = [score for score in shares[last] if not score.slice]
        names = [said(score.name) for score in overall]
        found["metrics"] = dots({"": overall}, f"{where[last]}: {benchmark}", names)
    of_benchmark = [score for score in shares[last] if score.name.startswith("eval/")]
    if any(score.slice for score in of_benchmark):
        found["heat_map"] = heat_map(of_benchmark, f"{where[last]}: {benchmark} by slice")
    if slices := [score.slice for score in of_benchmark if score.slice and score.name.endswith(f"/{HEADLINE}")]:
        series = {
            rounds[number]: [_of_slice(shares[number], benchmark, part) for part in slices]
            for number in dict.fromkeys((first, last))
        }
        found["slices"] = dots(series, f"{whose}: {said(HEADLINE)} by slice of {benchmark}", slices)
    grades = {told: list(run.grades(benchmark, number).values()) for number, told in rounds.items()}
    found["errors"] = error_kinds(grades, f"{whose}: wrong answers on {benchmark}")
    return found


def _shares(scores: Iterable[Score], benchmark: str) -> Iterable[Score]:
    """What was measured on a benchmark as a share with its interval, which may reach beyond 0 or 1 where it is that of
    a mean; last the noise of the labels trained on.
    """
    for score in sorted(scores, key=lambda score: score.name == NOISE):
        named = score.name.startswith(f"eval/{benchmark}/") and not constant_of(score.name)
        named = named or (score.name == NOISE and not score.slice)
        if named and score.low is not None and score.value is not None and 0 <= score.value <= 1:
            yield score


def _of_slice(scores: Iterable[Score], benchmark: str, part: str) -> Score:
    name = f"eval/{benchmark}/{HEADLINE}"
    found = (score for score in scores if score.name == name and score.slice == part)
    return next(found, Score(name=name, value=None, n=0, slice=part))


def page(title: str, figures: Mapping[str, Figure]) -> str:
    """An HTML page with the figures and, once, all of plotly's script (5 MB): it opens without a network.

    The same figures give the same bytes.
    """
    from plotly.offline import get_plotlyjs

    settings = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"format": "svg"}}
    parts = "\n".join(
        figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=settings)
        for name, figure in figures.items()
    )
    theme = THEME % (json.dumps(LIGHT), json.dumps(DARK))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n<script>{get_plotlyjs()}</script>\n</head>\n<body>\n{parts}\n"
        f"<script>{theme}</script>\n</body>\n</html>\n"
    )


def page_of(run: Run) -> str:
    """A page with the figures of a run; empty where there is nothing to draw."""
    figures = figures_of(run)
    return page(run.name, figures) if figures else ""


def save(figures: Mapping[str, Figure], title: str, path: Path) -> None:
    """Write figures to a file; see `content`.

    Raises:
        UserError: there is no such form, what draws images is missing, or the file cannot be written.
    """
    made = content(figures, title, path)
    try:
        write_bytes(path, made)
    except OSError as error:
        raise UserError(f"{path}: this file cannot be written ({error.strerror}). Give another place.") from error


def content(figures: Mapping[str, Figure], title: str, path: Path) -> bytes:
    """What to write to a file: a page with all figures for ``.html``, an image of the only one for another ending.

    Raises:
        UserError: there is no such form, or what draws images is missing.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise UserError(f"{path}: figures are written as {', '.join(FORMS)}; give a name such as {path.stem}.html")
    if form == "html":
        return page(title, figures).encode()
    (figure,) = figures.values()
    return image(figure, form)


def image(figure: Figure, form: str) -> bytes:
    """A figure as ``svg`` or ``png``, drawn by kaleido in a Chrome or Chromium of this machine.

    Raises:
        UserError: one of the two is missing.
    """
    advice = f"{form} images need the package kaleido and a Chrome or Chromium: pip install kaleido. "
    advice += "Or write html: the camera above each figure of the page saves it as SVG."
    if find_spec("kaleido") is None:
        raise UserError(f"the package kaleido is not installed: {advice}")
    try:
        return bytes(figure.to_image(format=form, width=IMAGE_WIDTH, scale=2 if form == "png" else 1))
    except RuntimeError as error:
        raise UserError(f"no image could be drawn ({str(error).strip().splitlines()[0]}): {advice}") from error
