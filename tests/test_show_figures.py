"""Figures: what is drawn is what was measured, with its interval."""

from __future__ import annotations

import re

import pytest

from sloop.measures.stats import compare_paired
from sloop.records import Grade, Score
from sloop.show.figures import COLOURS, DARK, LIGHT, by_round, dots, error_kind, error_kinds, forest, heat_map, said


def _score(name, value, slice="", half=0.1):
    """Twice as uncertain below as above."""
    if value is None:
        return Score(name=name, value=None, n=0, slice=slice)
    return Score(name=name, value=value, n=50, low=value - 2 * half, high=value + half, slice=slice)


def _grade(sample_id, *, correct=False, reason=None, error=None, official=None):
    return Grade(
        sample_id=sample_id,
        cluster=sample_id,
        slice="",
        calls_expected=True,
        attempted=True,
        parsed=True,
        schema_valid=True,
        tool_correct=correct,
        argument_pairs=(0, 0),
        correct=None if error == "model" else correct,
        error=error,
        reason=reason,
        official=official,
    )


def _graded(**numbers):
    """So many wrong answers of each reason, and the rest of a hundred right."""
    wrong = [_grade(f"{reason}{k}", reason=f"{reason}:x") for reason, number in numbers.items() for k in range(number)]
    return wrong + [_grade(f"right{k}", correct=True) for k in range(100 - len(wrong))]


def test_rounds_have_a_panel_a_metric_and_a_point_with_its_interval_a_round():
    rows = [(number, _score(name, number / 10)) for number in (1, 2) for name in ("eval/b/call_accuracy", "noise")]
    figure = by_round(rows, "title")
    assert len(figure.data) == 2
    for trace in figure.data:
        assert list(trace.x) == [1, 2]
        assert list(trace.y) == pytest.approx([10, 20])
        assert list(trace.error_y.array) == pytest.approx([10, 10])
        assert list(trace.error_y.arrayminus) == pytest.approx([20, 20])
    assert [note.text for note in figure.layout.annotations] == ["call accuracy", "noise"]


def test_rounds_leave_out_slices_and_what_was_never_measured():
    rows = [(1, _score("a", 0.5)), (1, _score("b", 0.5, "seen")), (1, _score("c", None))]
    assert [note.text for note in by_round(rows, "title").layout.annotations] == ["a"]


def test_a_share_of_0_is_shown_unless_it_is_one_of_mistakes():
    scores = [_score(f"eval/b/{name}", 0.0, part) for name in ("call_accuracy", "model_errors") for part in ("", "x")]
    rounds = by_round([(1, score) for score in scores], "title")
    assert [note.text for note in rounds.layout.annotations] == ["call accuracy"]
    assert list(heat_map(scores, "title").layout.yaxis.ticktext) == ["call accuracy"]


def test_the_heat_map_has_a_cell_for_each_metric_and_slice_and_none_where_nothing_is_asked():
    scores = [_score("a", 0.5), _score("a", 0.25, "x"), _score("a", 0.75, "y"), _score("b", 1.0), _score("b", 1.0, "y")]
    figure = heat_map([*scores, _score("b", None, "x"), _score("whole", 0.5)], "title")
    (trace,), across, down = figure.data, figure.layout.xaxis, figure.layout.yaxis
    assert (list(across.ticktext), list(down.ticktext)) == (["all", "x", "y"], ["a", "b"])
    assert (list(trace.x), list(trace.y)) == (list(across.tickvals), list(down.tickvals)) == ([0, 1, 2], [0, 1])
    assert [list(row) for row in trace.z] == [[50, 25, 75], [100, None, 100]]
    assert trace.customdata[0][1] == "a, x<br>25.0% [5.0, 35.0], n = 50"


def test_a_slice_called_all_has_a_column_beside_that_of_all_samples():
    scores = [_score("eval/b/reward/said", 0.5), _score("eval/b/reward/said", 0.25, "all")]
    figure = heat_map([*scores, *(row.model_copy(update={"name": "eval/b/measured/said"}) for row in scores)], "title")
    assert list(figure.layout.xaxis.ticktext) == ["all", "all"]
    assert list(figure.layout.yaxis.ticktext) == ["said", "said"]
    assert len(set(figure.data[0].x)) == len(set(figure.data[0].y)) == 2, "plotly puts what has one name in one place"


@pytest.mark.parametrize(
    ("grade", "kind"),
    [
        (_grade("a", correct=True), None),
        (_grade("a", reason="missing_call:send"), "missing_call"),
        (_grade("a", reason="format: the output is not a readable call", error="format"), "format"),
        (_grade("a", error="model"), "no_answer"),
        (_grade("a"), "other"),
        (_grade("a", reason="value_error:string", official=False), "value_error:string"),
        (_grade("a", reason="value:send.amount", official=True), "value"),
    ],
)
def test_a_wrong_answer_is_of_the_kind_that_its_reason_begins_with(grade, kind):
    assert error_kind(grade) == kind


def test_errors_are_stacked_to_the_share_of_wrong_answers():
    few = [_grade("a", reason="value:x"), *(_grade(name, correct=True) for name in "bcd")]
    figure = error_kinds({"round 1": _graded(value=30, type=10), "round 2": few}, "title")
    assert {trace.name: list(trace.y) for trace in figure.data} == {"value": [30, 25], "type": [10, 0]}
    assert figure.layout.barmode == "stack"


def test_the_rarest_kinds_of_error_share_a_colour_and_are_named():
    many = {f"kind{k}": 10 - k for k in range(9)}
    figure = error_kinds({"round 1": _graded(**many), "round 2": _graded(**many)}, "title")
    assert [trace.name for trace in figure.data][-1] == "other"
    assert sum(trace.y[0] for trace in figure.data) == pytest.approx(sum(many.values()))
    assert "other: kind6, kind7, kind8" in figure.layout.title.subtitle.text
    assert len({trace.marker.color for trace in figure.data}) == len(figure.data) == len(COLOURS)


def test_the_errors_of_one_evaluation_have_intervals():
    (trace,) = error_kinds({"": _graded(value=30, type=10)}, "title").data
    assert list(trace.x) == pytest.approx([30, 10])
    assert min(*trace.error_x.array, *trace.error_x.arrayminus) > 2


def test_an_error_that_is_named_with_a_slash_is_named_whole():
    wrong = [_grade("a", reason="value_error:list/tuple", official=False)]
    assert error_kinds({"": wrong}, "title").layout.yaxis.ticktext == ("value error: list/tuple",)
    assert error_kinds({"1": wrong, "2": wrong}, "title").data[0].name == "value error: list/tuple"


def test_no_errors_give_a_figure_without_points():
    assert not error_kinds({"": _graded()}, "title").data[0].x


def test_series_of_dots_stand_apart_and_a_missing_score_has_no_point():
    figure = dots({"a": [_score("m", 0.5), _score("m", 0.2)], "b": [_score("m", None), _score("m", 0.1)]}, "t", "xy")
    assert [len(trace.y) for trace in figure.data] == [2, 1]
    assert len({y for trace in figure.data for y in trace.y}) == 3
    assert len({trace.marker.symbol for trace in figure.data}) == 2
    assert list(figure.layout.yaxis.ticktext) == ["x", "y"]


def test_a_forest_shows_each_difference_its_interval_and_p():
    a, b = ({str(k): k < right for k in range(100)} for right in (70, 50))
    found = compare_paired(a, b)
    figure = forest([("all", found, found.p_value), ("again", found, None)], "title", "A = a, B = b", "p (Holm)")
    (trace,) = figure.data
    assert list(trace.x) == pytest.approx([20, 20])
    assert trace.error_x.array[0] == pytest.approx(100 * (found.high - found.delta))
    assert trace.error_x.arrayminus[0] == pytest.approx(100 * (found.delta - found.low))
    first, second = (note.text for note in figure.layout.annotations)
    assert first.startswith(f"+20.0 [{100 * found.low:+.1f}, {100 * found.high:+.1f}]")
    assert "p (Holm) = " in first
    assert "p" not in second
    assert figure.layout.xaxis.zeroline


@pytest.mark.parametrize(
    ("name", "words"), [("eval/b/call_accuracy", "call accuracy"), ("data/label_noise", "label noise ↓")]
)
def test_names_are_said_in_words_and_marked_where_lower_is_better(name, words):
    assert said(name) == words
    subtitle = dots({"": [_score(name, 0.5)]}, "title", [words]).layout.title.subtitle.text
    assert ("lower is better" in subtitle) == ("↓" in words)


def test_names_read_as_they_are_spelled():
    score = _score("a", 0.5, "R&D <b>")
    across = heat_map([_score("a", 0.5), score], "title").layout.xaxis.ticktext
    figure = dots({"": [score]}, "<b>", [score.slice])
    spelled = "R&amp;D &lt;b&gt;"
    assert (across[1], figure.layout.yaxis.ticktext[0], figure.data[0].customdata[0][0]) == (spelled,) * 3
    assert figure.layout.title.text == "&lt;b&gt;"


def _luminance(colour):
    parts = [int(part, 16) / 255 for part in re.findall("..", colour.removeprefix("#"))]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_and_text_stand_out_from_the_background(theme):
    """WCAG 2.1 asks for 3:1 of what is drawn, 4.5:1 of text."""
    layout = theme["layout"]
    assert min(_contrast(colour, layout["paper_bgcolor"]) for colour in COLOURS[:3]) > 3
    assert _contrast(layout["font"]["color"], layout["paper_bgcolor"]) > 4.5
