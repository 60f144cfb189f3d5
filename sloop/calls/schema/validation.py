"""Values checked against a stranger's JSON Schema (draft 2020-12) in bounded time, without a look outside of it.

What is wrong with a value is what `jsonschema` finds. Beyond it, patterns are matched in bounded time
(`sloop.calls.schema.patterns`), a check has a number of steps, unlike items are told apart in one pass, no reference is
ever fetched. A step is a keyword that is asked about a value, or an entry of either that it looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from sloop.calls.schema.patterns import UNREADABLE, Undecided, check_pattern, found, together

MAX_STEPS = 200_000
"""Of one check: a few seconds of a processor, and far more than a schema takes whose parts do not double on and on."""
REFERENCE_STEPS = 20
"""What following a reference counts for, which takes as long."""

_FORMATS = FormatChecker(formats=())
_FORMATS.checks("regex", raises=UNREADABLE)(check_pattern)

_steps: ContextVar[list[int]] = ContextVar("steps")
Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class Unusable(ValueError):
    """A schema that no value can be checked against; says why."""


def checked(schema: Mapping[str, Any]) -> None:
    """Pass what is a JSON Schema of draft 2020-12.

    Raises:
        Unusable: it is none, or nests too deep; says where.
    """
    try:
        Draft202012Validator.check_schema(schema, format_checker=_FORMATS)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        raise Unusable(f"at {where!r}: {error.message}") from error
    except RecursionError:
        raise Unusable("it nests too deep") from None


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """What checks values against a schema, which is not looked at yet."""
    # An empty registry: the default one would fetch an unknown reference over the network.
    bounded: Draft202012Validator = _Bounded(schema, registry=Registry())
    return bounded


def faults(check: Draft202012Validator, value: Any) -> list[ValidationError]:
    """All that is wrong with a value.

    Raises:
        Unusable: the schema refers to what it does not hold, or to itself without end.
        Undecided: a pattern takes too long, or the check too many steps.
        OverflowError: ``multipleOf`` meets an integer that no float can hold.
    """
    token = _steps.set([MAX_STEPS])
    try:
        with together():
            return list(check.iter_errors(value))
    except RecursionError:
        raise Unusable("it refers to itself without end, or nests too deep") from None
    except Unresolvable as error:
        raise Unusable(f"it refers to {error.ref!r}, which it does not hold") from error
    finally:
        _steps.reset(token)


_SIZED = (dict, list)


def _counted(name: str, keyword: Keyword) -> Keyword:
    each = REFERENCE_STEPS if name in ("$ref", "$dynamicRef") else 1

    def asked(check: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        left = _steps.get(None)
        if left is not None:
            left[0] -= each + (len(wanted) if isinstance(wanted, _SIZED) else 0)
            left[0] -= len(value) if isinstance(value, _SIZED) else 0
            if left[0] < 0:
                raise Undecided(f"the check takes more than {MAX_STEPS} steps")
        yield from keyword(check, wanted, value, schema) or ()

    return asked


def _pattern(check: Any, wanted: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not found(wanted, value):
        yield ValidationError(f"{value!r} does not match {wanted!r}")


def _pattern_properties(check: Any, wanted: Mapping[str, Any], value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for pattern, part in wanted.items():
            for name in value:
                if found(pattern, name):
                    yield from check.descend(value[name], part, path=name, schema_path=pattern)


def _additional_properties(check: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """The usual one, asked without patterns about what none of them matches."""
    patterns = schema.get("patternProperties") or ()
    if patterns and isinstance(value, dict):
        value = {name: value[name] for name in value if not any(found(pattern, name) for pattern in patterns)}
        schema = {key: part for key, part in schema.items() if key != "patternProperties"}
    yield from Draft202012Validator.VALIDATORS["additionalProperties"](check, wanted, value, schema) or ()


def _unevaluated_properties(check: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    known = _evaluated(check, value, schema)
    left = [name for name in value if name not in known]
    wrong = [name for name in left if not _valid(check, value[name], wanted)]
    if wrong:
        told = f"{', '.join(map(repr, sorted(wrong)))} {'was' if len(wrong) == 1 else 'were'}"
        yield ValidationError(
            f"Unevaluated properties are not allowed ({told} unexpected)"
            if wanted is False
            else f"Unevaluated properties are not valid under the given schema ({told} unevaluated and invalid)"
        )


def _evaluated(check: Any, value: Mapping[str, Any], schema: Any) -> set[str]:
    """Names of an object that a schema and its parts have a word about, as `jsonschema` finds them."""
    if not isinstance(schema, Mapping):
        return set()
    names: set[str] = set()
    for reference in (schema[key] for key in ("$ref", "$dynamicRef") if key in schema):
        target = check._resolver.lookup(reference)
        names |= _evaluated(check.evolve(schema=target.contents, _resolver=target.resolver), value, target.contents)
    if isinstance(schema.get("properties"), Mapping):
        names |= schema["properties"].keys() & value.keys()
    for key in ("additionalProperties", "unevaluatedProperties"):
        if key in schema:
            names |= {name for name in value if _valid(check, value[name], schema[key])}
    names |= {name for name in value for pattern in schema.get("patternProperties", ()) if found(pattern, name)}
    parts = [part for name, part in schema.get("dependentSchemas", {}).items() if name in value]
    parts += [part for key in ("allOf", "oneOf", "anyOf") for part in schema.get(key, ()) if _valid(check, value, part)]
    if "if" in schema:
        holds = _valid(check, value, schema["if"])
        parts += [schema["if"], schema.get("then")] if holds else [schema.get("else")]
    return names.union(*(_evaluated(check, value, part) for part in parts))


def _valid(check: Any, value: Any, schema: Any) -> bool:
    return next(check.descend(value, schema), None) is None


def _unique_items(check: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(value, list) and len(set(map(_identity, value))) < len(value):
        yield ValidationError(f"{value!r} has non-unique elements")


def _identity(value: Any) -> Any:
    """Equal for equal JSON values alone: 1 and 1.0 are one number, and ``true`` is none."""
    if isinstance(value, dict):
        return frozenset((name, _identity(part)) for name, part in value.items())
    if isinstance(value, list):
        return tuple(map(_identity, value))
    return (type(value), value) if isinstance(value, bool) else value


_OWN: dict[str, Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "unevaluatedProperties": _unevaluated_properties,
    "uniqueItems": _unique_items,
}
_USUAL: Mapping[str, Any] = Draft202012Validator.VALIDATORS
_Bounded = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {name: _counted(name, _OWN.get(name, keyword)) for name, keyword in _USUAL.items()},
)
