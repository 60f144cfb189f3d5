"""Files of records that are unique by a key: datasets, predictions, rulings."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from sloop.records import Prediction, Record, Sample, UserError, trial_id
from sloop.store.content import file_digest
from sloop.store.files import (
    MAX_UNPACKED,
    check_file,
    next_line,
    placed_rows,
    read_bytes,
    read_rows,
    reading,
    record_in,
    row_of,
)

R = TypeVar("R", bound=Record)


class Rows(Generic[R]):
    """A file of records that are unique by a key, read as a stream; only keys and columns are ever whole in memory."""

    def __init__(self, path: Path, kind: type[R], key: Callable[[R], str], *, sha256: str | None = None) -> None:
        """Open a file of JSON lines.

        Args:
            path: ``.jsonl`` or ``.jsonl.gz``.
            kind: what a line holds.
            key: what a record is known by.
            sha256: of the file's bytes, where it is known.

        Raises:
            UserError: there is no such file, or it is none.
        """
        check_file(path, f"It should hold JSON lines, one {kind.__name__} a line.")
        self.path = path
        self._kind = kind
        self._key = key
        self._sha256 = sha256
        self._offsets: dict[str, int] | None = None
        self._unzipped: bytes | None = None

    def __iter__(self) -> Iterator[R]:
        return read_rows(self.path, self._kind)

    def __len__(self) -> int:
        return len(self._index())

    def __contains__(self, key: object) -> bool:
        return key in self._index()

    @property
    def sha256(self) -> str:
        """Digest of the file's bytes (64 hex digits)."""
        if self._sha256 is None:
            self._sha256 = file_digest(self.path)
        return self._sha256

    def ids(self) -> list[str]:
        """Keys in file order.

        Raises:
            UserError: a key occurs twice.
        """
        return list(self._index())

    def column(self, name: str) -> list[Any]:
        """One field of every record, in file order."""
        return [getattr(record, name) for record in self]

    def pick(self, keys: Iterable[str]) -> Iterator[R]:
        """The records with these keys, in the order asked for, one at a time."""
        index = self._index()
        with self._open() as file:
            for key in keys:
                file.seek(index[key])
                yield record_in(next_line(file, self.path), self._kind, self.path, f"byte {index[key]}")

    def _open(self) -> AbstractContextManager[IO[bytes]]:
        if self.path.suffix != ".gz":
            return reading(self.path)
        if self._unzipped is None:  # seeking in gzip means unpacking it anew: these files are small, keep the text
            self._unzipped = read_bytes(self.path, most=MAX_UNPACKED)
        return io.BytesIO(self._unzipped)

    def _index(self) -> dict[str, int]:
        """Byte offset of each record in the (uncompressed) text."""
        if self._offsets is None:
            now = check_file(self.path)
            stamp = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
            self._offsets = _offsets(self.path, self._kind, self._key, stamp)
        return self._offsets


@functools.lru_cache(maxsize=8)
def _offsets(path: Path, kind: type[R], key: Callable[[R], str], stamp: tuple[int, ...]) -> dict[str, int]:
    """Offsets by key, kept for the next who opens the same file: a stage opens its inputs for each of its parts.

    Raises:
        UserError: a key occurs twice.
    """
    offsets: dict[str, int] = {}
    for offset, record in placed_rows(path, kind):
        if (known_as := key(record)) in offsets:
            raise UserError(f"{path} holds {known_as} twice; it must be unique by id.")
        offsets[known_as] = offset
    return offsets


class Dataset(Rows[Sample]):
    """A file of samples, unique by id."""

    def __init__(self, path: Path, *, sha256: str | None = None) -> None:
        """Open a dataset; see `Rows`."""
        super().__init__(path, Sample, _id_of, sha256=sha256)


def _id_of(sample: Sample) -> str:
    """A function of the module, so that a dataset can be sent to where it is read."""
    return sample.id


def predictions_at(path: Path) -> Rows[Prediction]:
    """A student's answers, by sample id; several to a sample by `sloop.records.trial_id`."""
    return Rows(path, Prediction, _trial_of)


def _trial_of(prediction: Prediction) -> str:
    return trial_id(prediction.sample_id, prediction.trial)


JSON_COLUMNS = ("tools", "messages", "label", "lineage", "env")
"""Fields that Arrow would pad with nulls and retype; they travel as JSON strings."""


def to_datasets(data: Dataset) -> Any:
    """The dataset as a Hugging Face ``datasets.Dataset``; nested fields are JSON strings (see `JSON_COLUMNS`)."""
    import datasets

    def rows() -> Iterator[dict[str, Any]]:
        for sample in data:
            row = row_of(sample)
            yield {k: json.dumps(v, ensure_ascii=False) if k in JSON_COLUMNS else v for k, v in row.items()}

    return datasets.Dataset.from_list(list(rows()))


def from_datasets(table: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
    """Samples from the rows of a `to_datasets` table; equal to those that it was made of."""
    for row in table:
        plain = {k: json.loads(v) if k in JSON_COLUMNS and isinstance(v, str) else v for k, v in row.items()}
        plain.pop("id", None)
        yield Sample.model_validate(plain)
