"""Components from configuration: a plain class named by ``_target_``, built from plain data."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, validate_call

from sloop.records import UserError, canonical_json

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
                self._built[name] = build(part, group, self._made)
            found = self._built[name]
        if not isinstance(found, kind):
            target = part.get("_target_") if isinstance(part, Mapping) else type(part).__qualname__
            raise UserError(f"{group}._target_={target}: it lacks methods of sloop's {kind.__name__}.")
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
    cls = find(target, path)
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
    object.__setattr__(component, SPEC, dict(spec))
    return component


def _takes_nothing() -> None: ...


def find(target: Any, path: str) -> type:
    """The class that a dotted path names; `UserError` where there is none. ``path``: where it stands, for messages."""
    module_name, _, class_name = MOVED.get(str(target), str(target)).rpartition(".")
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
