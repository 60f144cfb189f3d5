"""The story of a sample: everything that a run says about it, found by an index."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from sloop.records import Grade, Judgement, Lineage, Message, Prediction, Record, Ruling, Sample, Tool, UserError
from sloop.runs import index as indexed
from sloop.runs.find import find_run
from sloop.runs.index import INDEX_FILE, Index, Place, row_at
from sloop.runs.read import Run
from sloop.store import read_rows, write_rows

TOOL = Tool(name="look", parameters={"type": "object", "properties": {}})


def _sample(request: str, *parents: str) -> Sample:
    lineage = Lineage(parents=parents, axis="values" if parents else None)
    return Sample(tools=(TOOL,), messages=(Message(role="user", content=request),), lineage=lineage)


def _grade(sample_id: str) -> Grade:
    return Grade(
        sample_id=sample_id, cluster="c", slice="", calls_expected=True, attempted=True, parsed=True, schema_valid=True,
        tool_correct=True, argument_pairs=(0, 0), correct=True, error=None, reason=None,
    )  # fmt: skip


@pytest.fixture
def run(outputs: Path, tmp_path: Path) -> Run:
    """A finished loop that a test may change."""
    folder = shutil.copytree(outputs / "acme" / "full0", tmp_path / "full0", ignore=shutil.ignore_patterns(INDEX_FILE))
    return find_run(tmp_path, str(folder))


def _about(run: Run, name: str, kind: type, sample_id: str) -> list[tuple[str, object]]:
    """The same, by reading every file."""
    return [
        (str(path.relative_to(run.folder)), row)
        for path in sorted(run.folder.rglob(name))
        for row in read_rows(path, kind)
        if row.sample_id == sample_id
    ]


def _ruled(run: Run) -> str:
    return next(read_rows(run.folder / "round_1" / "optimize" / "rulings.jsonl", Ruling)).sample_id


def test_a_story_has_every_line_about_its_sample(run: Run) -> None:
    asked = next(read_rows(run.folder / "round_1" / "evaluate" / "dev" / "grades.jsonl", Grade)).sample_id
    for sample_id in (_ruled(run), asked):
        story = run.sample(sample_id[:20])
        assert story.id == story.sample.id == sample_id
        found = {
            ("predictions.jsonl", Prediction): story.answers,
            ("grades.jsonl", Grade): story.grades,
            ("judgements.jsonl", Judgement): story.judgements,
            ("rulings.jsonl", Ruling): story.rulings,
        }
        for (name, kind), told in found.items():
            assert [(line.file, line.row) for line in told] == _about(run, name, kind, sample_id)
    assert len(run.sample(asked).grades) == 2


def test_the_label_is_told_for_every_round_that_trained_on_it(run: Run) -> None:
    ruling = next(
        ruling
        for ruling in read_rows(run.folder / "round_1" / "optimize" / "rulings.jsonl", Ruling)
        if ruling.outcome == "LABEL_WRONG" and ruling.new is not None
    )
    labels = run.sample(ruling.sample_id).labels
    assert labels[1] == ruling.old
    assert labels.get(2, ruling.new) == ruling.new


def test_one_set_may_serve_several_rounds(outputs: Path) -> None:
    static = find_run(outputs, str(outputs / "acme" / "static0"))
    first = next(read_rows(static.folder / static.rounds[0].data.path, Sample))
    assert static.sample(first.id).labels == {1: first.label, 2: first.label}


def test_children_and_parents_find_each_other(run: Run) -> None:
    child = next(read_rows(run.folder / "round_1" / "optimize" / "expanded.jsonl", Sample))
    (parent,) = run.sample(child.id).parents
    assert child in run.sample(parent.id).children


def test_only_the_lines_about_the_sample_are_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_id = _ruled(run)
    run.sample(sample_id)
    read: Counter[Path] = Counter()

    def counted(place: Place, kind: type[Record], sample_id: str) -> Record:
        read[place.path] += 1
        return row_at(place, kind, sample_id)

    def refuse(path: Path) -> Iterable[object]:
        raise AssertionError(f"{path} was read from end to end")

    monkeypatch.setattr("sloop.runs.story.row_at", counted)
    monkeypatch.setattr(indexed, "_rows", refuse)
    story = run.sample(sample_id)
    assert 0 < read.total() < 40
    assert story.rulings


def test_what_nobody_may_see_is_in_no_index(run: Run) -> None:
    with Index(run.folder) as index:
        found = {place.path.name for sample_id in index.ids("") for place in index.words(sample_id)}
    assert "truth.jsonl" not in found
    assert "rulings.jsonl" in found


def test_an_index_follows_files_that_change_come_and_go(tmp_path: Path) -> None:
    one, other = _sample("one"), _sample("another")
    write_rows(tmp_path / "train.jsonl", [one])
    with Index(tmp_path) as index:
        assert index.ids("") == [one.id]
    write_rows(tmp_path / "train.jsonl", [other, one])
    write_rows(tmp_path / "probe" / "grades.jsonl", [_grade(one.id)])
    with Index(tmp_path) as index:
        assert index.ids("") == sorted([one.id, other.id])
        assert [row_at(place, Sample, one.id) for place in index.samples(one.id)] == [one]
        assert [place.path.name for place in index.words(one.id)] == ["grades.jsonl"]
    (tmp_path / "train.jsonl").unlink()
    with Index(tmp_path) as index:
        assert index.samples(one.id) == []
        assert index.ids("") == [one.id]


def test_files_from_outside_are_known_by_content_and_forgotten_with_the_file(tmp_path: Path) -> None:
    given, run = tmp_path / "given.jsonl.gz", tmp_path / "run"
    run.mkdir()
    sample = _sample("one")
    with gzip.open(given, "wt") as file:
        file.write('{"sample_id": "none"}\n' + sample.model_dump_json().replace("{", '{"id": "their own", ', 1) + "\n")
    for _ in range(2):
        with Index(run) as index:
            index.add(given)
            assert index.ids("") == [sample.id]
            (place,) = index.samples(sample.id)
            assert row_at(place, Sample, sample.id) == sample
    with Index(run) as index:
        assert index.ids("") == []


@pytest.mark.parametrize("there", ["folder", "text"])
def test_where_no_index_can_be_kept_it_is_made_in_memory(there: str, tmp_path: Path) -> None:
    path = tmp_path / INDEX_FILE
    if there == "folder":
        path.mkdir()
    else:
        path.write_text("no database, and long enough to be seen as none " * 30)
    write_rows(tmp_path / "train.jsonl", [_sample("one"), _sample("two", _sample("one").id)])
    with Index(tmp_path) as index:
        assert index.children(_sample("one").id) == [_sample("two").id]


def test_a_line_that_is_being_written_is_passed_over(tmp_path: Path) -> None:
    write_rows(tmp_path / "grades.jsonl", [_grade("a"), _grade("b")])
    whole = (tmp_path / "grades.jsonl").read_text()
    (tmp_path / "grades.jsonl").write_text(whole[:-20])
    with Index(tmp_path) as index:
        assert index.ids("") == ["a"]


def test_an_id_that_several_samples_begin_with_or_none_is_refused(run: Run) -> None:
    with pytest.raises(UserError, match="samples have ids that begin with ''"):
        run.sample("")
    with pytest.raises(UserError, match="no sample has an id that begins with 'zz'"):
        run.sample("zz")
