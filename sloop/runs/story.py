"""The whole story of one sample of a run, told from the lines that are about it and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from sloop.measures.overlap import CONTAMINATION, Contaminated
from sloop.records import Grade, Judgement, Label, Prediction, Record, RoundRecord, Ruling, RunRecord, Sample, UserError
from sloop.runs.index import Index, Place, row_at
from sloop.stages.evaluate import GRADES, JUDGEMENTS
from sloop.stages.optimize.stage import RULINGS
from sloop.stages.probe import PREDICTIONS

R = TypeVar("R", bound=Record)


class Told(Record, Generic[R]):
    """What is said of the sample, and the file, from the run's folder, that says so."""

    file: str
    row: R


class SampleStory(Record):
    """All that a run knows of a sample; lines of one file in their order, files by path."""

    id: str
    sample: Sample
    """As it stands in the first of its files."""
    where: str
    """That file."""
    labels: dict[int, Label | None]
    """What it said in the training set of each round that it was in."""
    answers: tuple[Told[Prediction], ...]
    grades: tuple[Told[Grade], ...]
    judgements: tuple[Told[Judgement], ...]
    rulings: tuple[Told[Ruling], ...]
    matches: tuple[Told[Contaminated], ...]
    """The training samples that it stands in, wholly or nearly: it is of a benchmark."""
    parents: tuple[Sample, ...]
    """The samples of the run that it was made from."""
    children: tuple[Sample, ...]
    """Those that were made from it."""


def tell(
    folder: Path, record: RunRecord, rounds: Sequence[RoundRecord], beginning: str, questions: Path | None = None
) -> SampleStory:
    """The story of the sample whose id begins so.

    Args:
        folder: of the run.
        record: of the run.
        rounds: those that are complete.
        beginning: of the sample's id.
        questions: a file of samples that the reader gives beside the run's own.

    Raises:
        UserError: none or several do, or the sample stands in no file of the run's.
    """
    with Index(folder) as index:
        if questions:
            index.add(questions)
        sample_id, places = _found(index, record, beginning)
        sample, words = row_at(places[0], Sample, sample_id), index.words(sample_id)
        by_file = {place.path: place for place in places}
        sets = {round.round: by_file.get(folder / round.data.path) for round in rounds if round.data}
        return SampleStory(
            id=sample_id,
            sample=sample,
            where=str(places[0].path),
            labels={number: row_at(place, Sample, sample_id).label for number, place in sets.items() if place},
            answers=_told(folder, words, PREDICTIONS, Prediction, sample_id),
            grades=_told(folder, words, GRADES, Grade, sample_id),
            judgements=_told(folder, words, JUDGEMENTS, Judgement, sample_id),
            rulings=_told(folder, words, RULINGS, Ruling, sample_id),
            matches=_told(folder, words, CONTAMINATION, Contaminated, sample_id),
            parents=tuple(_samples(index, sample.lineage.parents)),
            children=tuple(_samples(index, index.children(sample_id))),
        )


def _found(index: Index, record: RunRecord, beginning: str) -> tuple[str, list[Place]]:
    """The id that begins so, and where the sample stands."""
    found = index.ids(beginning)
    if len(found) == 1 and (places := index.samples(found[0])):
        return found[0], places
    if len(found) == 1:
        raise UserError(
            f"run {record.name}: the question of sample {found[0]} is not in the run's folder, as older runs keep "
            "none. Give the file that holds it: sloop show RUN SAMPLE --questions FILE"
        )
    counted = f"{len(found)} samples have ids that begin" if found else "no sample has an id that begins"
    raise UserError(
        f"run {record.name}: {counted} with {beginning!r}. Ids, 32 hex digits each, stand in its grades.jsonl and "
        "predictions.jsonl."
    )


def _told(folder: Path, words: Iterable[Place], name: str, kind: type[R], sample_id: str) -> tuple[Told[R], ...]:
    return tuple(
        Told(file=str(place.path.relative_to(folder)), row=row_at(place, kind, sample_id))
        for place in words
        if place.path.name == name
    )


def _samples(index: Index, ids: Iterable[str]) -> Iterator[Sample]:
    return (row_at(places[0], Sample, sample_id) for sample_id in ids if (places := index.samples(sample_id)))
