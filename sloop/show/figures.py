"""Figures of results: pure functions from records to plotly figures. What a run shows of itself stands in `pages`.

Shares are shown in per cent, every interval is one of 95%. Colours are those of Okabe and Ito, which colour-blind
readers can tell apart; series differ in their marker as well. No figure has colours of its own for background or text:
they come from a template, `LIGHT` or `DARK`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from sloop.measures.metrics import worth_showing
from sloop.measures.stats import Comparison, rate
from sloop.records import Grade, Score
from sloop.runs.exchange import LOWER_IS_BETTER

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
LOWER = "↓"
MOST_KINDS = len(COLOURS) - 1
"""Kinds of error with a colour of their own; the rarer ones are summed up under the last colour."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def _theme(paper: str, text: str, grid: str) -> dict[str, Any]:
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": text,
        "zeroline": False,
        "automargin": True,
        "ticks": "",
    }
    return {
        "layout": {
            "font": {"family": FONT, "size": 13, "color": text},
            "paper_bgcolor": paper,
            "plot_bgcolor": paper,
            "colorway": list(COLOURS),
            "xaxis": axis,
            "yaxis": axis,
            "title": {"x": 0, "xref": "container", "pad": {"l": 16}},
            "hoverlabel": {"align": "left"},
        },
        "data": {"bar": [{"type": "bar", "marker": {"line": {"color": paper, "width": 1}}}]},
    }


LIGHT = _theme("#ffffff", "#222222", "#dddddd")
DARK = _theme("#111418", "#dddddd", "#3a3f46")
"""plotly templates; a page puts the one in the place of the other as its reader prefers."""


def by_round(scores: Iterable[tuple[int, Score]], title: str) -> Figure:
    """Rounds x metrics: a panel a metric, a point a round, with its interval.

    Args:
        scores: (round, score); not shown are those of slices, those without a value, and what should not be where it
            never was.
        title: what they are scores of.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    points: dict[str, list[tuple[int, Score]]] = {}
    scores = list(scores)
    names = {score.name for score in worth_showing(score for _, score in scores)}
    for number, score in scores:
        if score.name in names and not score.slice and score.value is not None:
            points.setdefault(score.name, []).append((number, score))
    shown = {name: rows for name, rows in points.items() if any(_tells(score) for _, score in rows)}
    columns = min(3, len(shown)) or 1
    lines = -(-len(shown) // columns) or 1
    figure = make_subplots(
        rows=lines,
        cols=columns,
        subplot_titles=[_plain(said(name)) for name in shown],
        horizontal_spacing=0.08,
        vertical_spacing=0.3 / lines,
    )
    for place, rows in enumerate(shown.values()):
        measured = [score for _, score in rows]
        figure.add_trace(
            Scatter(
                x=[number for number, _ in rows],
                y=[_per_cent(score.value) for score in measured],
                error_y=_bars(measured),
                customdata=[_interval(score) for score in measured],
                hovertemplate="round %{x}: %{customdata}<extra></extra>",
                mode="lines+markers",
                cliponaxis=False,
                line={"color": COLOURS[0], "width": 2},
                marker={"size": 8},
                showlegend=False,
            ),
            row=place // columns + 1,
            col=place % columns + 1,
        )
    numbers = sorted({number for rows in shown.values() for number, _ in rows})
    ticks = {"dtick": 1} if len(numbers) <= 10 else {}
    ends = [min(numbers, default=1) - 0.3, max(numbers, default=1) + 0.3]
    figure.update_xaxes(title={"text": "round", "standoff": 4}, range=ends, **ticks)
    figure.update_yaxes(rangemode="tozero", title={"text": "per cent", "standoff": 4}, col=1)
    figure.update_yaxes(rangemode="tozero")
    about = _about("with 95% intervals; every panel has a scale of its own", [said(name) for name in shown])
    figure = _finished(figure, title, about, 150 + 240 * lines)
    return figure.update_layout(margin={"t": 120})


def heat_map(scores: Iterable[Score], title: str) -> Figure:
    """Metrics x slices, the values written in the cells; a cell stays empty where a metric asks nothing of a slice."""
    from plotly.graph_objects import Figure, Heatmap

    cells = {(score.name, score.slice): score for score in worth_showing(scores) if score.value is not None}
    in_slices = {name for (name, part), score in cells.items() if part and _tells(score)}
    names = [name for name in dict.fromkeys(name for name, _ in cells) if name in in_slices]
    slices = ["", *dict.fromkeys(part for _, part in cells if part)]
    across, down = ["all", *map(_plain, slices[1:])], [_plain(said(name)) for name in names]
    rows = [[cells.get((name, part)) for part in slices] for name in names]
    told = [
        [f"{label}, {part}<br>{_interval(score)}" if score else "" for part, score in zip(across, row, strict=True)]
        for label, row in zip(down, rows, strict=True)
    ]
    figure = Figure(
        Heatmap(
            x=list(range(len(across))),
            y=list(range(len(down))),
            z=[[_per_cent(score.value) if score else None for score in row] for row in rows],
            customdata=told,
            texttemplate="%{z:.1f}",
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            colorscale="Cividis",
            zmin=0,
            zmax=100,
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": "per cent"}, "outlinewidth": 0, "thickness": 14},
        )
    )
    for axis, labels in ((figure.layout.xaxis, across), (figure.layout.yaxis, down)):  # by place: two may read the same
        axis.update(
            tickmode="array", tickvals=list(range(len(labels))), ticktext=labels, showgrid=False, showline=False
        )
    figure.update_xaxes(title={"text": "slice"})
    figure.update_yaxes(autorange="reversed", ticklabelstandoff=8)
    about = _about("95% interval and n: point at a cell", [said(name) for name in names])
    return _finished(figure, title, about, 190 + 42 * len(names))


def error_kinds(grades: Mapping[str, Sequence[Grade]], title: str) -> Figure:
    """Why answers are wrong: for several sets of grades (rounds, say) stacked columns, for one a bar a kind.

    Args:
        grades: by the name of their set; see `error_kind`.
        title: what they are grades of.
    """
    from plotly.graph_objects import Bar, Figure

    counts = {name: Counter(filter(None, map(error_kind, graded))) for name, graded in grades.items()}
    total: Counter[str] = sum(counts.values(), Counter())
    ordered = [kind for kind, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))]
    if len(counts) == 1:
        ((_, graded),) = grades.items()
        found = [rate(kind, ((g.cluster, int(error_kind(g) == kind), 1) for g in graded)) for kind in ordered]
        figure = dots({"": found}, title, [_words(score.name) for score in found])
        return figure.update_xaxes(title={"text": "per cent of the samples"})
    kept, rare = ordered[:MOST_KINDS], ordered[MOST_KINDS:]
    if len(rare) == 1:
        kept, rare = ordered, []
    bars = [(_plain(_words(kind)), [kind], colour) for kind, colour in zip(kept, COLOURS, strict=False)]
    if rare:
        bars.append(("other", rare, COLOURS[-1]))
    figure = Figure()
    for name, kinds, colour in bars:
        numbers = [sum(count[kind] for kind in kinds) for count in counts.values()]
        shares = [100 * number / max(1, len(graded)) for number, graded in zip(numbers, grades.values(), strict=True)]
        figure.add_trace(
            Bar(
                name=name,
                x=list(counts),
                y=shares,
                customdata=[
                    f"{number} of {len(graded)}" for number, graded in zip(numbers, grades.values(), strict=True)
                ],
                texttemplate="%{y:.1f}",
                textposition="inside",
                insidetextanchor="middle",
                hovertemplate="%{fullData.name}<br>%{x}: %{y:.1f}%, %{customdata}<extra></extra>",
                marker={"color": colour},
            )
        )
    figure.update_layout(
        barmode="stack", bargap=0.35, legend={"traceorder": "reversed"}, uniformtext={"minsize": 9, "mode": "hide"}
    )
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(title={"text": "per cent of the samples"})
    about = "a column is as high as the share of wrong and missing answers"
    about += f"; other: {', '.join(map(_words, rare))}" if rare else ""
    return _finished(figure, title, about, 460)


def error_kind(grade: Grade) -> str | None:
    """Why an answer is wrong: the code that its reason begins with, or the official error whole.

    Returns:
        ``no_answer`` where there is none to be wrong; None where it is right.
    """
    if grade.correct:
        return None
    if grade.error == "model":
        return "no_answer"
    reason = grade.reason or grade.error or "other"
    return reason if grade.official is False else reason.partition(":")[0]


def dots(series: Mapping[str, Sequence[Score]], title: str, labels: Sequence[str]) -> Figure:
    """A line a label, a point with its interval for each of some series.

    Args:
        series: by name, a score for each label, in their order; one without a value has no point.
        title: what they are scores of.
        labels: of the lines, from the top.
    """
    from plotly.graph_objects import Figure, Scatter

    figure = Figure()
    for k, (name, scores) in enumerate(series.items()):
        shift = (k - (len(series) - 1) / 2) * 0.5 / len(series)
        rows = [(place + shift, labels[place], score) for place, score in enumerate(scores) if score.value is not None]
        measured = [score for _, _, score in rows]
        figure.add_trace(
            Scatter(
                name=name,
                x=[_per_cent(score.value) for score in measured],
                y=[place for place, _, _ in rows],
                error_x=_bars(measured),
                customdata=[[_plain(label), _interval(score)] for _, label, score in rows],
                hovertemplate="%{customdata[0]}<br>%{customdata[1]}<extra>%{fullData.name}</extra>",
                mode="markers",
                cliponaxis=False,
                marker={"size": 9, "symbol": MARKERS[k % len(MARKERS)], "color": COLOURS[k % len(COLOURS)]},
                showlegend=len(series) > 1,
            )
        )
    figure.update_xaxes(rangemode="tozero", title={"text": "per cent"})
    _lines(figure, labels)
    return _finished(figure, title, _about("with 95% intervals", labels), 160 + (26 + 12 * len(series)) * len(labels))


def forest(lines: Sequence[tuple[str, Comparison, float | None]], title: str, sides: str, chance: str) -> Figure:
    """A line a comparison: how much A is above B, with its interval, beside the line of no difference.

    Args:
        lines: (what is compared, what was found, the p-value to show), from the top.
        title: what was measured.
        sides: what A and B are.
        chance: what the p-values are called.
    """
    from plotly.graph_objects import Figure, Scatter

    found = [comparison for _, comparison, _ in lines]
    figure = Figure(
        Scatter(
            x=[100 * row.delta for row in found],
            y=list(range(len(found))),
            error_x={
                "type": "data",
                "array": [100 * (row.high - row.delta) for row in found],
                "arrayminus": [100 * (row.delta - row.low) for row in found],
                "thickness": 2,
                "width": 5,
            },
            customdata=[[f"{100 * row.a:.1f}", f"{100 * row.b:.1f}", row.n] for row in found],
            hovertemplate="A %{customdata[0]}%, B %{customdata[1]}%, n = %{customdata[2]}<extra></extra>",
            mode="markers",
            marker={"size": 10, "symbol": "square", "color": COLOURS[0]},
            showlegend=False,
        )
    )
    for place, (_, row, p) in enumerate(lines):
        text = f"{100 * row.delta:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        text += "" if p is None else f"  {chance} = {p:.2g}"
        figure.add_annotation(
            x=1.02, xref="paper", xanchor="left", y=place, yref="y", text=text, showarrow=False, align="left"
        )
    figure.update_xaxes(zeroline=True, zerolinewidth=1, title={"text": "A - B, percentage points"})
    _lines(figure, [what for what, _, _ in lines])
    figure = _finished(figure, title, f"{sides}; with 95% intervals", 170 + 38 * len(lines))
    return figure.update_layout(margin={"r": 300})


def said(name: str) -> str:
    """A metric's name in words, without where it was measured."""
    return _words(_last(name)) + (f" {LOWER}" if _last(name) in LOWER_IS_BETTER else "")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _words(name: str) -> str:
    return name.replace("_", " ").replace(":", ": ")


def _tells(score: Score) -> bool:
    """Whether there is something to see: a share of what should be is told even where it is 0."""
    return bool(score.value) or _last(score.name) not in LOWER_IS_BETTER


def _about(subtitle: str, labels: Sequence[str]) -> str:
    return subtitle + (f"; {LOWER} lower is better" if any(LOWER in label for label in labels) else "")


def _lines(figure: Figure, labels: Sequence[str]) -> None:
    """Labels of horizontal lines, the first on top; by place, because two may read the same."""
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(labels))),
        ticktext=list(map(_plain, labels)),
        ticklabelstandoff=8,
        range=[len(labels) - 0.5, -0.5],
        showgrid=False,
    )


def _finished(figure: Figure, title: str, subtitle: str, height: int) -> Figure:
    return figure.update_layout(
        template=LIGHT,
        title={"text": _plain(title), "subtitle": {"text": _plain(subtitle)}},
        height=height,
        margin={"t": 90, "b": 60, "l": 70, "r": 30},
    )


def _plain(name: str) -> str:
    """A name that reads as it is spelled, where plotly would take <b> for an order to write in bold."""
    return escape(name, quote=False)


def _per_cent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _interval(score: Score) -> str:
    value = f"{100 * (score.value or 0.0):.1f}%"
    doubt = "" if score.low is None or score.high is None else f" [{100 * score.low:.1f}, {100 * score.high:.1f}]"
    return f"{value}{doubt}, n = {score.n}"


def _bars(scores: Sequence[Score]) -> dict[str, Any]:
    """Error bars as plotly takes them, of scores that have values; none, of length 0, where a score has no interval."""
    up, down = [], []
    for score in scores:
        value = score.value or 0.0
        up.append(100 * ((value if score.high is None else score.high) - value))
        down.append(100 * (value - (value if score.low is None else score.low)))
    return {"type": "data", "array": up, "arrayminus": down, "thickness": 1.5, "width": 4}
