"""What a result depends on: the one place that says it.

A stage's key is its name, the code that can change its bytes, and its parts: typed inputs and settings, with files and
checkpoints known by their content and never by their path, and components by what they are built from. A run's
configuration is known by `config_hash`. What changes no result has one name, here and on the classes of components:
`NOT_RESULTS`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import marshal
import os
import py_compile
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from types import CodeType
from typing import Any, cast

from sloop.engine.build import MOVED, SPEC, find
from sloop.records import Checkpoint, Record, digest
from sloop.store import Rows, file_digest
from sloop.store.content import CHECKPOINT_ENDINGS

ROOT = Path(__file__).parents[2]
"""Folder that holds the package."""
SEEN = "__sloop_seen__"
"""Attribute of a component that was built from no specification: how it was when it was first described."""
CHECKED = bytes([3, 0, 0, 0])
"""Flags of compiled code that holds for sources of one content, whatever their time is (PEP 552)."""
SOURCES = frozenset({".py", ".jinja", ".json", ".yaml"})
"""Endings of what the package is made of."""

NOT_RESULTS: Mapping[str, tuple[str, ...]] = {
    "": (
        "output_dir", "paths", "tracking", "executor", "preview", "cache", "preflight", "spending", "prices",
        "retry_failed", "resume", "cite",
    ),
    "endpoint": ("limits", "cache", "cache_path"),
    "benchmark": ("cache_path",),
    "student": ("models",),
}  # fmt: skip
"""By section of the configuration ("" is the top), wherever it stands: what says where and how a run is kept, and not
what it computes. A component's class lists its own arguments of this kind under the same name."""

LATER: Mapping[str, Mapping[str, Any]] = {
    "": {"trials": 1}, "loop": {"round_0": None, "restart": False}, "corruption": {
        "name": "clean", "wrong": 0.0, "drifted": 0.0, "foreign": 0.0, "keep": None, "foreign_tools": "server",
        "refusal": "None of my tools can do that.", "mistakes": {
            "wrong_tool": 1.0, "dropped_argument": 1.0, "altered_value": 1.0, "missing_call": 0.0, "spurious_call": 0.0,
        },
    }, "decode": {"temperature": 0.0}, "benchmark": {"limit": None, "limit_seed": 0, "reading": None},
    "student": {
        "attn_implementation": None, "prefill_tokens": None, "sha256": None, "chat_template": "own",
        "chat_template_kwargs": {}, "date": "2026-01-01",
    },
}  # fmt: skip
"""By section: keys that came after hashes had been published, with the value at which a run computes what it did
before. At that value they are no part of the hash, nor is a section of which nothing is left."""

PUBLISHED = {new: old for old, new in MOVED.items()}
"""The name that a class had when hashes were published: moving it changes no hash."""


def unit_rng(seed: int, stage: str, round: int, key: str) -> Random:
    """The unit's own generator: the order of work, and other units, change nothing."""
    return Random(digest([seed, stage, round, key]))


# --- a configuration ----------------------------------------------------------------------------------------------


def config_hash(config: Mapping[str, Any]) -> str:
    """64 hex digits over what a run computes; `NOT_RESULTS` and `LATER` are left out."""
    return digest(_results(config, ""))


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The keys, with dots, by which two configurations have different hashes."""
    one, other = (dict(_leaves(_results(config, ""))) for config in (first, second))
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _leaves(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _results(section: Mapping[str, Any], name: str) -> dict[str, Any]:
    left_out, later = NOT_RESULTS.get(name, ()), LATER.get(name, {})
    known = {key: PUBLISHED.get(value, value) if key == "_target_" else value for key, value in section.items()}
    found = {
        key: _results(value, name if _is_one_of_several(name, value) else key) if isinstance(value, Mapping) else value
        for key, value in known.items()
        if key not in left_out and (key not in later or later[key] != value)
    }
    return {key: value for key, value in found.items() if value != {} or section[key] == {}}


def _is_one_of_several(name: str, value: Mapping[str, Any]) -> bool:
    """Whether a section is that of a benchmark among others."""
    return name == "benchmark" and "_target_" in value


# --- components ---------------------------------------------------------------------------------------------------


def describe(component: Any) -> Any:
    """Plain data that stands for a component: what it is built from, files by their digest.

    A component that was not made from a specification is described by its class and its plain attributes, as they were
    when it was first asked about: loading weights makes no other student of it. Arguments that its class lists in
    ``NOT_RESULTS`` say how it works and not what comes of it, and are left out. Those in its ``FOLDERS`` name folders,
    whose files count.

    Args:
        component: an instance, or its specification.
    """
    if isinstance(component, Mapping):
        return _by_content(component)
    return _described(_spec_of(component), type(component))


def _spec_of(component: Any) -> Mapping[str, Any]:
    spec: Mapping[str, Any] | None = getattr(component, SPEC, None) or getattr(component, SEEN, None)
    if spec is None:
        plain = {k: v for k, v in sorted(vars(component).items()) if isinstance(v, str | int | float | bool | None)}
        spec = {"_target_": f"{type(component).__module__}.{type(component).__qualname__}", **plain}
        object.__setattr__(component, SEEN, spec)
    return spec


def _described(spec: Mapping[str, Any], cls: type) -> dict[str, Any]:
    left_out: frozenset[str] = getattr(cls, "NOT_RESULTS", frozenset())
    folders: frozenset[str] = getattr(cls, "FOLDERS", frozenset())
    return {
        str(key): _files_of(item) if key in folders and item is not None else _by_content(item)
        for key, item in spec.items()
        if key not in left_out
    }


def _by_content(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _described(value, find(value["_target_"], ""))
        return {str(key): _by_content(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(item) for item in value]
    # os.path, as Path.is_file raises where a text is too long to be the name of a file
    if isinstance(value, str) and ("/" in value or "." in value) and os.path.isfile(value):  # noqa: PTH113
        return {"file": file_digest(Path(value))}
    return value


@functools.cache
def _digest_known(path: Path, size: int, changed: int) -> str:
    return file_digest(path)


def _digest_of(path: Path) -> str:
    """Read once as long as it stays as it is: weights are gigabytes, and every stage is asked for its key."""
    stat = path.stat()
    return _digest_known(path, stat.st_size, stat.st_mtime_ns)


def _files_of(folder: Any, endings: frozenset[str] | None = None) -> Any:
    root = Path(str(folder))
    if not root.is_dir():  # a file, or the id of something on a hub
        return _by_content(folder)
    if endings is None and (root / "config.json").is_file():
        endings = CHECKPOINT_ENDINGS
    return {
        str(path.relative_to(root)): _digest_of(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and (endings is None or path.suffix in endings)
    }


# --- code ---------------------------------------------------------------------------------------------------------


def modules_of(component: Any) -> set[str]:
    """The modules whose code a component's results depend on: those that its class and its parts' classes list in
    ``MODULES``, else the module that defines the class; and those that hold what its arguments listed in ``CODE`` name.

    Args:
        component: an instance, or its specification; or plain data with such in it.
    """
    if isinstance(component, list | tuple):
        return set[str]().union(*map(modules_of, component))
    if not isinstance(component, Mapping) and not is_component(component):
        return set()
    spec = component if isinstance(component, Mapping) else _spec_of(component)
    cls = None if spec is component else type(component)
    if "_target_" in spec and cls is None:
        cls = find(spec["_target_"], "")
    named: Iterable[str] = getattr(cls, "MODULES", (cls.__module__,)) if cls else ()
    code: frozenset[str] = getattr(cls, "CODE", frozenset())
    theirs = {module_of(path) for key in code for path in spec.get(key) or ()}
    return theirs.union(named, *map(modules_of, spec.values()))


def module_of(path: str) -> str:
    """The module of what a dotted path names."""
    return path.rpartition(".")[0]


def code_digest(modules: Iterable[str]) -> str:
    """Digest of what some modules do: of their compiled code without docstrings, comments and line numbers, which
    change no result. Another Python compiles to other code.

    Args:
        modules: dotted names; that of a package stands for every file in it. One with a slash names a file or folder
            under the folder that holds the package, such as ``sloop/prompts``.
    """
    return digest({name: _name_digest(name) for name in sorted(set(modules))})


@functools.cache
def package_digest() -> str:
    """Digest of the package's files as they are: which code made a run, whether or not it changes results."""
    return digest(_files_of(ROOT / "sloop", SOURCES))


@functools.cache
def _name_digest(name: str) -> str:
    """Empty where there is no source: of a class that was typed into a session only the name is known."""
    if "/" in name:
        return source_digest(ROOT / name)
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return ""
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return ""
    path = Path(found.origin)
    return source_digest(path.parent if path.name == "__init__.py" else path)


def source_digest(path: Path) -> str:
    """Digest of what a source file does, of another file's bytes, or of all of these in a folder."""
    if path.is_dir():
        inner = (p for p in path.rglob("*") if p.suffix in SOURCES)
        return digest({str(p.relative_to(path)): source_digest(p) for p in sorted(inner)})
    if path.suffix != ".py":
        return file_digest(path)
    return hashlib.sha256(repr(_behaviour(_compiled(path))).encode()).hexdigest()


def _compiled(path: Path) -> CodeType:
    """Code without docstrings, kept where Python keeps code: compiling a stage's takes as long as 200 samples."""
    source = path.read_bytes()
    stamp = importlib.util.MAGIC_NUMBER + CHECKED + importlib.util.source_hash(source)
    kept = Path(importlib.util.cache_from_source(str(path), optimization="2"))
    with suppress(OSError):
        if kept.is_file() and (found := kept.read_bytes()).startswith(stamp):
            return cast(CodeType, marshal.loads(found[len(stamp) :]))
        if not sys.dont_write_bytecode:
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            py_compile.compile(str(path), optimize=2, quiet=2, invalidation_mode=mode)
    return compile(source, "", "exec", dont_inherit=True, optimize=2)


def _behaviour(code: CodeType) -> list[Any]:
    """What a code object does, as nested lists in an order that no run changes."""
    facts: list[Any] = [
        code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags,
        code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_exceptiontable,
    ]  # fmt: skip
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            facts.append([constant.co_name, _behaviour(constant)])
        elif isinstance(constant, frozenset):
            facts.append(sorted(map(repr, constant)))
        else:
            facts.append(repr(constant))
    return facts


# --- a stage ------------------------------------------------------------------------------------------------------


def stage_key(stage: Any) -> dict[str, Any]:
    """What a stage's result depends on, as plain data.

    Args:
        stage: see `sloop.engine.stage.Stage`. Every field counts, but those that its class lists in ``NOT_RESULTS``.
    """
    left_out: frozenset[str] = getattr(stage, "NOT_RESULTS", frozenset())
    parts = {f.name: getattr(stage, f.name) for f in dataclasses.fields(stage) if f.name not in left_out}
    named = set(stage.MODULES) | modules_of(parts)
    return {"stage": stage.name, "code": code_digest(named), **{name: known_as(part) for name, part in parts.items()}}


def known_as(value: Any) -> Any:
    """Plain data that a value is known by: data, files and checkpoints by their digests, components by `describe`."""
    if isinstance(value, Checkpoint):
        return value.digest
    if isinstance(value, Record):
        return value.model_dump(mode="json")
    if isinstance(value, Rows):
        return value.sha256
    if isinstance(value, Path):
        return file_digest(value)
    if isinstance(value, frozenset):
        return digest(sorted(value))
    if isinstance(value, list | tuple):
        return [known_as(item) for item in value]
    if is_component(value):
        return describe(value)
    if isinstance(value, Mapping):
        return {str(key): known_as(item) for key, item in value.items()}
    return value


def is_component(value: Any) -> bool:
    """Whether a value is a component or the specification of one."""
    if isinstance(value, Mapping):
        return "_target_" in value
    return not isinstance(value, str | int | float | None | Record | Rows | Path | frozenset | list | tuple)
