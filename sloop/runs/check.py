"""A bundle against itself: every digest is computed again, and so is whatever follows from the data that it holds."""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from sloop.benchmarks.verifiers import WITHOUT_LABELS
from sloop.engine.build import MOVED
from sloop.engine.identity import NOT_RESULTS, config_hash, package_digest
from sloop.measures.constants import HEADLINE, headline_scores
from sloop.measures.metrics import grade, scores
from sloop.records import (
    ROUND_FILE,
    RUN_FILE,
    Grade,
    Prediction,
    Record,
    RoundRecord,
    RunRecord,
    Sample,
    Score,
    StageRecord,
    UserError,
    Versioned,
    canonical_json,
    digest,
    from_json,
    trial_id,
)
from sloop.records.runs import Unreadable
from sloop.runs.bundle import MANIFEST, RUN, Bundle, foreign
from sloop.runs.read import metric_name
from sloop.stages.evaluate import GRADES, SCORES
from sloop.store.content import CHECKPOINT_ENDINGS, is_sidecar
from sloop.store.files import MAX_UNPACKED, UNREADABLE, next_line, record_in

R = TypeVar("R", bound=Record)
V = TypeVar("V", bound=Versioned)
STRICT = ("sloop.benchmarks.jsonl.JsonlBenchmark", "sloop.benchmarks.base.SampleBenchmark")
"""Benchmarks that grade each answer by `sloop.measures.metrics.grade`."""
UNLABELLED, PART = "sloop.benchmarks.verifiers.VerifiersBenchmark", "sloop.benchmarks.part.Part"
"""One that gives no scores which need a label, and the part of any."""
PREDICTIONS = "predictions.jsonl"
CLOSE = 1e-9
"""Intervals are computed by libraries that round differently from version to version."""


class Checked(NamedTuple):
    """One comparison."""

    what: str
    """A file, or what was computed of it."""
    wrong: str
    """How the two differ; empty: they match."""
    told: str = ""
    """What a reader should know of a match."""


def check(bundle: Bundle, *, sha256: str | None = None, trust: bool = False) -> Iterator[Checked]:
    """Compare everything that a bundle says with everything that follows from what it holds.

    Args:
        bundle: opened; it may be anybody's.
        sha256: that should stand for it, as a paper prints it; None: its own word is taken.
        trust: pass over components that are not sloop's.
    """
    wrong = f"a paper says {sha256}, and it is {bundle.sha256}" if sha256 not in (None, bundle.sha256) else ""
    yield Checked(MANIFEST, wrong, f"sha256 {bundle.sha256}")
    yield from _files(bundle)
    checks = (_config, _targets, _records, _samples, _scores)
    for one in checks:
        if one is _targets and trust:
            continue
        try:
            yield from one(bundle)
        except (UserError, Unreadable, ValueError, KeyError, *UNREADABLE) as error:
            yield Checked(one.__name__.strip("_"), f"it cannot be read ({error})")


# --- bytes --------------------------------------------------------------------------------------------------------


def _files(bundle: Bundle) -> Iterator[Checked]:
    manifest = bundle.manifest
    for name in sorted(bundle.sizes.keys() - manifest.files.keys() - {MANIFEST}):
        yield Checked(name, "it is in the bundle, and the manifest does not know it")
    for name, entry in manifest.files.items():
        if name not in bundle.sizes:
            yield Checked(name, "the manifest names it, and it is not in the bundle")
            continue
        try:
            if bundle.sizes[name] != entry.bytes:
                raise ValueError(f"{entry.bytes} bytes are recorded, and it has {bundle.sizes[name]}")
            with bundle.open(name) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            if found != entry.sha256:
                raise ValueError(f"sha256 {entry.sha256} is recorded, and it is {found}")
            if entry.canonical is not None:
                rows, canonical = _canonical(bundle, name)
                if (rows, canonical) != (entry.rows, entry.canonical):
                    raise ValueError(
                        f"{entry.rows} rows of the digest {entry.canonical}, and it is {rows}, {canonical}"
                    )
        except (UserError, ValueError, *UNREADABLE) as error:
            yield Checked(name, str(error))
        else:
            yield Checked(name, "", f"sha256 {entry.sha256}")
    for one in manifest.inputs:
        held = manifest.files.get(one.file) if one.file else None
        if held and held.sha256 != one.sha256:
            yield Checked(f"inputs.{one.key}", f"sha256 {one.sha256} is recorded, and {one.file} has {held.sha256}")


def _canonical(bundle: Bundle, name: str) -> tuple[int, str]:
    lines, rows = hashlib.sha256(), 0
    for rows, line in enumerate(_lines(bundle, name), 1):  # noqa: B007
        lines.update(canonical_json(from_json(line.decode(), wraps=1)).encode() + b"\n")
    return rows, lines.hexdigest()


def _lines(bundle: Bundle, name: str) -> Iterator[bytes]:
    """Lines that are not blank, unpacked; `UserError` where they are too many to be data of a run."""
    where, read = Path(name), 0
    with bundle.open(name) as packed:
        file: Any = gzip.GzipFile(fileobj=packed) if name.endswith(".gz") else packed
        while line := next_line(file, where):
            read += len(line)
            if name.endswith(".gz") and read > MAX_UNPACKED:
                raise UserError(f"{name} unpacks to more than {MAX_UNPACKED >> 20} MiB.")
            if line.strip():
                yield line


def _rows(bundle: Bundle, name: str, kind: type[R]) -> Iterator[R]:
    for number, line in enumerate(_lines(bundle, name), 1):
        yield record_in(line, kind, Path(name), f"line {number}")


# --- records ------------------------------------------------------------------------------------------------------


def _record(bundle: Bundle, name: str, kind: type[V]) -> V:
    return kind.read(from_json(bundle.read(name).decode(), wraps=2), name)


def _config(bundle: Bundle) -> Iterator[Checked]:
    """The configuration against its hash, and the hash against the run's name."""
    manifest = bundle.manifest
    run = manifest.run
    computed = config_hash(run.config)
    beginning = f"{RUN_FILE}.config."
    keys = [w.where.removeprefix(beginning) for w in manifest.taken_out if w.where.startswith(beginning)]
    hidden = [key for key in keys if key.partition(".")[0] not in NOT_RESULTS[""]]
    if computed != manifest.published_hash:
        yield Checked("config", f"its hash is recorded as {manifest.published_hash}, and it is {computed}")
    elif computed != run.config_hash and not hidden:
        yield Checked("config", f"the run's configuration had the hash {run.config_hash}, and this one has {computed}")
    else:
        told = "" if computed == run.config_hash else f"; the run's own holds what was taken out: {', '.join(hidden)}"
        yield Checked("config", "", f"hash {computed}{told}")
    named = run.name.endswith(run.config_hash[:8])
    yield Checked("name", "" if named else f"{run.name} does not end in the hash {run.config_hash[:8]}", run.name)
    written = _record(bundle, f"{RUN}/{RUN_FILE}", RunRecord)
    same = written.plain() == run.plain()
    yield Checked(f"{RUN}/{RUN_FILE}", "" if same else f"it is not the run of {MANIFEST}", "as in the manifest")


def _targets(bundle: Bundle) -> Iterator[Checked]:
    """Whether the configuration names anything but sloop's own components."""
    found = list(foreign(bundle.manifest.run.config))
    for key, value in found:
        yield Checked(f"config.{key}", f"{value} is no component of sloop's; pass over it with --trust")
    if not found:
        yield Checked("components", "", "all are sloop's own")


def _records(bundle: Bundle) -> Iterator[Checked]:
    """Stages and rounds against the run, their keys, their parents and their files."""
    manifest = bundle.manifest
    known = {name: file.sha256 for name, file in (*manifest.files.items(), *manifest.left_out.items())}
    for place, stage in _stages(bundle).items():
        name = _name(place, "stage.json")
        yield Checked(f"{name}, key", _key_differs(bundle, name, stage), stage.key)
        recorded = manifest.run.stages.get(place)
        if recorded is None or (recorded.key, recorded.files) != (stage.key, stage.files):
            yield Checked(name, f"its files or key are not those of {RUN_FILE}")
        for file, made in stage.files.items():
            if (found := known.get(_name(place, file))) != made.sha256:
                yield Checked(_name(place, file), f"its stage made sha256 {made.sha256}, and it has {found}")
        if place in manifest.models or "checkpoint" in stage.summary:
            yield _checkpoint(bundle, place, stage)
        for key, parent in manifest.parents.get(place, {}).items():
            yield _parent(bundle, name, stage, key, parent)
    metrics: dict[int, list[Score]] = {}
    for one in manifest.metrics:
        metrics.setdefault(one.round, []).append(Score(**one.model_dump(exclude={"round"})))
    if not manifest.run.is_loop:
        same = metrics.get(0, []) == list(manifest.run.metrics)
        yield Checked("metrics", "" if same else f"those of {MANIFEST} are not those of {RUN_FILE}", "as in the run")
    for number, said in (metrics if manifest.run.is_loop else {}).items():
        name = f"{RUN}/round_{number}/{ROUND_FILE}"
        written = _record(bundle, name, RoundRecord).metrics
        wrong = next((metric_name(a) for a, b in zip(written, said, strict=False) if a != b), "")
        wrong = wrong or ("their number" if len(written) != len(said) else "")
        yield Checked(f"{name}, metrics", f"{wrong} differs from {MANIFEST}" if wrong else "", f"{len(written)} scores")


def _name(*parts: str) -> str:
    return PurePosixPath(RUN, *parts).as_posix()


def _stages(bundle: Bundle) -> dict[str, StageRecord]:
    places = [PurePosixPath(name) for name in bundle.sizes if PurePosixPath(name).name == "stage.json"]
    return {
        path.parent.relative_to(RUN).as_posix(): _record(bundle, str(path), StageRecord)
        for path in places
        if path.is_relative_to(RUN)
    }


def _key_differs(bundle: Bundle, name: str, stage: StageRecord) -> str:
    computed = digest(stage.parts)
    inside = PurePosixPath(name).relative_to(RUN).as_posix()
    hidden = any(one.where.startswith(f"{inside}.parts.") for one in bundle.manifest.taken_out)
    return "" if computed == stage.key or hidden else f"{stage.key} is recorded, and its parts have {computed}"


def _checkpoint(bundle: Bundle, place: str, stage: StageRecord) -> Checked:
    """The digest of a checkpoint from those of its files, as `sloop.store.folder_digest` has it."""
    found = stage.summary.get("checkpoint") or {}
    under = f"{found.get('path')}/"
    files = {name.removeprefix(under): f.sha256 for name, f in stage.files.items() if name.startswith(under)}
    counted = {
        name: files[name]
        for name in sorted(files)
        if PurePosixPath(name).suffix in CHECKPOINT_ENDINGS and not is_sidecar(Path(name))
    }
    model = bundle.manifest.models.get(place)
    listed = {**model.weights, **model.tokenizer, **model.chat_template, **model.settings} if model else {}
    said = {str(found.get("digest")), digest(counted), model.digest if model else ""}
    what = f"{_name(place)}, checkpoint"
    if len(said) > 1 or listed != files:
        return Checked(what, f"{found.get('digest')} is recorded, and its files have {digest(counted)}")
    return Checked(what, "", f"digest {digest(counted)}")


def _parent(bundle: Bundle, name: str, stage: StageRecord, key: str, parent: str) -> Checked:
    """What a stage's key says of a file against that file."""
    value: Any = stage.parts
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) else value.get(part) if isinstance(value, Mapping) else None
    place = _name(parent)
    entry = bundle.manifest.files.get(place)
    model = next((m for at, m in bundle.manifest.models.items() if place.startswith(f"{_name(at)}/")), None)
    digests = {entry.sha256} if entry else {model.digest} if model else set()
    if entry and place.endswith(".gz"):
        unpacked = hashlib.sha256()
        for line in _lines(bundle, place):
            unpacked.update(line)
        digests.add(unpacked.hexdigest())
    wrong = "" if value in digests else f"{value} is recorded, and {parent} has {', '.join(sorted(digests)) or 'none'}"
    return Checked(f"{name}, {key}", wrong, f"from {parent}")


def _samples(bundle: Bundle) -> Iterator[Checked]:
    """The ids of samples, which are digests of what they hold."""
    for name in bundle.manifest.files:
        if not name.startswith(f"{RUN}/") or ".jsonl" not in name:
            continue
        first = next(_lines(bundle, name), b"{}")
        if not {"id", "tools", "messages", "lineage"} <= from_json(first.decode(), wraps=1).keys():
            continue
        number = 0
        for number, line in enumerate(_lines(bundle, name), 1):
            said = from_json(line.decode(), wraps=1).get("id")
            sample = record_in(line, Sample, Path(name), f"line {number}")
            if said != sample.id:
                yield Checked(f"{name}, line {number}", f"the id {said} is recorded, and the sample's is {sample.id}")
                break
        else:
            yield Checked(f"{name}, ids", "", f"{number} samples")


# --- scores -------------------------------------------------------------------------------------------------------


def _scores(bundle: Bundle) -> Iterator[Checked]:
    """Grades from answers where the benchmark grades strictly, and scores from grades."""
    known = set()
    for place, stage in _stages(bundle).items():
        if stage.name != "evaluate" or _name(place, GRADES) not in bundle.sizes:
            continue
        target = _target(stage.parts.get("benchmark"))
        benchmark = str(stage.summary.get("benchmark"))
        questions = _name("questions", f"{benchmark}.jsonl.gz")
        grades = list(_rows(bundle, _name(place, GRADES), Grade))
        if target in STRICT and questions in bundle.sizes:
            asked = {sample.id: sample for sample in _rows(bundle, questions, Sample)}
            given = _rows(bundle, _name(place, PREDICTIONS), Prediction)
            yield Checked(
                f"{_name(place)}, grades", _grades_differ(bundle, grades, asked, given), f"{len(grades)} graded again"
            )
        written = list(_rows(bundle, _name(place, SCORES), Score))
        if target.startswith("sloop."):
            computed = [*headline_scores(grades), *scores(grades)]
            if target == UNLABELLED:
                computed = [score for score in computed if score.name in (*WITHOUT_LABELS, HEADLINE)]
            yield Checked(
                f"{_name(place)}, scores", _scores_differ(computed, written), f"{len(computed)} computed again"
            )
        yield _reported(bundle, place, benchmark, written)
        known.add((_round(place), benchmark))
    for number, benchmark in sorted(_evaluated(bundle) - known):
        why = "no grades are in the bundle from which its scores could be computed"
        yield Checked(f"round {number}, {benchmark}", why)


def _target(benchmark: Any) -> str:
    """The class of a benchmark as a stage's key has it; of a part, that of the whole, which grades it."""
    told = benchmark if isinstance(benchmark, Mapping) else {}
    target = str(told.get("_target_"))
    target = MOVED.get(target, target)
    return _target(told.get("benchmark")) if target == PART else target


def _evaluated(bundle: Bundle) -> set[tuple[int, str]]:
    """Rounds and benchmarks of which a bundle reports scores."""
    names = ((one.round, one.name.split("/")) for one in bundle.manifest.metrics)
    return {(number, name[1]) for number, name in names if name[0] == "eval" and len(name) > 2}


def _round(place: str) -> int:
    """Of a stage; 0 of one that was used alone."""
    number = PurePosixPath(place).parts[0].removeprefix("round_") if place != "." else "0"
    return int(number) if number.isdecimal() else 0


def _grades_differ(
    bundle: Bundle, grades: Iterable[Grade], asked: Mapping[str, Sample], given: Iterable[Prediction]
) -> str:
    answers = {trial_id(answer.sample_id, answer.trial): answer for answer in given}
    for one in grades:
        sample, answer = asked.get(one.sample_id), answers.get(trial_id(one.sample_id, one.trial))
        if sample is None or answer is None:
            return f"{one.sample_id} is graded, and its question or its answer is not in the bundle"
        if grade(sample, answer).model_copy(update={"trial": one.trial}) != one:
            other = "" if bundle.manifest.run.code.digest == package_digest() else " (by another version of the code)"
            return f"the answer to {one.sample_id} is graded otherwise{other}"
    return ""


def _scores_differ(computed: Iterable[Score], written: Iterable[Score]) -> str:
    said = {(score.name, score.slice): score for score in written}
    for score in computed:
        if (other := said.get((score.name, score.slice))) is None:
            return f"{metric_name(score)} is missing"
        if not _same(score, other):
            return f"{metric_name(score)} is {_told(other)}, and the grades give {_told(score)}"
    return ""


def _reported(bundle: Bundle, place: str, benchmark: str, written: Iterable[Score]) -> Checked:
    """What the run's record says of an evaluation against the file of its scores."""
    number = _round(place)
    reported = {(one.name, one.slice): one for one in bundle.manifest.metrics if one.round == number}
    wrong = ""
    for score in written:
        one = reported.get((f"eval/{benchmark}/{score.name}", score.slice))
        if one is not None and not _same(one, score):
            wrong = f"{metric_name(one)} is reported as {_told(one)}, and {SCORES} has {_told(score)}"
            break
    return Checked(f"{_name(place)}, reported scores", wrong, "as in the manifest")


def _same(one: Score, other: Score) -> bool:
    pairs = ((one.value, other.value), (one.low, other.low), (one.high, other.high))
    close = (a == b or (a is not None and b is not None and math.isclose(a, b, abs_tol=CLOSE)) for a, b in pairs)
    return one.n == other.n and all(close)


def _told(score: Score) -> str:
    return f"{score.value} [{score.low}, {score.high}], n = {score.n}"
