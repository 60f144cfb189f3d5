"""Figures of a sweep for print: a metric by round, a line a variant with its 95% interval, as PDF or SVG.

The same records give the same bytes: no date, no version, no random name stands in a file. Fonts are embedded as
TrueType (type 3 fonts, matplotlib's default, are refused by many venues), in SVG letters are outlines. Colours are
those of Okabe and Ito; lines differ in marker and dashes as well, so that they are told apart in grey.
"""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sloop.measures.seeds import Mean
from sloop.show.console import console
from sloop.show.figures import COLOURS, said
from sloop.show.sweeps import Sweep, mean, metrics, of_seeds, read, source
from sloop.store import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS = ("pdf", "svg", "png")
WIDTHS = {"column": 3.25, "text": 5.5, "page": 6.75}
"""In inches: a column and a page of two columns (ACL, ICML), a page of one (NeurIPS, ICLR)."""
MARKERS, DASHES = ("o", "s", "D", "^", "P", "X", "*"), ("-", "--", "-.", ":")
GREY = "#666666"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # matplotlib brings it: the same letters everywhere
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "sloop",
}
UNDATED = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "svg": {"Date": None, "Creator": None}}


class Series(NamedTuple):
    """A variant by round."""

    name: str
    points: Sequence[tuple[int, Mean]]


def of_sweep(sweep: Sweep, metric: str) -> dict[str, list[Series]]:
    """By student, the series of those of its variants that the metric was measured of."""
    panels: dict[str, list[Series]] = {}
    for (student, variant), seeds in sweep.arms.items():
        numbers = sorted({found.round for loop in seeds.values() for found in loop.record.rounds})
        known = ((number, mean(seeds.values(), sweep.benchmark, number, metric)) for number in numbers)
        points = [(number, value) for number, value in known if value]
        panel = panels.setdefault(student, [])
        panel += [Series(variant, points)] if points else []
    return panels


def by_round(
    panels: Mapping[str, Sequence[Series]], constants: Mapping[str, float], label: str, width: float
) -> Figure:
    """A panel a student, a line a variant; the band around it is the 95% interval.

    Args:
        panels: what to draw, by student.
        constants: what answers that read no question get (0 to 1), by what they are called: level lines.
        label: of the vertical axis.
        width: in inches.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(series.name for panel in panels.values() for series in panel))
    figure = Figure(figsize=(width, 0.62 * width / max(1, len(panels)) + 0.75), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (student, panel) in zip(axes, panels.items(), strict=True):
        for series in panel:
            place = names.index(series.name)
            rounds = [number for number, _ in series.points]
            ends = [
                (100 * (m.value if m.low is None else m.low), 100 * (m.value if m.high is None else m.high))
                for _, m in series.points
            ]
            axis.plot(
                rounds,
                [100 * found.value for _, found in series.points],
                color=COLOURS[place % len(COLOURS)],
                marker=MARKERS[place % len(MARKERS)],
                linestyle=DASHES[place % len(DASHES)],
                label=series.name,
            )
            axis.fill_between(rounds, *zip(*ends, strict=True), color=COLOURS[place % len(COLOURS)], alpha=0.15, lw=0)
        for place, (name, value) in enumerate(constants.items()):
            axis.axhline(100 * value, color=GREY, lw=0.8, ls=(0, (1 + 3 * place, 1.5)), label=name)
        axis.set_title(student)
        axis.set_xlabel("round")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(label)
    known = {name: line for axis in axes for line, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        known.values(), known.keys(), loc="outside lower center", ncols=max(1, int(width / 1.6)), frameon=False
    )
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its name ends in; the same figure gives the same bytes."""
    out = io.BytesIO()
    form = path.suffix[1:]
    figure.savefig(out, format=form, metadata=UNDATED.get(form, {"Software": None}), dpi=300)
    write_bytes(path, out.getvalue())


def plot(arguments: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Draw the figures of a sweep, a file a metric, and say what their bands are."""
    from matplotlib import rc_context

    parser.add_argument("study", nargs="?", default="", help="folder under --outputs (default: all)")
    parser.add_argument("--out", type=Path, help="folder for the files (default: plots/ in the study's folder)")
    parser.add_argument("--format", choices=FORMS, default="pdf", help="(default: pdf)")
    parser.add_argument("--width", choices=WIDTHS, default="column", help="(default: column, 3.25 inches)")
    parser.add_argument("--no-constants", action="store_true", help="leave out answers that read no question")
    source(parser)
    options = parser.parse_args(arguments)
    sweep = read(options)
    out = options.out or options.outputs / options.study / "plots"
    found: list[Mean] = []
    with rc_context(STYLE):
        for metric in metrics(options, sweep):
            panels = of_sweep(sweep, metric)
            drawn = {(student, series.name) for student, panel in panels.items() for series in panel}
            if lacking := [", ".join(arm) for arm in sweep.arms if arm not in drawn]:
                console().say(f"{metric} was not measured of, and is not drawn for: {'; '.join(lacking)}")
            if not drawn:
                continue
            found += [value for panel in panels.values() for series in panel for _, value in series.points]
            constants = {a: value for (a, name), value in sweep.constants.items() if name == metric}
            figure = by_round(
                panels, {} if options.no_constants else constants, f"{said(metric)}, %", WIDTHS[options.width]
            )
            path = out / f"{re.sub(r'[^A-Za-z0-9_]', '-', sweep.benchmark)}_{metric}.{options.format}"
            save(figure, path)
            console().say(f"figure: {path}")
    for note in of_seeds(found):
        console().say(note)
