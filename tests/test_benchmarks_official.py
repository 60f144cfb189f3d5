"""What benchmarks with rules of their own share: their means, and what they lack."""

from __future__ import annotations

import pytest

from sloop.benchmarks.official import Aggregates, lacking, official_scores
from sloop.records import Grade, Score

AGGREGATES: Aggregates = {"by_entry": (("a", "b", "c"), True), "by_category": (("a", "b", "c"), False)}


def _graded(category: str, right: int, of: int) -> list[Grade]:
    return [
        Grade(
            sample_id=f"{category}{k}",
            cluster=f"{category}{k}",
            slice=category,
            calls_expected=True,
            attempted=True,
            parsed=True,
            schema_valid=True,
            tool_correct=True,
            argument_pairs=(0, 0),
            correct=k < right,
            error=None,
            reason=None,
            official=k < right,
        )
        for k in range(of)
    ]


def _scores(graded: list[Grade], sound: list[Grade] | None = None) -> dict[tuple[str, str], Score]:
    found = official_scores(graded, sound, ["a", "b"], AGGREGATES)
    return {(score.name, score.slice): score for score in found}


def test_a_mean_weighs_entries_or_categories() -> None:
    found = _scores([*_graded("a", 9, 9), *_graded("b", 0, 1)])
    assert found["by_entry", ""].value == pytest.approx(0.9)
    assert found["by_category", ""].value == pytest.approx(0.5)
    assert {score.n for name, score in found.items() if not name[1]} == {10}


def test_a_mean_of_categories_of_the_same_scenes_is_no_surer_than_one_of_them() -> None:
    alone, twin = _graded("a", 6, 10), _graded("b", 6, 10)
    same = [b.model_copy(update={"cluster": a.cluster}) for a, b in zip(alone, twin, strict=True)]
    mixed = [*same[1::2], *same[::2]]
    other = [b.model_copy(update={"cluster": a.cluster}) for a, b in zip(alone, mixed, strict=True)]
    one = _scores(alone)["official_accuracy", "a"]
    assert one.low is not None
    assert one.high is not None
    half = (one.high - one.low) / 2
    for beside, width in ((same, 1.0), (twin, 0.5**0.5), (other, 0.764)):
        mean = _scores([*alone, *beside])["by_category", ""]
        assert mean.high is not None
        assert mean.high - 0.6 == pytest.approx(width * half, rel=0.001)


def test_the_accuracy_without_bad_entries_is_given_where_there_are_some() -> None:
    graded = _graded("a", 3, 4)
    assert ("official_accuracy_without_known_bad", "") not in _scores(graded)
    assert _scores(graded, graded[:3])["official_accuracy_without_known_bad", ""].value == 1.0


def test_what_a_mean_lacks_is_told_where_a_part_of_it_was_run() -> None:
    assert [note.partition(";")[0] for note in lacking(AGGREGATES, ["a", "b"])] == [
        "by_entry lacks c",
        "by_category lacks c",
    ]
    assert lacking(AGGREGATES, ["a", "b", "c"]) == lacking(AGGREGATES, ["d"]) == []
