"""Template files: what they hold, and how one tool's template says a call.

A template file is YAML with these keys (`sloop/simulation/everyday.yaml` is one)::

    refusals: [None of my tools can do that.]     # content where no tool fits
    joins:                                        # how two requests are said as one
      train: ["{a} and also {b}"]
    chat:                                         # small talk, by reply
      - reply: Hello!
        train: [hi there]
    values:                                       # types of values: see sloop.simulation.values
      city: {made_up: name, list: [Paris, London, Rome]}
    tools:
      get_weather:                                # the name of a tool in your tool file
        slots:                                    # its parameters: a type's name, a closed list, or a type in place
          city: city
          unit: [celsius, fahrenheit]
        example: "what is the weather in {city}?"  # canonical; the first of the train phrases
        train: ["weather for {city}[ in {unit}]"]  # paraphrases: see sloop.simulation.phrases
        dev: ["{city} weather"]
        test: ["do I need an umbrella in {city}?"]
        incomplete:                               # requests that lack a required value
          train: ["what is the weather like?"]
        ask: {city: For which city?}              # content that asks for it

Wherever there are phrases, they are given for train, dev and test apart; a part that is left out is not said at all.
``refusals``, ``joins``, ``chat`` and ``values`` may be left out: the packaged ones are used then, and the packaged
types of values may be used beside one's own. A tool without a template, or with one that does not fit its
parameters, is left to `sloop.simulation.grammar`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, get_args

import yaml

from sloop.records import Part, Tool, UserError
from sloop.simulation.phrases import Phrase, Piece, Slot, tidy
from sloop.simulation.values import Spec, Values, spell
from sloop.store.files import check_file, read_text

EVERYDAY = Path(__file__).with_name("everyday.yaml")
PARTS: tuple[Part, ...] = get_args(Part)
_KEYS = {"refusals", "joins", "chat", "values", "tools"}
_TOOL_KEYS = {"slots", "example", "incomplete", "ask", *PARTS}

Phrases = Mapping[Part, tuple[Phrase, ...]]


@dataclass(frozen=True)
class Reply:
    """Small talk: what is said, by part, and the answer."""

    reply: str
    said: Mapping[Part, tuple[str, ...]]


@dataclass(frozen=True)
class Template:
    """How one tool's calls are said."""

    name: str
    slots: Mapping[str, Spec]
    phrases: Phrases
    incomplete: Phrases
    ask: Mapping[str, str]

    def fits(self, tool: Tool) -> bool:
        """True if the template knows all required parameters of the tool, and nothing that the tool does not."""
        constants = (slot for phrases in self.phrases.values() for phrase in phrases for slot in phrase.slots)
        used = {*self.slots, *(slot.name for slot in constants)}
        return used <= set(tool.properties) and set(tool.required) <= used and all(map(self._allowed, tool_enums(tool)))

    def _allowed(self, enum: tuple[str, Sequence[Any]]) -> bool:
        name, values = enum
        spec = self.slots.get(name, ())
        return isinstance(spec, str | Mapping) or all(value in values for value in spec)

    def complete(self, part: Part, required: Sequence[str]) -> list[Phrase]:
        """Phrases that say every required value."""
        return [phrase for phrase in self.phrases.get(part, ()) if set(required) <= set(phrase.base)]

    def lacking(self, part: Part, required: Sequence[str]) -> list[Phrase]:
        """Phrases that leave out a required value, whatever options are said."""
        named = self.incomplete.get(part, ())
        return [phrase for phrase in named if set(required) - {slot.name for slot in phrase.slots}]

    def fill(self, pieces: Sequence[Piece], rng: Random, values: Values) -> dict[str, Any]:
        """Values for the slots of a phrase, in the order in which they are said."""
        arguments: dict[str, Any] = {}
        for piece in pieces:
            if not isinstance(piece, Slot) or piece.name in arguments:
                continue
            if piece.constant:
                arguments[piece.name] = piece.constant[0]
                continue
            spec = self.slots[piece.name]
            taken = [value for name, value in arguments.items() if self.slots.get(name) == spec]
            arguments[piece.name] = values.draw(spec, rng, taken)
        return arguments

    def render(self, pieces: Sequence[Piece], arguments: Mapping[str, Any], rng: Random, spelled: float) -> str:
        """The request: the phrase with the values written in."""
        return tidy(
            "".join(
                piece
                if isinstance(piece, str)
                else ""
                if piece.constant
                else spell(arguments[piece.name], self._schema(piece.name), rng, spelled)
                for piece in pieces
            )
        )

    def _schema(self, name: str) -> Mapping[str, Any]:
        spec = self.slots[name]
        return {} if isinstance(spec, str | Mapping) else {"enum": spec}


def tool_enums(tool: Tool) -> Iterator[tuple[str, Sequence[Any]]]:
    """Parameters whose values are a closed set."""
    for name, schema in tool.properties.items():
        if isinstance(schema, Mapping) and "enum" in schema:
            yield name, schema["enum"]


@dataclass(frozen=True)
class Heard:
    """What a request says, read back from a template; values stand as they were written."""

    template: Template
    phrase: Phrase
    incomplete: bool
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Templates:
    """A template file."""

    tools: Mapping[str, Template]
    chat: tuple[Reply, ...]
    joins: Mapping[Part, tuple[str, ...]]
    refusals: tuple[str, ...]
    types: Mapping[str, Mapping[str, Any]]

    def hear(self, text: str) -> list[Heard]:
        """Every way in which the text may have been made of one phrase, the most telling first."""
        found = []
        for template in self.tools.values():
            for incomplete, by_part in ((False, template.phrases), (True, template.incomplete)):
                for phrases in by_part.values():
                    for phrase in phrases:
                        if match := phrase.pattern.fullmatch(text):
                            pairs = zip(phrase.captured, match.groups(), strict=True)
                            said = {name: value for name, value in pairs if value is not None}
                            found.append(Heard(template, phrase, incomplete, said))
        return sorted(found, key=lambda heard: -heard.phrase.literal)


def load_templates(path: str) -> Templates:
    """The packaged templates ("everyday") or those of a YAML file.

    Raises:
        UserError: no such file, not YAML, or not of the form above.
    """
    source = EVERYDAY if path == "everyday" else Path(path)
    check_file(source, f"teacher.templates={path}: try teacher.templates=everyday, or a path to a YAML file.")
    return _load(source, source.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(source: Path, changed: int) -> Templates:
    """``changed`` makes an edited file another one."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(read_text(source), Loader=loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{source} is not YAML: {error}") from error
    content = _mapping(content, str(source), _KEYS)
    own = source != EVERYDAY
    packaged = load_templates("everyday") if own else None
    types = {**(packaged.types if packaged else {}), **_mapping(content.get("values", {}), f"{source}: values", None)}
    values = Values(types, part="train", random_values=0.0)
    tools = {
        name: _template(name, _mapping(entry, f"{source}: tools.{name}", _TOOL_KEYS), values, str(source))
        for name, entry in _mapping(content.get("tools", {}), f"{source}: tools", None).items()
    }
    chat = tuple(
        Reply(str(entry["reply"]), _by_part(entry, f"{source}: chat"))
        for entry in content.get("chat", ())
        if _mapping(entry, f"{source}: chat", {"reply", *PARTS}) and "reply" in entry
    )
    joins = _by_part(content.get("joins", {}), f"{source}: joins")
    for join in (text for texts in joins.values() for text in texts):
        if "{a}" not in join or "{b}" not in join:
            raise UserError(f"{source}: joins: {join!r} must hold {{a}} and {{b}}.")
    return Templates(
        tools=tools,
        chat=chat or (packaged.chat if packaged else ()),
        joins=joins or (packaged.joins if packaged else {}),
        refusals=tuple(content.get("refusals", ())) or (packaged.refusals if packaged else ()),
        types=types,
    )


def _template(name: str, entry: Mapping[str, Any], values: Values, source: str) -> Template:
    place = f"{source}: tools.{name}"
    slots = _mapping(entry.get("slots", {}), f"{place}.slots", None)
    for slot, spec in slots.items():
        values.check(spec, f"{place}.slots.{slot}")
    texts = {part: list(said) for part, said in _by_part(entry, place).items()}
    if "example" in entry:
        texts["train"] = [str(entry["example"]), *texts.get("train", [])]
    phrases = _parsed(texts, place)
    incomplete = _parsed(_by_part(entry.get("incomplete", {}), place), f"{place}.incomplete")
    for phrase in (each for said in (*phrases.values(), *incomplete.values()) for each in said):
        unknown = sorted({slot.name for slot in phrase.slots if not slot.constant} - set(slots))
        if unknown:
            raise UserError(f"{place}: {{{unknown[0]}}} is no slot. Slots are: {', '.join(slots) or 'none'}.")
    asked = _mapping(entry.get("ask", {}), f"{place}.ask", None)
    return Template(name, slots, phrases, incomplete, {key: str(text) for key, text in asked.items()})


def _parsed(texts: Mapping[Part, Sequence[str]], place: str) -> Phrases:
    return {part: tuple(Phrase.parse(text, place) for text in said) for part, said in texts.items()}


def _by_part(entry: Any, place: str) -> dict[Part, tuple[str, ...]]:
    """Lists of texts under train, dev and test."""
    entry = _mapping(entry, place, None)
    found: dict[Part, tuple[str, ...]] = {}
    for part in PARTS:
        if part not in entry:
            continue
        texts = entry[part]
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{place}.{part}: give a list of texts; put a text with : or {{ in quotes.")
        found[part] = tuple(texts)
    return found


def _mapping(value: Any, place: str, keys: set[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{place} must hold keys and values, not {value!r}.")
    if keys is not None and (strange := sorted(set(map(str, value)) - keys)):
        raise UserError(f"{place}: unknown key {strange[0]!r}. Keys are: {', '.join(sorted(keys))}.")
    return value
