"""A run becomes a bundle (`sloop.runs.bundle`): what is in it, read through `sloop.runs.read`, and what is left out."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath
from typing import Any, cast

from sloop.engine.identity import NOT_RESULTS, ROOT, config_hash, package_digest, source_digest
from sloop.measures.overlap import CONTAMINATION
from sloop.records import RUN_FILE, RunRecord, StageRecord, UserError, canonical_json, from_json
from sloop.runs.bundle import (
    CRATE,
    ENDINGS,
    INPUTS,
    MANIFEST,
    REPLIES,
    RUN,
    FileEntry,
    Input,
    LeftOut,
    Manifest,
    Measured,
    ModelEntry,
    Remote,
    Sibling,
    endpoints,
    pack,
)
from sloop.runs.cite import bibtex, unclean
from sloop.runs.crate import crate
from sloop.runs.exchange import croissant, eval_results, every_eval_ever
from sloop.runs.files import holds
from sloop.runs.papers import Authorship, citation, methods
from sloop.runs.public import Public, check_data
from sloop.runs.questions import questions_of
from sloop.runs.read import Run
from sloop.store import file_digest
from sloop.store.files import raw_lines, reading
from sloop.version import __version__

ROLES = {"teacher": "teacher", "judge": "judge", "student": "student", "user": "benchmark"}
"""By what a model may be asked for: where the configuration names it."""
LARGEST_INPUT = 256 << 20
"""Bytes of a file that a key of the configuration names, up to which it is put into the bundle."""
HASH = re.compile(r"[0-9a-f]{64}")
EMPTY = hashlib.sha256(b"").hexdigest()
FLAGS = re.compile(r"(?:^|\.)(?:threads|dtype|precision|device|temperature|batch_size|attn_implementation)$")
"""Keys of the configuration on which it depends whether numbers repeat."""


@dataclass(frozen=True)
class Cited:
    """What was written."""

    path: Path
    sha256: str
    """That stands for the bundle."""
    manifest: Manifest
    bibtex: str


def publish(
    run: Run,
    out: Path,
    known: Iterable[Run],
    *,
    by: Authorship,
    hub: Mapping[str, str],
    weights: bool = False,
) -> Cited:
    """Write the bundle of a run.

    Args:
        run: that has ended.
        out: the zip.
        known: runs among which those of its sweep are looked for.
        by: whose the run is.
        hub: by benchmark: the dataset on the Hub that it is, where it has one.
        weights: put checkpoints' weights in as well; their digests are there in any case.

    Raises:
        UserError: the run is under way, a file of it is no more what its stage made, or one holds a key.
    """
    if run.is_running:
        raise UserError(f"run {run.name} is still running ({run.folder}). Cite it when it has ended.")
    parts = _Parts(run, weights)
    manifest, files = parts.manifest(known), dict(parts.content)
    added: dict[str, bytes] = {
        "constraints.txt": constraints(manifest.run.versions).encode(),
        "citation.bib": (bibtex(run.name, run.record.study, run.record.config_hash, run.record.began) + "\n").encode(),
        "CITATION.cff": citation(manifest, by).encode(),
        "METHODS.md": methods(manifest).encode(),
        "croissant.json": _json(croissant(manifest, by)),
        **every_eval_ever(run, manifest),
        **eval_results(manifest, hub),
    }
    entries = {**manifest.files, **{name: _entry_of(content) for name, content in added.items()}}
    manifest = manifest.model_copy(update={"files": dict(sorted(entries.items()))})
    added[CRATE] = _json(crate(manifest, by))
    manifest = manifest.model_copy(update={"files": {**manifest.files, CRATE: _entry_of(added[CRATE])}})
    added[MANIFEST] = _json(manifest.model_dump(mode="json"))
    pack(out, {**files, **added})
    sha256 = hashlib.sha256(added[MANIFEST]).hexdigest()
    record = run.record
    return Cited(out, sha256, manifest, bibtex(run.name, record.study, record.config_hash, record.began, sha256))


def constraints(versions: Mapping[str, str | None]) -> str:
    """Lines for ``pip install -c``: what is installed here, where it is what the run was made with; else what the run
    recorded.
    """
    recorded = {name: version for name, version in versions.items() if version and name != "python"}
    here = {_normal(found.name): found.version for found in distributions()}
    same = all(here.get(_normal(name)) == version for name, version in recorded.items())
    listed = here if same else {_normal(name): version for name, version in recorded.items()}
    told = "all that was installed" if same else "what the run recorded"
    lines = [f"{name}=={version.partition('+')[0]}" for name, version in sorted(listed.items()) if name != "sloop"]
    return "\n".join([f"# Python {versions.get('python')}; {told}", *lines]) + "\n"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _entry_of(content: bytes) -> FileEntry:
    return FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def canonical_digest(path: Path) -> tuple[int, str]:
    """Rows of a file of JSON lines, and SHA-256 of its lines as canonical JSON."""
    lines, rows = hashlib.sha256(), 0
    for rows, (_, _, line) in enumerate(raw_lines(path), 1):  # noqa: B007
        lines.update(canonical_json(from_json(line.decode(), wraps=1)).encode() + b"\n")
    return rows, lines.hexdigest()


class _Parts:
    """The files of a bundle, gathered from a run's folder."""

    def __init__(self, run: Run, weights: bool) -> None:
        self.run = run
        self.weights = weights
        self.here = Path.cwd()
        self.content: dict[str, bytes | Path] = {}
        self.files: dict[str, FileEntry] = {}
        self.left_out: dict[str, LeftOut] = {}
        self.stages = run.stages

    def manifest(self, known: Iterable[Run]) -> Manifest:
        """Everything but what other people's forms say of it; fills `content`."""
        record = self.run.complete()
        for place, stage in self.stages.items():
            for name, file in stage.files.items():
                self._add(PurePosixPath(place, name).as_posix(), file.sha256)
        loose = [*questions_of(self.run.folder), *self._evidence()]
        for path in loose:
            self._add(path.relative_to(self.run.folder).as_posix())
        if (cache := _replies(record.config)) and cache.stat().st_size <= LARGEST_INPUT:
            check_data(cache)
            self.content[REPLIES], self.files[REPLIES] = cache, self._look(cache, None)
        inputs = list(self._inputs(record))
        places = {(self.here / given.given).resolve(): given.file for given in inputs if given.file}
        public = Public(
            run=self.run.folder,
            here=self.here,
            host=record.machine.host,
            inputs={Path(given.given): given.file for given in inputs if given.file} | places,
        )
        shown = RunRecord.model_validate(public(_bare(record).plain(), RUN_FILE))
        self._record(RUN_FILE, shown.plain())
        for name in [f"{place}/stage.json" for place in self.stages] + [
            path.relative_to(self.run.folder).as_posix() for path in self.run.files("round_*/round.json")
        ]:
            place = PurePosixPath(name).as_posix()
            self._record(place, public(json.loads((self.run.folder / name).read_bytes()), place))
        return Manifest(
            sloop=__version__,
            run=shown,
            published_hash=config_hash(shown.config),
            unclean=unclean(record.code),
            parents=self._parents(),
            models=dict(self._models()),
            remotes=tuple(self._remotes(shown, record.config)),
            seeds=_seeds(record, self.stages),
            determinism=_determinism(shown),
            metrics=tuple(_measured(self.run)),
            siblings=tuple(_siblings(self.run, known)),
            inputs=tuple(
                given.model_copy(update={"given": public.text(given.given, f"inputs.{given.key}")}) for given in inputs
            ),
            taken_out=tuple(public.taken_out),
            files=dict(sorted(self.files.items())),
            left_out=dict(sorted(self.left_out.items())),
        )

    def _evidence(self) -> list[Path]:
        """Of contamination: a loop's by round, an evaluation's beside its scores."""
        return self.run.files(f"round_*/{CONTAMINATION}" if self.run.record.is_loop else CONTAMINATION)

    def _record(self, name: str, plain: Any) -> None:
        content = (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()
        self.content[f"{RUN}/{name}"], self.files[f"{RUN}/{name}"] = content, _entry_of(content)

    def _add(self, name: str, recorded: str | None = None) -> None:
        """A file of the run, unless there is a reason to leave it out.

        Raises:
            UserError: it is another than was recorded.
        """
        path, place = self.run.folder / name, f"{RUN}/{name}"
        if not holds(self.run.folder, path):
            self.left_out[place] = LeftOut(bytes=0, sha256=recorded or EMPTY, why="it is not in the run's folder")
            return
        entry = self._look(path, recorded)
        if path.suffix not in ENDINGS:
            why = f"a bundle holds no {path.suffix or 'nameless'} files"
        elif path.suffix == ".safetensors" and not self.weights:
            why = "weights; for a bundle with them: sloop cite --with weights"
        else:
            check_data(path)
            self.content[place], self.files[place] = path, entry
            return
        self.left_out[place] = LeftOut(**entry.model_dump(exclude={"canonical"}), why=why)

    def _look(self, path: Path, recorded: str | None) -> FileEntry:
        sha256 = file_digest(path)
        if recorded and sha256 != recorded:
            raise UserError(
                f"{path}: its sha256 is {sha256}, and its stage made {recorded}. It was changed after the run; the "
                "command that made the run makes it anew once the stage's folder is moved away."
            )
        rows, canonical = canonical_digest(path) if ".jsonl" in path.suffixes else (None, None)
        return FileEntry(rows=rows, bytes=path.stat().st_size, sha256=sha256, canonical=canonical)

    def _inputs(self, record: RunRecord) -> Iterator[Input]:
        """Files and folders that the configuration names; files go into the bundle."""
        counted = {key: part for key, part in record.config.items() if key not in NOT_RESULTS[""]}
        compared = {given.name: {given.sha256} for given in record.inputs}
        for key, value in _leaves(counted):
            last = key.rpartition(".")[2]
            if last in ("cache_path", "models") or not isinstance(value, str) or not ("/" in value or "." in value):
                continue
            path = self.here / value
            if os.path.isdir(path) and "/" in value:  # noqa: PTH112 - of a text that no path can be it says no
                yield Input(key=key, given=value, file=None, sha256=None)
            elif os.path.isfile(path):  # noqa: PTH113
                sha256, place = file_digest(path), f"{INPUTS}/{key}/{path.name}"
                made_of = compared.get(last) or self._digests(key.partition(".")[0], last)
                other = bool(made_of) and sha256 not in made_of
                if other or path.suffix not in ENDINGS or path.stat().st_size > LARGEST_INPUT:
                    why = "it was changed after the run" if other else "it is no data of a bundle, or too large for one"
                    self.left_out[place] = LeftOut(bytes=path.stat().st_size, sha256=sha256, why=why)
                    yield Input(key=key, given=value, file=None, sha256=None if other else sha256)
                else:
                    check_data(path)
                    self.content[place] = path
                    self.files[place] = FileEntry(bytes=path.stat().st_size, sha256=sha256)
                    yield Input(key=key, given=value, file=place, sha256=sha256)

    def _digests(self, group: str, name: str) -> set[str]:
        """Of the files that stages were made of, by the key's first and last name, as their components know them."""
        leaves = (leaf for stage in self.stages.values() for leaf in _leaves({group: stage.parts.get(group)}))
        return {value for key, value in leaves if key.endswith(f".{name}.file")}

    def _parents(self) -> dict[str, dict[str, str]]:
        """By stage: which file of the run each digest in its key is that of; of several equal ones the first."""
        known: dict[str, str] = {}
        for place, stage in self.stages.items():
            for name, file in stage.files.items():
                known.setdefault(file.sha256, PurePosixPath(place, name).as_posix())
            if found := _checkpoint(stage):
                known.setdefault(found["digest"], PurePosixPath(place, found["path"]).as_posix())
        for path in questions_of(self.run.folder):
            name = path.relative_to(self.run.folder).as_posix()
            known.setdefault(file_digest(path), name)
            known.setdefault(unpacked_digest(path), name)
        known.pop(EMPTY, None)
        return {
            place: {
                key: known[value]
                for key, value in _leaves(stage.parts)
                if isinstance(value, str) and value in known and not _is_of(known[value], place)
            }
            for place, stage in self.stages.items()
        }

    def _models(self) -> Iterator[tuple[str, ModelEntry]]:
        for place, stage in self.stages.items():
            if not (found := _checkpoint(stage)):
                continue
            under = found["path"] + "/"
            files = {n.removeprefix(under): f.sha256 for n, f in stage.files.items() if n.startswith(under)}
            kinds: dict[str, dict[str, str]] = {"weights": {}, "tokenizer": {}, "chat_template": {}, "settings": {}}
            for name, sha256 in files.items():
                kinds[_purpose(name)][name] = sha256
            yield place, ModelEntry(digest=found["digest"], **kinds)

    def _remotes(self, shown: RunRecord, config: Mapping[str, Any]) -> Iterator[Remote]:
        spent = self.run.spent()
        same_code = package_digest() == shown.code.digest
        cache = _replies(config)
        for role, group in ROLES.items():
            for section in endpoints(shown.config.get(group)):
                told = {key: value for key, value in section.items() if key not in ("limits", "cache", "cache_path")}
                yield Remote(
                    role=role,
                    base_url=str(told.pop("base_url", "")),
                    asked=str(told.pop("model", "")),
                    returned=tuple(sorted({row.model for row in spent if row.role == role})),
                    fingerprint=None,
                    settings=told,
                    prompts=source_digest(ROOT / "sloop/prompts") if same_code else None,
                    cache=file_digest(cache) if cache else None,
                )


def _replies(config: Mapping[str, Any]) -> Path | None:
    """The file of kept replies of a configuration that keeps them, where it is there."""
    path = Path(str(config.get("paths", {}).get("cache", "")))
    return path if config.get("cache", "off") != "off" and path.is_file() else None


def unpacked_digest(path: Path) -> str:
    """SHA-256 of what a gzipped file unpacks to."""
    with reading(path) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


def _bare(record: RunRecord) -> RunRecord:
    """Without what only the machine is known by, where it logged, and where its files went."""
    machine = record.machine.model_copy(update={"host": "", "pid": 0})
    return record.model_copy(update={"machine": machine, "mlflow": None})


def _is_of(name: str, place: str) -> bool:
    return place == "." or name.startswith(f"{place}/")


def _checkpoint(stage: StageRecord) -> Mapping[str, str] | None:
    """Digest and folder of the checkpoint that a stage made; None where it made none, or points to another's."""
    found = stage.summary.get("checkpoint")
    if not isinstance(found, Mapping) or not {"digest", "path"} <= found.keys():
        return None
    return None if str(found["path"]).startswith("/") or "://" in str(found["path"]) else found


def _purpose(name: str) -> str:
    if name.endswith(".safetensors") or name.startswith(("weights", "model.")):
        return "weights"
    if "chat_template" in name:
        return "chat_template"
    return "tokenizer" if re.search(r"token|vocab|merges|\.model$", name) else "settings"


def _leaves(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested plain data, by key in dots."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{above}.{key}" if above else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{above}.{index}")
    else:
        yield above, value


def _seeds(record: RunRecord, stages: Mapping[str, StageRecord]) -> dict[str, int]:
    of_keys = {
        f"config.{key}": value
        for key, value in _leaves(record.config)
        if key.endswith("seed") and isinstance(value, int) and not isinstance(value, bool)
    }
    return of_keys | {place: stage.seed for place, stage in stages.items() if stage.seed is not None}


def _determinism(record: RunRecord) -> dict[str, str]:
    found = {f"config.{key}": str(value) for key, value in _leaves(record.config) if FLAGS.search(key)}
    return found | {f"environment.{name}": value for name, value in record.environment.items()}


def _measured(run: Run) -> Iterator[Measured]:
    scores = run.scores() if run.record.is_loop else ((0, score) for score in run.record.metrics)
    for number, score in scores:
        yield Measured(round=number, **score.model_dump())


def _siblings(run: Run, known: Iterable[Run]) -> Iterator[Sibling]:
    """The other runs of its sweep, whatever became of them."""
    sweep = run.record.sweep
    found = {
        other.record.id: other
        for other in known
        if sweep and other.record.sweep == sweep and other.record.id != run.record.id
    }
    for identity, other in sorted(found.items()):
        record = other.record
        yield Sibling(
            id=identity,
            study=record.study,
            name=record.name,
            variant=other.variant,
            seed=record.seed,
            status=record.status,
            config_hash=record.config_hash,
        )
