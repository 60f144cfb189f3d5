"""What is asked of a checkpoint's files before anything is loaded from them: a folder may be a stranger's.

Nothing in it is run, nothing outside it is read, and what it takes of memory is known beforehand: weights are
safetensors whose headers fit their files, and the configuration describes a model of about as many parameters.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sloop.records import UserError
from sloop.store import read_json
from sloop.store.files import named

AS_SAVED = "Give the folder whole, as it was saved: config.json, model.safetensors and the tokenizer's files."
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG, ADAPTER = "config.json", "adapter_config.json"
CODE_KEYS = frozenset({"auto_map", "custom_generate", "custom_pipelines", "trust_remote_code"})
"""Keys of JSON files by which Transformers is told to run a folder's code."""
KERNEL_KEYS = frozenset({"attn_implementation", "_attn_implementation", "experts_implementation"})
"""Keys whose value is a plain word, or names code on the Hub."""
LARGEST_HEADER = 100 << 20
LARGEST_NUMBER = 1 << 31
"""Of a configuration: no size of any model comes near it."""
SPARE = 2.0
"""Parameters that a configuration may describe for each that the weights hold: tied ones are stored once."""
ITEM_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
"""Bits of an entry, by the names of safetensors."""


def read_object(path: Path) -> dict[str, Any]:
    """A file of settings that stands in a checkpoint.

    Raises:
        UserError: it cannot be read, or is no JSON object.
    """
    found = read_json(path, AS_SAVED)
    if not isinstance(found, dict):
        raise UserError(f"{named(path)} is no JSON object. {AS_SAVED}")
    return found


def check_files(folder: Path) -> int | None:
    """Pass a folder from which a model and its tokenizer may be loaded.

    Returns:
        Entries of the weights; None: they are packed, and the number says nothing of the parameters.

    Raises:
        UserError: it has code of its own, or files that are broken or too large for each other.
    """
    names = {path.name for pattern in ("*config*.json", INDEX) for path in folder.glob(pattern)} | {CONFIG}
    settings = {name: read_object(folder / name) for name in sorted(names)}
    check_code(folder, settings)
    packed = "quantization_config" in settings[CONFIG]
    entries = check_weights(folder, settings.get(INDEX), quantized=packed)
    check_sizes(settings[CONFIG], folder / CONFIG, entries)
    return None if packed else entries


@contextmanager
def loading(path: Path, what: str, given: str = AS_SAVED) -> Iterator[None]:
    """Say of a folder or file that it cannot be loaded: what Transformers raises is of every type.

    Args:
        path: of the checkpoint.
        what: of it is loaded.
        given: the advice, a sentence.

    Raises:
        UserError: as said.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"checkpoint {named(path)}: its {what} cannot be loaded ({reason}). {given}") from error


def check_loaded(path: Path, found: Mapping[str, Any], given: str = AS_SAVED) -> None:
    """Pass a model all of whose weights were there.

    Args:
        path: of the checkpoint.
        found: Transformers' loading info.
        given: the advice, a sentence.

    Raises:
        UserError: some were not.
    """
    if lacking := sorted(found["missing_keys"]):  # Transformers draws them at random, and warns
        raise UserError(
            f"checkpoint {named(path)}: {len(lacking)} of the model's weights, such as {lacking[0]}, stand in none of "
            f"its files. {given}"
        )


def check_code(folder: Path, settings: Mapping[str, Any]) -> None:
    """Pass a folder that has no code of its own to run.

    Args:
        folder: of the checkpoint.
        settings: its files of settings, by name.

    Raises:
        UserError: it has; names file and key.
    """
    if (folder / "custom_generate").exists():
        raise _code(folder / "custom_generate", "is code")
    for name in (name for name in settings if "config" in name):
        for key, value in _entries(settings[name]):
            if key in CODE_KEYS and value not in (None, False):
                raise _code(folder / name, f"asks for it ({key})")
            if key in KERNEL_KEYS and ("/" in (said := json.dumps(value)) or ":" in said.strip("{}")):
                raise _code(folder / name, f"names code elsewhere ({key}={said[:80]})")
    if ADAPTER in settings:
        raise _wrong(folder / ADAPTER, "an adapter is no checkpoint and names its model elsewhere; merge it first")


def check_weights(folder: Path, index: Mapping[str, Any] | None, *, quantized: bool) -> int:
    """Read the headers of the weights, whose number of entries is returned.

    Raises:
        UserError: there are no safetensors, a file is missing or elsewhere, or a header does not fit its file.
    """
    if (folder / WEIGHTS).is_file():
        files = {WEIGHTS: None}
    elif index is not None:
        places = index.get("weight_map")
        if not isinstance(places, Mapping) or not places:
            raise _wrong(folder / INDEX, "it has no weight_map")
        files = dict.fromkeys(map(str, places.values()))
        for name in files:
            if Path(name).name != name or not (folder / name).is_file():
                raise _wrong(folder / INDEX, f"weight_map names {name!r}, which is no file of this folder")
    else:
        pickled = sorted(path.name for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(ending))
        found = f" ({', '.join(pickled[:3])} may hold code and are not read)" if pickled else ""
        raise UserError(f"no weights at {folder}: there is no {WEIGHTS}{found}. Save the model with save_pretrained.")
    return sum(_header_entries(folder / name, quantized) for name in files)


def check_sizes(config: Any, path: Path, entries: int) -> None:
    """Pass a configuration of sizes that a model of so many parameters may have.

    Raises:
        UserError: a number is negative or larger than any size; names the key.
    """
    for key, value in _entries(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if abs(value) > LARGEST_NUMBER:
            raise _wrong(path, f"{key}={value} is larger than any size of a model")
        sized = key.endswith(("_size", "_dim", "_layers", "_heads", "_layer", "_head", "_experts", "_embeddings"))
        if sized and not 0 <= value <= max(entries, 1 << 24):
            raise _wrong(path, f"{key}={value}: the weights have {entries} entries, and it is 0 or more")
        if key.endswith(("_layers", "_layer")) and value > entries:
            raise _wrong(path, f"{key}={value}: the weights have {entries} entries, fewer than that many layers")


def check_described(parameters: int, entries: int, path: Path) -> None:
    """Pass a model that the weights can fill.

    Raises:
        UserError: the configuration describes a much larger one.
    """
    if parameters > SPARE * entries + 1000:
        raise _wrong(path, f"it describes a model of {parameters} parameters, and the weights have {entries}")


def _header_entries(path: Path, quantized: bool) -> int:
    """Entries of all tensors of a file.

    Raises:
        UserError: the header is none, or its tensors do not lie in the file.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, LARGEST_HEADER):
            raise _wrong(path, f"its header is said to have {length} bytes, and the file has {size}")
        text = file.read(length)
    try:
        header = json.loads(text)
        tensors = {name: row for name, row in header.items() if name != "__metadata__"}
        data, entries = size - 8 - length, 0
        for name, row in tensors.items():
            first, last = row["data_offsets"]
            shape, bits = row["shape"], ITEM_BITS[row["dtype"]]
            if not all(isinstance(side, int) and side >= 0 for side in (*shape, first, last)):
                raise ValueError(f"{name} has sides that are none")
            if not quantized and name.endswith("weight") and row["dtype"][0] in "IUC":
                raise ValueError(f"{name} has entries of the type {row['dtype']}, which no weight has")
            if not first <= last <= data or (last - first) * 8 != math.prod(shape) * bits:
                raise ValueError(f"{name} of {row['dtype']} {shape} does not lie at {first} to {last} of {data} bytes")
            entries += math.prod(shape)
    except RecursionError:
        raise _wrong(path, "its header nests too deep") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong(path, f"its header does not fit the file: {str(error)[:200]}") from None
    return entries


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of nested objects, with its value."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield from part.items()
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _code(path: Path, told: str) -> UserError:
    return UserError(
        f"checkpoint {path.parent}: it brings code of its own, which is never run here: {path.name} {told}. Give one "
        "whose model is part of Transformers."
    )


def _wrong(path: Path, told: str) -> UserError:
    return UserError(f"checkpoint {path.parent}, {path.name}: {told}. {AS_SAVED}")
