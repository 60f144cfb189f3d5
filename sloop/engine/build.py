"""Components from configuration: a plain class named by ``_target_``, built from plain data."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, validate_call

from sloop.records import UserError, canonical_json
from sloop.records.ranges import key_of, told

T = TypeVar("T")
SPEC = "__sloop_spec__"
"""Attribute of a component: the specification that it was built from."""

MOVED = {
    "sloop.teachers.template.TemplateTeacher": "sloop.simulation.template.TemplateTeacher",
    "sloop.teachers.noisy.NoisyTeacher": "sloop.simulation.noisy.NoisyTeacher",
    "sloop.teachers.grounding.GroundingJudge": "sloop.judges.grounding.GroundingJudge",
    "sloop.teachers.llm.LLMJudge": "sloop.judges.llm.LLMJudge",
    "sloop.gen.RandomSampler": "sloop.stages.samplers.RandomSampler",
    "sloop.gen.CoverageSampler": "sloop.stages.samplers.CoverageSampler",
    "sloop.train.sft.SFT": "sloop.trainers.sft.SFT",
    "sloop.evaluate.benchmarks.SampleBenchmark": "sloop.benchmarks.base.SampleBenchmark",
    "sloop.evaluate.jsonl.JsonlBenchmark": "sloop.benchmarks.jsonl.JsonlBenchmark",
    "sloop.evaluate.bfcl.BfclBenchmark": "sloop.benchmarks.bfcl.BfclBenchmark",
    "sloop.evaluate.acebench.AceBenchmark": "sloop.benchmarks.acebench.AceBenchmark",
}
"""Where the classes of version 0.1 are now: configurations that were written for it, and recorded by it, still work."""


EXTRAS = {
    "torch": "train", "psutil": "train", "trl": "trl", "fastapi": "serve", "uvicorn": "serve", "rocrate": "cite",
    "ray": "ray",
}  # fmt: skip
"""By package that may be missing: the extra of sloop that installs it."""


SILENT = ("builtins", "typing")
"""Modules whose types (str, Any) say nothing of a component."""


def build(spec: Any, path: str = "", made: Callable[[Any], None] | None = None, kind: type[Any] = object) -> Any:
    """Build what a specification describes.

    A mapping with ``_target_`` (a dotted path) becomes an instance of that class, its other entries, built first,
    being keyword arguments that are validated and coerced against the constructor's annotations. Other mappings and
    lists are built entry by entry; everything else stays as it is.

    Before the first constructor runs, every class is held against what may stand where it does: ``kind``, and inside
    what the constructors' annotations say. So nothing is called that is no part of the kind that a key takes.

    Args:
        spec: plain data.
        path: where the specification stands in the configuration, for messages.
        made: told of every instance, parts before what they are parts of.
        kind: the class or protocol that a component at the top must meet.

    Raises:
        UserError: no such class, one that is not of its kind, or an argument that is unknown, missing or of a wrong
            type; names the full key.
    """
    _check(spec, (kind,), path)
    return _build(spec, path, made)


def _build(spec: Any, path: str, made: Callable[[Any], None] | None) -> Any:
    if isinstance(spec, Mapping):
        built = {key: _build(value, key_of((str(key),), path), made) for key, value in spec.items()}
        if "_target_" not in spec:
            return built
        component = _instance(spec, built, path)
        if made:
            made(component)
        return component
    if isinstance(spec, list | tuple):
        return [_build(value, key_of((index,), path), made) for index, value in enumerate(spec)]
    return spec


# --- is a class of the kind that its key takes? -----------------------------------------------------------------------


def _check(spec: Any, kinds: Sequence[Any], path: str) -> None:
    """Refuse a class that is of none of ``kinds``, and any below it that its arguments' annotations do not allow."""
    if isinstance(spec, Mapping):
        within = {"": _within(kinds, Mapping)} if "_target_" not in spec else _arguments(_checked(spec, kinds, path))
        for key, value in spec.items():
            if key != "_target_":
                _check(value, within.get(str(key), within.get("", ())), key_of((str(key),), path))
    elif isinstance(spec, list | tuple):
        for index, value in enumerate(spec):
            _check(value, _within(kinds, Sequence), key_of((index,), path))


def _checked(spec: Mapping[str, Any], kinds: Sequence[Any], path: str) -> type:
    cls = find(spec["_target_"], path)
    wanted = [kind for kind in kinds if isinstance(kind, type) and (kind is object or kind.__module__ not in SILENT)]
    if not wanted:
        raise UserError(f"{path}._target_={spec['_target_']}: this key takes no component.")
    if _is_protocol(cls) or inspect.isabstract(cls) or not any(_meets(cls, kind) for kind in wanted):
        names = " or ".join(kind.__name__ for kind in wanted)
        lacks = " It lacks methods of it, or has them with other arguments." if any(map(_is_protocol, wanted)) else ""
        raise UserError(f"{path}._target_={spec['_target_']}: this key takes a {names}, and that is none.{lacks}")
    return cls


def _meets(cls: type, kind: type) -> bool:
    """Whether a class is of a kind; of a protocol, whether its methods are there and take the protocol's arguments."""
    if not _is_protocol(kind):
        return issubclass(cls, kind)
    wanted = {
        name: value
        for base in reversed(kind.__mro__)
        if _is_protocol(base)
        for name, value in vars(base).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    return all(_takes(getattr(cls, name, None), method) for name, method in wanted.items())


def _takes(found: Any, wanted: Callable[..., Any]) -> bool:
    """Whether a method can be called as the protocol's is."""
    asked = inspect.signature(wanted).parameters.values()
    keywords = [given.name for given in asked if given.kind is given.KEYWORD_ONLY]
    try:
        inspect.signature(found).bind(*range(len(asked) - len(keywords)), **dict.fromkeys(keywords))
    except (TypeError, ValueError):  # no function, one in C that tells no arguments, or others
        return False
    return True


def _is_protocol(cls: type) -> bool:
    return bool(vars(cls).get("_is_protocol"))


def _arguments(cls: type) -> dict[str, tuple[Any, ...]]:
    """What each argument of a class may be; under "" those that it does not name."""
    if issubclass(cls, BaseModel):
        return {name: _alternatives(field.annotation) for name, field in cls.model_fields.items()}
    try:
        hints = get_type_hints(cls.__init__)
    except (AttributeError, NameError, SyntaxError, TypeError):  # of what is not there: no component may stand there
        hints = {}
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {
        "" if given.kind is given.VAR_KEYWORD else given.name: _alternatives(hints.get(given.name))
        for given in parameters
    }


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, each for itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(found for part in get_args(annotation) for found in _alternatives(part))
    return (annotation,)


def _within(kinds: Sequence[Any], container: type) -> tuple[Any, ...]:
    """What the items of a mapping or sequence of one of these kinds may be."""
    found: tuple[Any, ...] = ()
    for kind in kinds:
        origin = get_origin(kind)
        if container is Mapping and isinstance(kind, type) and issubclass(kind, BaseModel):
            found += tuple(item for items in _arguments(kind).values() for item in items)
        elif isinstance(origin, type) and issubclass(origin, container):
            items = get_args(kind)[1:] if container is Mapping else get_args(kind)
            found += tuple(item for part in items for item in _alternatives(part))
    return found


def specification(component: Any) -> Any:
    """What a component was built from, which can be sent where the component cannot; itself where it was not built."""
    return getattr(component, SPEC, component)


class Components:
    """The components of a run: each built from its specification when first asked for, shared by all who ask, and
    closed whatever happens; a context manager.
    """

    def __init__(self, made: Callable[[Any], None] | None = None) -> None:
        """Take what is told of every instance that is built, parts before what they are parts of."""
        self._made = made
        self._built: dict[str, Any] = {}

    def get(self, part: Any, kind: type[T], group: str) -> T:
        """The component that a specification describes; an instance is taken as it is, and not closed.

        Args:
            part: a specification or an instance.
            kind: the protocol that it must meet.
            group: where the specification stands in the configuration, for messages.

        Raises:
            UserError: as of `build`, or it lacks methods of ``kind``.
        """
        found = part
        if isinstance(part, Mapping):
            name = canonical_json([group, part])
            if name not in self._built:
                self._built[name] = build(part, group, self._made, kind)
            found = self._built[name]
        if not isinstance(found, kind):  # what is no method is there only once it is built
            target = part.get("_target_") if isinstance(part, Mapping) else type(part).__qualname__
            raise UserError(f"{group}._target_={target}: it lacks attributes of sloop's {kind.__name__}.")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all that can be closed; they are built anew where they are asked for again."""
        with contextlib.ExitStack() as stack:  # each is closed, also where closing another fails
            for component in self._built.values():
                if callable(close := getattr(component, "close", None)):
                    stack.callback(close)
        self._built.clear()


def _instance(spec: Mapping[str, Any], arguments: dict[str, Any], path: str) -> Any:
    target = arguments.pop("_target_")
    cls: Any = find(target, path)
    component: Any = object.__new__(cls)
    try:
        if issubclass(cls, BaseModel):
            component = cls.model_validate(arguments)
        else:
            _constructor(cls)(component, **arguments)
    except ValidationError as error:
        raise UserError(_complaint(error, cls, path)) from error
    object.__setattr__(component, SPEC, dict(spec))
    return component


@functools.cache
def _constructor(cls: Any) -> Callable[..., None]:
    """What makes an instance of what it is given, validated; a plain function where there is nothing to give."""
    made = _takes_nothing if cls.__init__ is object.__init__ else cls.__init__
    return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(made)


def _takes_nothing(_: Any) -> None: ...


def find(target: Any, path: str) -> type:
    """The class that a dotted path names; `UserError` where there is none. ``path``: where it stands, for messages."""
    module_name, _, class_name = MOVED.get(str(target), str(target)).rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        if advice := missing_extra(error):
            raise UserError(f"{path}._target_={target}: {advice}") from error
        why = str(error) if isinstance(error, ImportError | ValueError) else f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path}._target_={target}: cannot import the module {module_name!r} ({why}). "
            "Give the dotted path of an importable class, such as sloop.simulation.template.TemplateTeacher."
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module_name]
        raise UserError(f"{path}._target_={target}: {module_name} has no class {class_name!r}; it has: {classes}.")
    return found


def missing_extra(error: BaseException) -> str:
    """What to install where an import failed for want of an optional package; empty where it failed otherwise."""
    package = str(getattr(error, "name", None)).partition(".")[0] if isinstance(error, ImportError) else ""
    return (
        f"the package {package} is not installed: pip install 'sloop[{EXTRAS[package]}]'" if package in EXTRAS else ""
    )


def _complaint(error: ValidationError, cls: type, path: str) -> str:
    first = error.errors()[0]
    key = key_of(first["loc"], path)
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"} and len(first["loc"]) == 1:
        allowed = [name for name in inspect.signature(cls).parameters if name != "self"]
        close = difflib.get_close_matches(str(first["loc"][0]), allowed, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{key}: {cls.__name__} takes no such key.{hint} Allowed: {', '.join(allowed)}."
    if first["type"].startswith("missing"):
        return f"{key} is missing: {cls.__name__} needs it. Give it, for example: {key}=VALUE"
    return told(error, path)
