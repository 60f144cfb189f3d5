"""Where dialogues lie: files of JSON lines, JSON or Parquet, and the folders and hub sets of `datasets`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from sloop.records import UserError, digest, from_json
from sloop.store.content import file_digest
from sloop.store.files import MAX_UNPACKED, check_file, decoded, lines_of, named, read_bytes

HUB = "hf:"
"""Before the name of a set that `datasets` loads: ``hf:NAME``, ``hf:NAME:CONFIG`` or ``hf:NAME:CONFIG:SPLIT``."""
WANTED = "It should hold JSON lines, one sample or dialogue a line."


class Source:
    """Rows and the digest of the bytes that they come from."""

    def __init__(self, given: str | Path, what: str = WANTED) -> None:
        """Take a path, or what begins with `HUB`; ``what`` is said of a file that is not there.

        Raises:
            UserError: there is no such file or folder.
        """
        self.given = str(given)
        self.path = Path(given)
        self._is_set = self.given.startswith(HUB) or _holds_something(self.path)
        if not self._is_set:
            check_file(self.path, what)

    @property
    def is_lines(self) -> bool:
        """Whether it is a file of JSON lines, as sloop's own are."""
        return not self._is_set and self.path.suffixes[-1:] != [".parquet"] and not self._is_list

    @cached_property
    def sha256(self) -> str:
        """Digest of the file's bytes; of a set, of those of its tables."""
        if not self._is_set:
            return file_digest(self.path)
        tables = [file_digest(Path(table["filename"])) for table in self._set.cache_files]
        return digest([tables or self._set._fingerprint, len(self._set)])  # held in memory, it has no files

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows, numbered from 1; of a file of lines, by line.

        Raises:
            UserError: it cannot be read, or a row is no JSON object.
        """
        if self._is_set:
            yield from enumerate(map(dict, self._set), 1)
        elif self.path.suffix == ".parquet":
            yield from enumerate(_parquet(self.path), 1)
        else:
            for number, row in self._listed() if self._is_list else self._lines():
                if not isinstance(row, dict):
                    raise UserError(f"{self.path}, line {number}: not a JSON object; allowed: one JSON object a line.")
                yield number, row

    @cached_property
    def _is_list(self) -> bool:
        """Whether it is a ``.json`` file of one list; such files are as often JSON lines."""
        if self.path.suffixes[-1:] != [".json"] and self.path.suffixes[-2:] != [".json", ".gz"]:
            return False
        first = next(lines_of(self.path, WANTED), (1, ""))[1]
        return first.lstrip().startswith("[")

    def _lines(self) -> Iterator[tuple[int, Any]]:
        for number, line in lines_of(self.path, WANTED):
            try:
                yield number, from_json(line)
            except ValueError as error:
                raise UserError(
                    f"{named(self.path)}, line {number}: not JSON ({error}); allowed: one JSON object a line."
                ) from error

    def _listed(self) -> Iterator[tuple[int, Any]]:
        try:
            found = from_json(decoded(read_bytes(self.path, WANTED, MAX_UNPACKED), self.path), wraps=1)
        except ValueError as error:
            raise UserError(f"{named(self.path)}: not JSON ({error}); allowed: a list of JSON objects.") from error
        return enumerate(found, 1)

    @cached_property
    def _set(self) -> Any:
        """A table of `datasets`."""
        import datasets

        parts = self.given.removeprefix(HUB).split(":") if self.given.startswith(HUB) else [self.given]
        name, config, split = [*parts, "", ""][:3]
        splits: list[str] = []
        try:
            saved = (Path(name) / "state.json").is_file() or (Path(name) / "dataset_dict.json").is_file()
            found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, config or None)
            if isinstance(found, datasets.Dataset):
                return found
            splits = list(found)
            return found[split or ("train" if len(splits) > 1 else splits[0])]
        except (OSError, ValueError, LookupError, datasets.exceptions.DatasetsError) as error:
            told = f" Its splits: {', '.join(splits)}." if splits else ""
            raise UserError(
                f"{self.given}: `datasets` cannot load it ({' '.join(str(error).split())[:300]}).{told} Give "
                f"{HUB}NAME, {HUB}NAME:CONFIG or {HUB}NAME:CONFIG:SPLIT, the folder of a saved set, or a file."
            ) from error


def _holds_something(path: Path) -> bool:
    return os.path.isdir(path) and os.access(path, os.R_OK) and any(path.iterdir())  # noqa: PTH112 - any path will do


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    check_file(path)
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                yield from batch.to_pylist()
    except (OSError, ArrowException) as error:
        raise UserError(f"{named(path)}: not a Parquet file ({' '.join(str(error).split())[:200]}).") from error
