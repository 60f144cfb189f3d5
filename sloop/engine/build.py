"""Components from configuration: a plain class named by ``_target_``, built from plain data."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, validate_call

from sloop.records import UserError
from sloop.store import file_digest

_SPEC = "__sloop_spec__"


def build(spec: Any, path: str = "", made: Callable[[Any], None] | None = None) -> Any:
    """Build what a specification describes.

    A mapping with ``_target_`` (a dotted path) becomes an instance of that class, its other entries, built first,
    being keyword arguments that are validated and coerced against the constructor's annotations. Other mappings and
    lists are built entry by entry; everything else stays as it is.

    Args:
        spec: plain data.
        path: where the specification stands in the configuration, for messages.
        made: told of every instance, parts before what they are parts of.

    Raises:
        UserError: no such class, or an argument that is unknown, missing or of a wrong type; names the full key.
    """
    if isinstance(spec, Mapping):
        built = {key: build(value, f"{path}.{key}" if path else str(key), made) for key, value in spec.items()}
        if "_target_" not in spec:
            return built
        component = _instance(spec, built, path)
        if made:
            made(component)
        return component
    if isinstance(spec, list | tuple):
        return [build(value, f"{path}[{index}]", made) for index, value in enumerate(spec)]
    return spec


def describe(component: Any) -> Any:
    """Plain data that stands for a component in a stage's key: what it was built from, files by their digest.

    A component that was not made by `build` is described by its class and its plain attributes, as they were when it
    was first asked about: loading weights makes no other student of it. Arguments that its class lists in
    ``NOT_RESULTS`` say how it works and not what comes of it, and are left out. Those in its ``FOLDERS`` name folders,
    whose files count.
    """
    spec = getattr(component, _SPEC, None)
    if spec is None:
        plain = {k: v for k, v in sorted(vars(component).items()) if isinstance(v, str | int | float | bool | None)}
        spec = {"_target_": f"{type(component).__module__}.{type(component).__qualname__}", **plain}
        object.__setattr__(component, _SPEC, spec)
    return _described(spec, type(component))


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
            return _described(value, _find(value["_target_"], ""))
        return {str(key): _by_content(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(item) for item in value]
    # os.path, as Path.is_file raises where a text is too long to be the name of a file
    if isinstance(value, str) and ("/" in value or "." in value) and os.path.isfile(value):  # noqa: PTH113
        return {"file": file_digest(Path(value))}
    return value


def _files_of(folder: Any) -> dict[str, str]:
    root = Path(str(folder))
    return {str(path.relative_to(root)): file_digest(path) for path in sorted(root.rglob("*")) if path.is_file()}


def _instance(spec: Mapping[str, Any], arguments: dict[str, Any], path: str) -> Any:
    target = arguments.pop("_target_")
    cls = _find(target, path)
    component: Any = object.__new__(cls)
    try:
        if issubclass(cls, BaseModel):
            component = cls.model_validate(arguments)
        elif cls.__init__ is object.__init__:  # nothing to give: a plain function says so in the same words
            validate_call(_takes_nothing)(**arguments)
        else:
            validate_call(config=ConfigDict(arbitrary_types_allowed=True))(component.__init__)(**arguments)
    except ValidationError as error:
        raise UserError(_complaint(error, cls, path)) from error
    object.__setattr__(component, _SPEC, dict(spec))
    return component


def _takes_nothing() -> None: ...


def _find(target: Any, path: str) -> type:
    module_name, _, class_name = str(target).rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{path}._target_={target}: cannot import the module {module_name!r} ({error}). "
            "Give the dotted path of an importable class, such as sloop.simulation.template.TemplateTeacher."
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module_name]
        raise UserError(f"{path}._target_={target}: {module_name} has no class {class_name!r}; it has: {classes}.")
    return found


def _complaint(error: ValidationError, cls: type, path: str) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    key = f"{path}.{name}" if path else name
    allowed = [n for n in inspect.signature(cls).parameters if n != "self"]
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        close = difflib.get_close_matches(name, allowed, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{key}: {cls.__name__} takes no such key.{hint} Allowed: {', '.join(allowed)}."
    if first["type"].startswith("missing"):
        return f"{key} is missing: {cls.__name__} needs it. Give it, for example: {key}=VALUE"
    return f"{key}={first['input']!r}: {first['msg']}."
