"""Invents an argument value from a JSON Schema, a parameter's name and its description.

Types, enums, bounds, formats, ``const`` and ``examples`` of the schema are obeyed; what a string looks like is read
from the name and the description (an ID, a date, a city, ...). A ``pattern`` is met by trying values of common looks,
and then by what the pattern itself says. An object that declares nothing is a map of made-up names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from sloop.calls.schema import pointed
from sloop.calls.schema.patterns import Undecided, found
from sloop.simulation.matching import proposed
from sloop.simulation.values import Values, made_up_word, words

MAX_ITEMS = 3
"""Most items of an invented list, unless the schema asks for more."""
MAX_DEPTH = 6
MAX_MADE = 5_000
"""Values made for one parameter, its parts and further tries included: arrays in arrays could ask for millions."""
MAX_LENGTH = 5_000
"""Longest ``minLength``: a request must say the text."""
MAX_CHOICES = 10_000
"""Most values of an ``enum``."""
FINEST = 1e-6
"""Smallest ``multipleOf``: what is finer is lost where numbers are rounded."""
_TRIES = 60
_PROPOSALS = 300
"""Texts that are written from a pattern before it counts as one that nothing matches."""

Maker = Callable[[Random, Values], str]


class Unsayable(Exception):
    """A teacher cannot write what it was asked to; becomes a `Rejected` record."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def invent(name: str, schema: Mapping[str, Any], rng: Random, bank: Values, root: Mapping[str, Any]) -> Any:
    """A value of the schema.

    Args:
        name: of the parameter.
        schema: of the value.
        rng: decides.
        bank: where names, cities, dates and so on come from.
        root: the tool's parameters, for local references.

    Raises:
        Unsayable: ("no_value") no value could be made, such as for a pattern that no common look meets, or the schema
            asks for more than the limits above.
    """
    return _Inventor(rng, bank, root).value(name, schema, 0)


@dataclass
class _Inventor:
    """Makes one parameter's value, part by part; ``depth`` is how deep inside the arguments a part stands."""

    rng: Random
    bank: Values
    root: Mapping[str, Any]
    made: int = 0

    def value(self, name: str, schema: Mapping[str, Any], depth: int) -> Any:
        self.made += 1
        if self.made > MAX_MADE:
            raise Unsayable("no_value", f"{name}: it takes more than {MAX_MADE} values")
        schema = _resolved(name, schema, self.root, self.rng)
        if depth > MAX_DEPTH:
            raise Unsayable("no_value", f"{name}: the schema nests deeper than {MAX_DEPTH}")
        if "const" in schema:
            return schema["const"]
        if len(schema.get("enum") or ()) > MAX_CHOICES:
            raise Unsayable("no_value", f"{name}: an enum of more than {MAX_CHOICES} values")
        named = schema.get("enum") or schema.get("examples") or ()
        if choices := [choice for choice in named if choice not in (None, "")]:
            return self.rng.choice(choices)
        kind = _type(schema)
        if kind == "boolean":
            return self.rng.random() < 0.5
        if kind in ("integer", "number"):
            try:
                return _number(name, kind, schema, self.rng)
            except OverflowError as error:
                raise Unsayable("no_value", f"{name}: its bounds are too large for numbers") from error
        if kind == "array":
            return self.array(name, schema, depth + 1)
        if kind == "object":
            return self.object(name, schema, depth + 1)
        return None if kind == "null" else _string(name, schema, self.rng, self.bank)

    def array(self, name: str, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = max(1, int(schema.get("minItems", 1)))
        ceiling = int(schema.get("maxItems", MAX_MADE))
        if least > min(_TRIES, ceiling):
            raise Unsayable(
                "no_value", f"{name}: {least} items or more, and at most {min(_TRIES, ceiling)} can be made"
            )
        most = min(ceiling, max(MAX_ITEMS, least))
        count = self.rng.randint(least, most)
        first = [each if isinstance(each, Mapping) else {} for each in schema.get("prefixItems") or ()]
        if first:
            values = [self.value(name, each, depth) for each in first[:ceiling]]
            count = max(least, len(values))
        else:
            values = []
        part = schema.get("items")
        item = part if isinstance(part, Mapping) else {}
        single = name[:-1] if name.endswith("s") and not name.endswith("ss") else name
        described = {"description": schema.get("description", ""), **item}
        for attempt in range(_TRIES):
            if len(values) == count:
                break
            value = self.value(single, described, depth)
            if value not in values or (attempt > _TRIES // 2 and not schema.get("uniqueItems")):
                values.append(value)
        if len(values) < least:
            raise Unsayable("no_value", f"{name}: fewer than {least} different items")
        return values

    def object(self, name: str, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        parts: Mapping[str, Any] = schema.get("properties") or {}
        least = int(schema.get("minProperties", 1))
        most = int(schema.get("maxProperties", MAX_MADE))
        keys = list(schema.get("required") or list(parts)[: min(2, most)])
        if max(least, len(keys)) > most:
            raise Unsayable("no_value", f"{name}: at most {most} properties, and {max(least, len(keys))} are needed")
        keys += [key for key in parts if key not in keys][: max(0, least - len(keys))]
        made = {key: self.value(key, parts.get(key) or {}, depth) for key in keys}
        patterns = list((schema.get("patternProperties") or {}).items())
        others = schema.get("additionalProperties", "properties" not in schema)
        if len(made) >= least:
            return made
        if not patterns and others is False:
            raise Unsayable("no_value", f"{name}: an object without properties")
        count = self.rng.randint(least, min(most, max(MAX_ITEMS, least)))
        for _ in range(_TRIES):
            if len(made) >= count:
                break
            pattern, part = self.rng.choice(patterns) if patterns else (None, others)
            named = {"pattern": pattern} if pattern else schema.get("propertyNames")
            key = made_up_word(self.rng) if not named else str(self.value("word", named, depth))
            made[key] = self.value(key, part if isinstance(part, Mapping) else {}, depth)
        if len(made) < least:
            raise Unsayable("no_value", f"{name}: fewer than {least} different properties")
        return made


def branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the value may be: the parts of ``anyOf`` or ``oneOf``, but null."""
    parts = schema.get("anyOf") or schema.get("oneOf") or ()
    return [part for part in parts if isinstance(part, Mapping) and part.get("type") != "null"]


def _resolved(name: str, schema: Mapping[str, Any], root: Mapping[str, Any], rng: Random) -> Mapping[str, Any]:
    """The schema with references followed, all of ``allOf`` put together, and one of its branches taken."""
    for _ in range(_TRIES):
        if not isinstance(schema, Mapping):
            return {}
        kept = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf", "oneOf", "allOf")}
        if "$ref" in schema:
            schema = {**pointed(dict(root), schema["$ref"]), **{k: v for k, v in schema.items() if k != "$ref"}}
        elif schema.get("allOf"):
            rest = {key: schema[key] for key in ("anyOf", "oneOf") if key in schema}
            for part in schema["allOf"]:
                kept = _joined(kept, _resolved(name, part, root, rng))
            schema = {**kept, **rest}
        elif schema.get("anyOf") or schema.get("oneOf"):
            choices = branches(schema)
            schema = _joined(kept, (rng.choice(choices) if len(choices) > 1 else choices[0]) if choices else {})
        else:
            return schema
    raise Unsayable("no_value", f"{name}: its schema refers to itself without end")


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What satisfies both schemas, as far as their objects go."""
    new = {**one, **other}
    if "properties" in one and "properties" in other:
        new["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        new["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return new


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "string")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _number(name: str, kind: str, schema: Mapping[str, Any], rng: Random) -> int | float:
    low, high = _bounds(name, schema)
    whole = kind == "integer" or high - low >= 2
    step = schema.get("multipleOf", 1 if whole else 0.01)
    if step < FINEST:
        raise Unsayable("no_value", f"{name}: multiples of less than {FINEST}")
    first, last = math.ceil(low / step), math.floor(high / step)
    if first * step <= schema.get("exclusiveMinimum", -math.inf):
        first += 1
    if last * step >= schema.get("exclusiveMaximum", math.inf):
        last -= 1
    if first > last:
        raise Unsayable("no_value", f"{name}: no multiple of {step} from {low} to {high}")
    value = rng.randint(first, last)
    if kind == "number" and step == 1 and "multipleOf" not in schema and value < last and rng.random() < 0.4:
        return value + rng.randint(1, 9) / 10
    scaled = round(value * step, 6)
    return int(scaled) if scaled == int(scaled) else scaled


def _bounds(name: str, schema: Mapping[str, Any]) -> tuple[float, float]:
    """The schema's bounds; where it has none, those of what the name says."""
    low, high = _usual_range(words(name), str(schema.get("description", "")))
    high = max(high, low + 10 * schema.get("multipleOf", 0))
    floor = schema.get("minimum", schema.get("exclusiveMinimum"))
    ceiling = schema.get("maximum", schema.get("exclusiveMaximum"))
    if floor is not None and floor > low:
        low, high = floor, max(high, floor + 50, floor + 10 * schema.get("multipleOf", 0))
    if ceiling is not None and ceiling < high:
        low, high = low if low < ceiling else ceiling - 50 if floor is None else floor, ceiling
    return low, high


def _usual_range(label: str, description: str) -> tuple[float, float]:
    for pattern, ends in _RANGES:
        if pattern.search(label.lower()):
            return ends
    return (0, 100) if "percent" in description.lower() else (1, 500)


_RANGES: tuple[tuple[re.Pattern[str], tuple[float, float]], ...] = (
    (re.compile(r"\b(year)\b"), (1990, 2030)),
    (re.compile(r"\b(latitude|lat)\b"), (-80, 80)),
    (re.compile(r"\b(longitude|lon|lng)\b"), (-170, 170)),
    (re.compile(r"\b(month)\b"), (1, 12)),
    (re.compile(r"\b(day)\b"), (1, 28)),
    (re.compile(r"\b(hour)\b"), (0, 23)),
    (re.compile(r"\b(id|port|code|number)\b"), (1000, 99999)),
    (re.compile(r"\b(page|offset|version|level|priority)\b"), (1, 20)),
)


def _string(name: str, schema: Mapping[str, Any], rng: Random, bank: Values) -> str:
    least, most = int(schema.get("minLength", 1)), int(schema.get("maxLength", 10_000))
    if least > MAX_LENGTH:
        raise Unsayable("no_value", f"{name}: a text of more than {MAX_LENGTH} characters")
    pattern = schema.get("pattern")
    makers = [_maker(name, schema), *(_LOOKS if isinstance(pattern, str) else ())]
    for attempt in range(_TRIES):
        value = makers[attempt % len(makers)](rng, bank)
        if len(value) < least:
            value += "".join(made_up_word(rng) for _ in range(least - len(value)))
        value = value[:most].strip()
        if len(value) >= least and (not isinstance(pattern, str) or _matches(name, pattern, value)):
            return value
    for attempt in range(_PROPOSALS):
        if not isinstance(pattern, str):
            break
        value = proposed(pattern, rng, (0, 3, max(8, least))[attempt % 3])
        if least <= len(value) <= most and value.strip() and _matches(name, pattern, value):
            return value
    raise Unsayable("no_value", f"{name}: no value was found that {pattern!r} matches")


def _matches(name: str, pattern: str, value: str) -> bool:
    try:
        return found(pattern, value)
    except Undecided as error:
        raise Unsayable("no_value", f"{name}: {error}") from error


def _maker(name: str, schema: Mapping[str, Any]) -> Maker:
    """How a string parameter's values are made: by format, then name, then description."""
    if (by_format := _FORMATS.get(str(schema.get("format")))) is not None:
        return by_format
    label = words(name).lower()
    description = str(schema.get("description", "")).lower()
    declared = re.match(r"\W*(?:\[required\]|required|optional)?\W*(integer|number|boolean)\b", description)
    if declared:
        return _true_or_false if declared.group(1) == "boolean" else _digits
    if re.search(r"\btrue\b.*\bfalse\b", description, re.DOTALL):
        return _true_or_false
    for pattern, maker in _BY_NAME:
        if pattern.search(label):
            return maker
    quoted = re.findall(r"[`'\"]([A-Za-z][\w-]{1,24})[`'\"]", str(schema.get("description", "")))
    if len(set(quoted)) >= 2 and not any(mark in description for mark in ("parameter", "deprecated", "e.g")):
        return lambda rng, _: rng.choice(list(dict.fromkeys(quoted)))
    for pattern, maker in _BY_DESCRIPTION:
        if pattern.search(description):
            return maker
    return _name_like


def _of(kind: str) -> Maker:
    return lambda rng, bank: str(bank.draw(kind, rng))


def _one_of(*values: str) -> Maker:
    return lambda rng, _: rng.choice(values)


def _street(rng: Random, bank: Values) -> str:
    return f"{rng.randint(1, 199)} {bank.draw('street', rng)} street"


def _digits(rng: Random, bank: Values) -> str:
    return str(bank.draw({"integers": [10, 99999]}, rng))


def _identifier(rng: Random, bank: Values) -> str:
    return str(bank.draw({"codes": ["####", "@@####", "@@@-####", "@#@#@#", "#######"]}, rng))


def _long_identifier(rng: Random, bank: Values) -> str:
    return f"{made_up_word(rng, (1, 2))}{bank.draw({'codes': ['######', '#@#@#@#@']}, rng).lower()}"


def _true_or_false(rng: Random, bank: Values) -> str:
    return rng.choice(("true", "false"))


def _uuid(rng: Random, bank: Values) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], f"4{digits[13:16]}", f"8{digits[17:20]}", digits[20:]))


def _name_like(rng: Random, bank: Values) -> str:
    first = bank.draw("adjective", rng) if rng.random() < 0.5 else bank.draw("street", rng).lower()
    return f"{first} {bank.draw('noun', rng)}" if rng.random() < 0.6 else made_up_word(rng, (2, 4))


def _full_name(rng: Random, bank: Values) -> str:
    return f"{bank.draw('first_name', rng)} {made_up_word(rng).capitalize()}"


def _slug(rng: Random, bank: Values) -> str:
    return f"{bank.draw('street', rng).lower()}-{made_up_word(rng)}"


def _email(rng: Random, bank: Values) -> str:
    return f"{bank.draw('first_name', rng).lower()}@{made_up_word(rng)}.com"


def _host(rng: Random, bank: Values) -> str:
    return f"{made_up_word(rng)}.{rng.choice(('com', 'org', 'net', 'io'))}"


def _url(rng: Random, bank: Values) -> str:
    return f"https://{_host(rng, bank)}/{made_up_word(rng)}"


def _path(rng: Random, bank: Values) -> str:
    return f"/{made_up_word(rng)}/{made_up_word(rng)}.{rng.choice(('txt', 'csv', 'pdf', 'json'))}"


def _address(rng: Random, bank: Values) -> str:
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


def _phone(rng: Random, bank: Values) -> str:
    return str(bank.draw({"codes": ["+1##########", "+44##########", "###-###-####"]}, rng))


def _version(rng: Random, bank: Values) -> str:
    return rng.choice((f"v{rng.randint(1, 9)}", f"{rng.randint(1, 9)}.{rng.randint(0, 20)}"))


def _date_time(rng: Random, bank: Values) -> str:
    return f"{bank.draw('date', rng)}T{bank.draw('time', rng)}:00Z"


def _plain_code(rng: Random, bank: Values) -> str:
    return str(bank.draw({"codes": ["@@@", "@@##", "@@@@", "@@@##"]}, rng))


def _word(rng: Random, bank: Values) -> str:
    return made_up_word(rng)


_FORMATS: dict[str, Maker] = {
    **{"date": _of("date"), "time": _of("time"), "date-time": _date_time, "email": _email, "uuid": _uuid},
    **{"uri": _url, "url": _url, "hostname": _host, "ipv4": _address, "phone": _phone},
}
_LOOKS: tuple[Maker, ...] = (
    *(_digits, _of("ticker"), _of("currency"), _plain_code, _identifier, _word, _of("date"), _of("time"), _date_time),
    *(_email, _url, _phone, _uuid, _slug, _version, _of("person"), _path, _of("tracking_number")),
)


def _table(*rows: tuple[str, Maker]) -> tuple[tuple[re.Pattern[str], Maker], ...]:
    return tuple((re.compile(rf"\b(?:{alternatives})\b", re.DOTALL), maker) for alternatives, maker in rows)


_BY_NAME = _table(
    ("e?mails?", _email),
    ("uuid|guid", _uuid),
    ("token|cursor|secret|password|hash|signature|etag", _long_identifier),
    ("phone|mobile|fax", _phone),
    ("ids?|key|identifier|sku|barcode|uid", _identifier),
    ("(?:first|given) name", _of("first_name")),
    ("(?:last|family) name|surname", _word),
    ("(?:file|path|folder|directory) ?name|filename", _path),
    ("(?:host|domain|server) ?name|hostname|host|domain", _host),
    (".*name$|title$", _name_like),
    ("url|uri|href|webhook|website", _url),
    ("ip|ip address", _address),
    ("address|street", _street),
    ("tickers?|symbols?|stock", _of("ticker")),
    ("currency|currencies", _of("currency")),
    ("languages?|locale|lang|hl", _of("language")),
    ("time ?zone|tz", _one_of("UTC", "Europe/Paris", "Asia/Tokyo", "America/New_York", "Africa/Cairo")),
    ("city|town|location|place|origin|destination|region", _of("city")),
    ("country|state or province|province|nationality", _of("land")),
    ("datetime|timestamp|date time|modified at|created at", _date_time),
    ("dates?$|birthday|deadline|since$|until$|before$|after$|day$|from$|to$|start$|end$", _of("date")),
    ("time$|time of day|clock", _of("time")),
    ("author|artist|user|owner|assignee|person|recipient|contact|member|manager|customer", _full_name),
    ("query|keywords?|search|q|term|topic|subject|title", _of("subject")),
    ("text|message|content|body|comments?|note|description|summary|reason|question|prompt", _of("text")),
    ("path|file|directory|folder", _path),
    ("version|revision", _version),
    ("limit|offset|page|size|count|max|min|number|quantity|index|length|age|level", _digits),
    ("amount|total|subtotal|tax|price|cost|budget|fee|rate|balance", _digits),
    ("years?|hours?|minutes?|days?|seconds?|duration|interval", _digits),
    ("codes?", _plain_code),
    ("sort|order|direction", _one_of("ascending", "descending")),
    ("status|state|stage", _one_of("open", "closed", "active", "pending", "done", "cancelled", "draft")),
    ("gender|sex", _one_of("female", "male")),
    ("slug|tags?|label|channel|branch|bucket|table|database|schema|namespace|environment|cluster", _slug),
    ("colou?r", _of("color")),
)
_BY_DESCRIPTION = _table(
    ("true if|flag that|boolean", _true_or_false),
    ("e-?mail address", _email),
    ("url|uri", _url),
    (r"sys_id|unique id\w*|id of|identifier|guid", _identifier),
    ("date and time|timestamp|iso 8601", _date_time),
    ("yyyy-mm-dd|date", _of("date")),
    ("number of|maximum|how many|integer", _digits),
)
