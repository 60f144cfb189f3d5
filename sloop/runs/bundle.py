"""A cited run in one file: what a bundle holds, and how one is opened, whoever made it.

A bundle is a zip, or a folder that was unpacked from one:

| file | what it is |
| --- | --- |
| ``manifest.json`` | a `Manifest`: all that a citation needs, and the digest of every other file |
| ``run/`` | the run's folder as it was: ``run.json``, ``round.json`` and ``stage.json`` in their public form |
|  | (`sloop.runs.public`), datasets, answers, grades and scores byte for byte; it opens as any run's folder does |
| ``inputs/<key>/`` | files that keys of the configuration name, such as ``tools.path`` (`Manifest.inputs`) |
| ``replies.jsonl`` | what models behind endpoints answered, where replies were kept (``cache=use``) |
| ``constraints.txt`` | packages and their versions, for ``pip install -c`` |
| ``ro-crate-metadata.json`` | the same for machines: a Process Run Crate (`sloop.runs.crate`) |
| others | citation, methods, datasets and scores in forms of others (`sloop.runs.papers`, `sloop.runs.exchange`) |

The SHA-256 of ``manifest.json`` stands for the bundle, zipped or not: a paper prints it. Reading one runs nothing,
builds nothing, follows no link and unpacks no more than was declared. What reads the configuration of a stranger's to
run it asks `foreign` first.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import stat
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pydantic import Field, TypeAdapter, ValidationError

from sloop.engine.build import MOVED
from sloop.engine.identity import ROOT
from sloop.records import FileRecord, Record, RunRecord, Score, UserError, from_json
from sloop.records.ranges import Sha256
from sloop.records.runs import Inside
from sloop.store.content import CHECKPOINT_ENDINGS
from sloop.store.files import MAX_VALUE, first_fault, named, reading, whole, writing

MANIFEST, RUN, INPUTS, CRATE = "manifest.json", "run", "inputs", "ro-crate-metadata.json"
REPLIES = "replies.jsonl"
VERSION = 1
"""Of `Manifest`; one of a later version is not read."""
ENDINGS = CHECKPOINT_ENDINGS | {".jsonl", ".gz", ".md", ".yaml", ".yml", ".cff", ".bib", ".csv", ".diff"}
"""Of the files that a bundle may hold: data. Code, pickles and archives are none of it."""
RATIO = 500
"""Times that a file may grow as it is unpacked: JSON lines grow 5 to 60 times."""
SMALL = 1 << 20
"""Bytes up to which growth is no matter."""
MAX_FILES = 100_000
ENDPOINT = "sloop.models.endpoint.Endpoint"
"""What a configuration calls a model behind an address."""


class FileEntry(FileRecord):
    """A file of a bundle."""

    canonical: str | None = Field(None, exclude_if=lambda digest: digest is None)
    """Of JSON lines: SHA-256 of the lines unpacked, each as canonical JSON, so that spelling does not count."""


class LeftOut(FileRecord):
    """A file of the run that its bundle does not hold, and why."""

    why: str


class TakenOut(Record):
    """A part of a record that is not published."""

    where: str
    """File and key."""
    what: str
    """``path``, ``address``, ``host``, ``secret``, or several of them."""
    now: str
    """What stands in its place."""


class Input(Record):
    """A file or folder that a key of the configuration names."""

    key: str
    """In dots."""
    given: str
    """Its value, as published."""
    file: Inside | None
    """In the bundle; None: it is left out."""
    sha256: Sha256 | None
    """None where it was not there any more, or is a folder."""


class ModelEntry(Record):
    """Weights that a stage made: SHA-256 of every file, by what it is for."""

    digest: str
    """Of the checkpoint (`sloop.records.Checkpoint`)."""
    weights: dict[str, Sha256]
    tokenizer: dict[str, Sha256]
    chat_template: dict[str, Sha256]
    settings: dict[str, Sha256]


class Remote(Record):
    """A model behind an endpoint, which nobody can ask again as it was: the kept replies are what can be replayed."""

    role: str
    base_url: str
    asked: str
    """Name of the model, as configured."""
    returned: tuple[str, ...]
    """Names under which replies were counted."""
    fingerprint: str | None
    """None: no reply's was kept."""
    settings: dict[str, Any]
    """Temperature and whatever else its section says."""
    prompts: str | None
    """Digest of the sentences that it was asked in; None where the code that is installed is not that of the run."""
    cache: Sha256 | None
    """Of the file of kept replies; None: none were kept."""


class Sibling(Record):
    """Another run of the same sweep: whoever cites one names all."""

    id: str
    study: str
    name: str
    variant: str
    seed: int
    status: str
    config_hash: str


class Measured(Score):
    """A score of a round (0: of a stage used alone, or of the checkpoint as it came)."""

    round: int


class Manifest(Record):
    """What must be known to cite a run, to check it and to run it again."""

    version: int = VERSION
    sloop: str
    """Version that wrote the bundle."""
    run: RunRecord
    """In its public form, as in ``run/run.json``: id, configuration, overrides, command, code with its diff, versions,
    machine, environment, stages with every file's rows, bytes and digest, rounds, cost, latency, BibTeX."""
    published_hash: Sha256
    """`config_hash` of the configuration as published; it is `run.config_hash` where nothing that counts was taken
    out."""
    unclean: tuple[str, ...]
    """What stands between this run and its repetition, a sentence each (`sloop.runs.cite.unclean`)."""
    parents: dict[Inside, dict[str, str]]
    """By stage: the file or checkpoint of the run that each part of its key names by digest."""
    models: dict[Inside, ModelEntry]
    """By stage."""
    remotes: tuple[Remote, ...]
    seeds: dict[str, int]
    """By stage and by key of the configuration."""
    determinism: dict[str, str]
    metrics: tuple[Measured, ...]
    """Of every round, with n and interval, slices too."""
    siblings: tuple[Sibling, ...]
    inputs: tuple[Input, ...]
    taken_out: tuple[TakenOut, ...]
    files: dict[Inside, FileEntry]
    """Every file of the bundle but the manifest itself."""
    left_out: dict[Inside, LeftOut]


class Tampered(UserError):
    """A bundle that is not as `sloop cite` writes one: nothing more is read of it."""


class Bundle:
    """An opened bundle: its manifest, and its files, which are what their names say and lie inside."""

    def __init__(self, path: Path) -> None:
        """Look at every name and size, and read the manifest.

        Args:
            path: a zip or a folder.

        Raises:
            Tampered: the zip is broken, or has names, links, sizes or kinds of files that no bundle has.
            UserError: there is no such file, or its manifest is of a later version.
        """
        self.path = path
        self._zip: ZipFile | None = None
        if path.is_dir():
            if not (path / MANIFEST).is_file():
                raise Tampered(_is_none(path))
            self.sizes = _folder_sizes(path)
        else:
            with reading(path, "Give a bundle of sloop cite: a zip, or the folder that it was unpacked to."):
                self._zip = _opened(path)
            self.sizes = _zip_sizes(self._zip, path)
        if MANIFEST not in self.sizes:
            raise Tampered(_is_none(path))
        content = self.read(MANIFEST)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.manifest = _manifest(content, path)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file of the bundle, for its bytes.

        Raises:
            Tampered: its bytes are not what the zip says of them.
        """
        if self._zip is None:
            with reading(self.path / name, packed=True) as file:
                yield file
            return
        try:
            with self._zip.open(name) as file:
                yield file
        except (BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
            raise Tampered(f"{name}: it cannot be unpacked ({error}).") from error

    def read(self, name: str, most: int = MAX_VALUE) -> bytes:
        """The bytes of a file; `UserError` where there are more than ``most``."""
        with self.open(name) as file:
            return whole(file, self.path / name, most)

    def unpack(self, folder: Path) -> None:
        """Write every file into a folder, which is made; `UserError` where it holds something."""
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{named(folder)} is not empty. Name a folder that is, or is not there yet.")
        for name in self.sizes:
            with self.open(name) as packed, writing(folder / name) as file:
                shutil.copyfileobj(packed, file)


def read_bundle(path: Path) -> Bundle:
    """Open a bundle; arguments and errors as of `Bundle`."""
    return Bundle(path)


def _is_none(path: Path) -> str:
    return f"{named(path)}: it has no {MANIFEST} at its top. Give a bundle; sloop cite RUN writes one."


def _manifest(content: bytes, path: Path) -> Manifest:
    where = f"{named(path)}: {MANIFEST}"
    try:
        plain = from_json(content.decode(), wraps=2)
        version = plain.get("version") if isinstance(plain, Mapping) else None
        if isinstance(version, int) and version > VERSION:
            raise UserError(
                f"{where}: written by a later sloop (version {version}; this one reads up to {VERSION}). Install that "
                "version, or a later one."
            )
        return Manifest.model_validate(plain)
    except (ValueError, ValidationError) as error:
        raise Tampered(f"{where}: it is none of sloop ({first_fault(error)}).") from error


# --- names and sizes ----------------------------------------------------------------------------------------------

_INSIDE: TypeAdapter[str] = TypeAdapter(Inside)


def _check_names(names: list[str], where: Path) -> None:
    """Refuse names that lead out, mean something elsewhere, or are one and the same on some system."""
    known: dict[str, str] = {}
    if len(names) > MAX_FILES:
        raise Tampered(f"{named(where)}: {len(names)} files; a bundle has {MAX_FILES} at most.")
    for name in names:
        try:
            _INSIDE.validate_python(name)
        except ValidationError:
            raise Tampered(f"{name!a}: it leads out of the bundle, or is no name of a file.") from None
        if "." in PurePosixPath(name).parts or ":" in name or name.startswith("/"):
            raise Tampered(f"{name!a}: it leads out of the bundle, or is no name of a file.")
        same = unicodedata.normalize("NFC", name).casefold()
        if (other := known.setdefault(same, name)) is not name:
            twice = "it is there twice" if other == name else f"it is {other} where case does not count"
            raise Tampered(f"{name!a}: {twice}.")
        if PurePosixPath(name).suffix not in ENDINGS:
            raise Tampered(f"{name!a}: a bundle holds data ({', '.join(sorted(ENDINGS))}), no code, pickle or archive.")


def _folder_sizes(folder: Path) -> dict[str, int]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode
        if not stat.S_ISDIR(mode):
            if not stat.S_ISREG(mode):
                raise Tampered(f"{name!a}: a link, or no regular file.")
            found[name] = path.stat().st_size
    _check_names(list(found), folder)
    return found


def _opened(path: Path) -> ZipFile:
    try:
        return ZipFile(path)
    except (BadZipFile, ValueError, NotImplementedError) as error:
        raise Tampered(f"{named(path)}: no whole zip ({error}). Fetch the bundle again.") from error


def _zip_sizes(opened: ZipFile, path: Path) -> dict[str, int]:
    entries = [entry for entry in opened.infolist() if not _is_plain_folder(entry)]
    _check_names([entry.orig_filename for entry in entries], path)
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise Tampered(f"{entry.filename}: a link, or no regular file.")
        if entry.flag_bits & 1 or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise Tampered(f"{entry.filename}: it is encrypted, or packed in a way that no bundle is.")
        if entry.file_size > SMALL and entry.file_size > RATIO * entry.compress_size:
            raise Tampered(
                f"{entry.filename}: {entry.compress_size} bytes are said to unpack to {entry.file_size}; at most "
                f"{RATIO} times as many are taken."
            )
    if sum(entry.compress_size for entry in entries) > path.stat().st_size:
        raise Tampered(f"{named(path)}: its files are said to be larger than the zip, so that they lie in each other.")
    return {entry.filename: entry.file_size for entry in entries}


def _is_plain_folder(entry: ZipInfo) -> bool:
    """An entry that names a folder and holds nothing, as some programs write them."""
    return entry.is_dir() and not entry.file_size and entry.orig_filename.rstrip("/") not in ("", ".", "..")


# --- a stranger's configuration -----------------------------------------------------------------------------------


def endpoints(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every section of a configuration, or of a part of one, that is a model behind an address."""
    if isinstance(config, Mapping):
        if config.get("_target_") == ENDPOINT:
            yield config
        config = tuple(config.values())
    if isinstance(config, list | tuple):
        for part in config:
            yield from endpoints(part)


def foreign(config: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """What a configuration says that would run or look up something beside sloop's own components: (key, value).

    Every ``_target_`` that is no class which a module of sloop defines (found by its source: nothing is imported), any
    other key of Hydra's instantiation, and text that OmegaConf would resolve (``${...}``).
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            place = f"{key}.{name}" if key else str(name)
            if name == "_target_" and _is_own(str(value)):
                continue
            if re.fullmatch(r"_\w+_", str(name)):
                yield place, str(value)
            else:
                yield from foreign(value, place)
    elif isinstance(config, list | tuple):
        for index, value in enumerate(config):
            yield from foreign(value, f"{key}[{index}]")
    elif isinstance(config, str) and "${" in config:
        yield key, config


def _is_own(target: str) -> bool:
    module, _, name = MOVED.get(target, target).rpartition(".")
    if not re.fullmatch(r"sloop(\.[A-Za-z]\w*)+", module):
        return False
    path = (ROOT / module.replace(".", "/")).with_suffix(".py")
    if not path.is_file():
        return False
    return any(isinstance(node, ast.ClassDef) and node.name == name for node in ast.parse(path.read_bytes()).body)


# --- writing ------------------------------------------------------------------------------------------------------

WHEN = (1980, 1, 1, 0, 0, 0)
"""Of every file of a zip: the earliest that the format knows."""


def pack(path: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write a zip whose bytes depend on its files' names and bytes alone.

    Args:
        path: of the zip.
        files: by name: their bytes, or where they stand.
    """
    with writing(path) as raw, ZipFile(raw, "w") as packed:
        for name in sorted(files):
            info = ZipInfo(name, WHEN)
            info.compress_type, info.external_attr = ZIP_DEFLATED, 0o644 << 16
            content = files[name]
            with packed.open(info, "w", force_zip64=True) as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    with reading(content, packed=True) as given:
                        shutil.copyfileobj(given, file)
