"""What benchmarks with rules of their own share: their files with digests, official accuracies, and aggregates."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sloop.measures.stats import rate
from sloop.records import Grade, Prediction, Score, UserError, from_json
from sloop.store import Dataset, is_file
from sloop.store.files import lines_of, named

T = TypeVar("T")
Entry = dict[str, Any]
Aggregates = Mapping[str, tuple[tuple[str, ...], bool]]
"""An official mean by name: its categories, or means named before it, and whether entries (True) or parts weigh the
same."""
FOLDERS = ("possible_answer", "multi_turn_func_doc")
"""Folders within that of the data, whose files are known by folder and name."""


class OfficialData(NamedTuple):
    """What the official files hold."""

    data: Dataset
    entries: dict[str, Entry]
    """With their answers, by sample id."""
    digests: dict[str, str]
    """Of what was read, by name."""


def underscored(name: str) -> str:
    """A function's name as endpoints take it: without dots."""
    return name.replace(".", "_")


def as_shown(prediction: Prediction) -> Prediction:
    """An answer of a file of results, whose model may have been shown names with their dots, as if it had been shown
    ours; any other answer as it is.
    """
    if not isinstance(prediction.raw, str) and (prediction.raw is None or prediction.text):
        return prediction
    calls = tuple(call.model_copy(update={"name": underscored(call.name)}) for call in prediction.calls)
    return prediction.model_copy(update={"calls": calls})


def check_categories(categories: Sequence[str], allowed: Collection[str]) -> None:
    """Refuse an unknown category, or none.

    Raises:
        UserError: as said.
    """
    if unknown := [category for category in categories if category not in allowed]:
        raise UserError(f"benchmark.categories: no category {unknown[0]!r}; allowed: {', '.join(allowed)}.")
    if not categories:
        raise UserError(f"benchmark.categories=[]: name at least one, such as [{next(iter(allowed))}].")


def named_folder(path: str, holds: str) -> Path:
    """The folder that the user names.

    Raises:
        UserError: there is none.
    """
    if not Path(path).is_dir():
        raise UserError(f"benchmark.path={path}: no such folder. It should hold {holds}.")
    return Path(path)


def read_entries(
    folder: Path,
    name: str,
    digests: dict[str, str],
    *,
    answered: bool = True,
    keys: Sequence[str] = ("question", "function"),
) -> list[Entry]:
    """Entries of one file with their answers, which stand in ``possible_answer/`` under the same name, line by line.

    Args:
        folder: with the official files, plain or gzipped.
        name: of the file, without its ending.
        digests: takes the SHA-256 of each file's lines.
        answered: whether there is a file of answers; without one, ``ground_truth`` is None.
        keys: what an entry has, beside its id.

    Raises:
        UserError: a file is missing, no JSON, or lacks what an entry has; or questions and answers have other ids.
    """
    questions = read_lines(folder, name, digests, ("id", *keys))
    answers = read_lines(folder / "possible_answer", name, digests, ("id", "ground_truth")) if answered else None
    if answers is not None and [q["id"] for q in questions] != [a["id"] for a in answers]:
        raise UserError(f"{folder}: questions and answers of {name} have other ids. Are they of one version?")
    return [
        {**entry, "ground_truth": answers[number]["ground_truth"] if answers else None}
        for number, entry in enumerate(questions)
    ]


def read_object(folder: Path, name: str, digests: dict[str, str]) -> Entry:
    """The object that is the whole of one file.

    Raises:
        UserError: the file is missing, or holds none.
    """
    path, lines = _lines(folder, name, digests)
    return _entry("\n".join(line for _, line in lines), (), named(path))


def read_lines(folder: Path, name: str, digests: dict[str, str], keys: Collection[str]) -> list[Entry]:
    """The objects of one file, one a line, each with these keys.

    Raises:
        UserError: the file is missing, or a line holds no such object.
    """
    path, lines = _lines(folder, name, digests)
    return [_entry(line, keys, f"{named(path)}, line {number}") for number, line in lines]


def _lines(folder: Path, name: str, digests: dict[str, str]) -> tuple[Path, list[tuple[int, str]]]:
    for ending in (".json", ".jsonl", ".json.gz", ".jsonl.gz"):
        if is_file(path := folder / f"{name}{ending}"):
            lines = [(number, line.strip()) for number, line in lines_of(path)]
            known_as = f"{folder.name}/{name}" if folder.name in FOLDERS else name
            digests[known_as] = hashlib.sha256("\n".join(line for _, line in lines).encode()).hexdigest()
            return path, lines
    raise UserError(f"{folder}: no {name}.json (or .jsonl, .gz). Leave the category out of benchmark.categories.")


def _entry(line: str, keys: Collection[str], where: str) -> Entry:
    """An object with these keys.

    Raises:
        UserError: it is none.
    """
    try:
        entry = from_json(line)
        if not isinstance(entry, dict) or (missing := [key for key in keys if key not in entry]):
            raise ValueError(f"{', '.join(missing) if isinstance(entry, dict) else 'the object'} is missing")
        if "id" in keys and not isinstance(entry["id"], str):
            raise ValueError(f"the id is no text: {entry['id']!r:.80}")
    except ValueError as error:
        raise UserError(
            f"{where}: not a JSON object{' with ' * bool(keys)}{', '.join(keys)}: {error}. Take the official file."
        ) from error
    return entry


def read_sample(made: Callable[[], T], where: str) -> T:
    """An entry as a sample, or a part of one.

    Args:
        made: reads the entry, which may be anything.
        where: it stands; for messages.

    Raises:
        UserError: it is not of the official form.
    """
    try:
        return made()
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{where} is not of the official form ({type(error).__name__}: {error}). Take the official file."
        ) from error


def check_version(folder: Path, found: Mapping[str, str], pinned: Mapping[str, str]) -> None:
    """Refuse data that are not the pinned ones.

    Raises:
        UserError: as said.
    """
    if other := sorted(name for name, value in found.items() if value != pinned.get(name)):
        raise UserError(
            f"{folder}: {', '.join(other)} differ from the pinned data, and figures of other data are not comparable. "
            "Take the official files, or run under another name: benchmark.digests=null benchmark.name=MY_NAME"
        )


def without(graded: Sequence[Grade], entries: Mapping[str, Entry], known_bad: Collection[str]) -> list[Grade] | None:
    """The grades of entries that are not known to be bad; None where these are all."""
    bad = {sample_id for sample_id, entry in entries.items() if entry["id"] in known_bad}
    sound = [grade for grade in graded if grade.sample_id not in bad]
    return sound if len(sound) < len(graded) else None


def official_scores(
    graded: Sequence[Grade],
    sound: Sequence[Grade] | None,
    categories: Sequence[str],
    aggregates: Aggregates,
    digits: int | None = None,
) -> list[Score]:
    """``official_accuracy`` overall and by category, the same without the entries known to be bad, and the official
    means over the categories that were run.

    Args:
        graded: every grade; a category is the grade's slice.
        sound: those of entries that are not known to be bad; None: no entry is.
        categories: those that were run.
        aggregates: the official means.
        digits: to which they, and what they are means of, are officially rounded; None: not at all.
    """
    found = [_accuracy("official_accuracy", graded, category) for category in ("", *categories)]
    measured = {score.slice: _Measured(score, _errors(graded, score)) for score in found}
    if sound is not None:
        found.append(_accuracy("official_accuracy_without_known_bad", sound, ""))
    return [*found, *_means(measured, aggregates, digits)]


def _accuracy(name: str, graded: Iterable[Grade], category: str) -> Score:
    return rate(
        name,
        ((g.cluster, int(bool(g.official)), int(g.official is not None)) for g in graded if category in ("", g.slice)),
        category,
    )


class _Measured(NamedTuple):
    """An accuracy, or a mean of some."""

    score: Score
    errors: dict[str, float]
    """What each cluster adds to its error."""

    @property
    def half(self) -> float:
        """Of the width of its interval."""
        return ((self.score.high or 0.0) - (self.score.low or 0.0)) / 2


def _errors(graded: Iterable[Grade], score: Score) -> dict[str, float]:
    errors: dict[str, float] = {}
    for g in graded:
        if g.official is not None and score.slice in ("", g.slice):
            errors[g.cluster] = errors.get(g.cluster, 0.0) + (g.official - (score.value or 0.0)) / score.n
    return errors


def _correlation(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Of two errors; 0 where they have no cluster in common, or one varies nowhere."""
    spread = math.sqrt(math.fsum(v**2 for v in a.values()) * math.fsum(v**2 for v in b.values()))
    return math.fsum(value * b[key] for key, value in a.items() if key in b) / spread if spread else 0.0


def _means(measured: Mapping[str, _Measured], aggregates: Aggregates, digits: int | None) -> list[Score]:
    """Means over the categories that were run, with the normal interval of a weighted sum, whose parts are as alike as
    the clusters that they share make them: a scene of BFCL's stands in each category of several turns.
    """
    known = dict(measured)
    for name, (parts, by_entry) in aggregates.items():
        run = [(part, known[part]) for part in parts if part in known and known[part].score.n]
        sizes = {part: float(one.score.n) if by_entry else 1.0 for part, one in run}
        total = sum(sizes.values())
        if not run:
            continue
        weights = {part: size / total for part, size in sizes.items()}
        shares = {part: one.score.value or 0.0 for part, one in run}
        if digits is not None:
            shares = {part: round(share, digits) for part, share in shares.items()}
        value = math.fsum(weights[part] * share for part, share in shares.items())
        value = value if digits is None else round(value, digits)
        halves = [(weights[part] * one.half, one.errors) for part, one in run]
        together = (2 * a * b * _correlation(of_a, of_b) for (a, of_a), (b, of_b) in combinations(halves, 2))
        half = math.sqrt(max(0.0, math.fsum([*(half**2 for half, _ in halves), *together])))
        n = sum(one.score.n for _, one in run)
        score = Score(name=name, value=value, n=n, low=max(0.0, value - half), high=min(1.0, value + half))
        errors: dict[str, float] = {}
        for part, one in run:
            for cluster, error in one.errors.items():
                errors[cluster] = errors.get(cluster, 0.0) + weights[part] * error
        known[name] = _Measured(score, errors)
    return [one.score for name, one in known.items() if name not in measured]


def lacking(aggregates: Aggregates, categories: Collection[str]) -> list[str]:
    """A note for every official mean of which some categories were run and some were not."""
    told = []
    for name, (named_parts, _) in aggregates.items():
        parts = [part for one in named_parts for part in aggregates.get(one, ([one],))[0]]
        missing = [part for part in parts if part not in categories]
        if 0 < len(missing) < len(parts):
            told.append(f"{name} lacks {', '.join(missing)}; the leaderboard counts what was not run as 0")
    return told
