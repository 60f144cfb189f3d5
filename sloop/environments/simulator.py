"""A simulator of tools that nobody has implemented: it makes answers up from their definitions, and says so.

What a tool answers depends on its name, the arguments, the seed and what calls have made so far, on nothing else. A
tool that writes makes a thing, known by an id; a call that is given the id of one changes it, deletes it or hears of
it, and a tool that only reads hears of the things that share its arguments. No more is known of what a tool means: a
simulated answer shows a model what an answer looks like, and says nothing of whether the call was wise.

Its state holds all that it needs, so that a file can bring it: definitions, what they return (`output_schema`), which
of them write, the seed and what was made. Nothing of it is run or fetched, and its sizes are limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sloop.calls.schema import call_errors, json_type, pointed, validator
from sloop.environments.base import ERROR, read_state, refusal
from sloop.records import EnvSpec, Tool, ToolCall, UserError, canonical_json, digest, to_json
from sloop.tools.dialects import plain_schema

SAYS = "Simulated: the answers are made up."
"""What every description ends with."""
MAX_TOOLS = 200
MAX_MADE = 1_000
"""Things that calls have made."""
MAX_SIZE = 1_000_000
"""Characters of the state."""
MAX_FOUND = 20
"""Things that an answer lists."""
MAX_DEPTH, MAX_VALUES, MAX_ITEMS, MAX_LENGTH = 8, 500, 10, 1_000
"""Of a value that is made up: parts within each other, values in it, items and characters at least asked for."""
NARROW = 2
"""Between bounds that lie no further apart, a number that is made up has a fraction: no whole one may lie there."""

WRITE = re.compile(
    "add|apply|append|assign|book|buy|cancel|change|close|copy|create|delete|disable|edit|enable|insert|make|modify|"
    "move|open|order|pay|place|post|publish|put|record|register|remove|rename|reserve|reset|save|schedule|send|set|"
    "share|start|stop|submit|transfer|update|upload|write"
)
"""First verbs of the names of tools that write, where nobody says which do."""
READ = re.compile(
    "calculate|check|compare|convert|count|describe|estimate|fetch|find|get|is|list|lookup|query|read|retrieve|search|"
    "show|view"
)
END = re.compile("cancel|delete|remove")
OUTPUTS = ("output_schema", "outputSchema", "returns", "response")
"""Keys under which a definition says what it returns: of ours, of MCP, of others, of BFCL's documents."""


class Simulated(BaseModel):
    """The state."""

    model_config = ConfigDict(extra="forbid")

    tools: list[Tool] = Field(max_length=MAX_TOOLS)
    outputs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By tool, the JSON Schema of what it returns; none: whatever it knows."""
    writes: list[str] = Field(default_factory=list)
    seed: int = 0
    made: dict[str, dict[str, Any]] = Field(default_factory=dict, max_length=MAX_MADE)
    """By id, what is known of each thing."""


class Simulator:
    """Tools that are simulated (`sloop.environments.base.Environment`)."""

    toolkit = "simulated"

    def __init__(self) -> None:
        """Without tools."""
        self._state = Simulated(tools=[])
        self.tools: tuple[Tool, ...] = ()
        self.writes: frozenset[str] = frozenset()

    def reset(self, state: Mapping[str, Any]) -> None:
        """Begin anew with the tools of this state.

        Raises:
            UserError: it is none, is too large, or a schema in it is not usable.
        """
        held = read_state(Simulated, self.toolkit, state)
        size = len(to_json(held.model_dump()))
        names = {tool.name for tool in held.tools}
        strange = {*held.writes, *held.outputs} - names
        if size > MAX_SIZE or len(names) < len(held.tools) or strange:
            reason = f"{size} characters; {MAX_SIZE} are allowed" if size > MAX_SIZE else "two tools of one name"
            told = f"no tool is called {min(strange)!r:.100}" if strange else reason
            raise UserError(f"no state of the environment {self.toolkit}: {told}.")
        for tool in (*held.tools, *map(_output_tool, held.outputs.values())):
            validator(tool)
        self._state = held
        self.tools = tuple(
            tool.model_copy(update={"description": f"{tool.description}\n\n{SAYS}".strip()}) for tool in held.tools
        )
        self.writes = frozenset(held.writes)

    def act(self, call: ToolCall) -> str:
        """A made-up result, ``{"simulated": true, "result": ...}``."""
        if refused := refusal(call, self.tools):
            return refused
        made, given = self._state.made, call.arguments
        named = next((value for value in given.values() if isinstance(value, str) and value in made), None)
        known = dict(made[named]) if named else {}
        if call.name in self.writes:
            known |= {key: value for key, value in given.items() if value != named}
            thing = named or self._new_id(call)
            changed = {key: value for key, value in made.items() if key != thing}
            if not (named and any(map(END.fullmatch, _words(call.name)))):
                changed[thing] = known
            if len(changed) > MAX_MADE or len(canonical_json(changed)) > MAX_SIZE // 2:
                return f"{ERROR}there is no room for more; {MAX_MADE} things can be made"
        else:
            thing, changed = named or "", made
        answer = self._answer(call, thing, known)
        if answer is None:
            return f"{ERROR}what {call.name} returns cannot be simulated by its schema"
        self._state.made = changed
        return answer

    def state(self) -> dict[str, Any]:
        """The state as it is now."""
        return self._state.model_copy(deep=True).model_dump()

    def _new_id(self, call: ToolCall) -> str:
        """An id for what a call makes, the same whatever was made before by others."""
        for number in range(len(self._state.made) + 1):
            name = digest([self._state.seed, call.name, call.arguments, number])[:8]
            if f"id-{name}" not in self._state.made:
                break
        return f"id-{name}"

    def _answer(self, call: ToolCall, thing: str, known: Mapping[str, Any]) -> str | None:
        """What a call is answered; None where nothing meets the schema of its output."""
        schema = self._state.outputs.get(call.name)
        if schema is None:
            return _said({"id": thing, **known} if thing else {"found": self._found(call.arguments)})
        rng = Random(digest([self._state.seed, call.name, call.arguments]))
        # A thing's own values where the schema has room for them; where it has not, such as in a name that means
        # something else there, all is made up
        for facts in ({**call.arguments, **known}, {}):
            try:
                result = _Maker(rng, schema, facts, thing).value("result", schema, 0)
            except (ArithmeticError, ValueError):  # bounds beyond numbers, references to nowhere
                return None
            checked = ToolCall(name="result", arguments={"result": result})
            if not call_errors(checked, [_output_tool(schema)]):
                return _said(result)
        return None

    def _found(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Things that share every argument that they know of, and one at least where any is given."""
        return [
            {"id": thing, **known}
            for thing, known in sorted(self._state.made.items())
            if all(known[key] == value for key, value in given.items() if key in known)
            and (not given or given.keys() & known.keys())
        ][:MAX_FOUND]


def _said(result: Any) -> str:
    return to_json({"simulated": True, "result": result})


class _Maker:
    """Makes a value of a schema up, as far as type, bounds and choices go; whether it is one is checked behind it."""

    def __init__(self, rng: Random, root: dict[str, Any], known: Mapping[str, Any], thing: str) -> None:
        self._rng, self._root, self._known, self._thing = rng, root, known, thing
        self._left = MAX_VALUES

    def value(self, name: str, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > MAX_DEPTH or self._left < 0:
            return None
        if isinstance(reference := schema.get("$ref"), str):
            return self.value(name, pointed(self._root, reference), depth + 1)
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.value(name, schema[key][0], depth + 1)
        if parts := schema.get("allOf"):
            rest = {key: part for key, part in schema.items() if key != "allOf"}
            joined = (each for each in (*parts, rest) if isinstance(each, dict))
            return self.value(name, {key: part for each in joined for key, part in each.items()}, depth + 1)
        kinds = schema.get("type")
        kind = next((each for each in kinds if each != "null"), "null") if isinstance(kinds, list) else kinds
        if depth and name in self._known:
            own = json_type(self._known[name])
            if kind in (None, own) or (kind == "number" and own == "integer"):
                return self._known[name]
        if "const" in schema or schema.get("enum") or schema.get("examples"):
            return schema["const"] if "const" in schema else self._rng.choice(schema.get("enum") or schema["examples"])
        return self._of_kind(name, kind, schema, depth)

    def _of_kind(self, name: str, kind: str | None, schema: Mapping[str, Any], depth: int) -> Any:
        if kind == "object" or (kind is None and "properties" in schema):
            return {key: self.value(key, part, depth + 1) for key, part in schema.get("properties", {}).items()}
        if kind == "array":
            fixed = schema.get("prefixItems", [])
            least = max(1, schema.get("minItems", 1))
            more = range(min(MAX_ITEMS, schema.get("maxItems", MAX_ITEMS), max(least, 2)) - len(fixed))
            return [self.value(name, part, depth + 1) for part in (*fixed, *(schema.get("items", {}) for _ in more))]
        if kind in ("integer", "number"):
            return self._number(kind, schema)
        if kind == "boolean":
            return self._rng.random() < 0.5
        return None if kind == "null" else self._text(name, schema)

    def _number(self, kind: str, schema: Mapping[str, Any]) -> int | float:
        step = schema.get("multipleOf", 1)
        low = schema.get("minimum", schema.get("exclusiveMinimum", schema.get("maximum", 100) - 100))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100))
        if kind == "number" and "multipleOf" not in schema and high - low <= NARROW:
            return round(float(low + (high - low) * self._rng.uniform(0.1, 0.9)), 6)
        drawn = low + (high - low) * self._rng.random()
        drawn = drawn // step * step
        drawn += step if drawn < low or drawn == schema.get("exclusiveMinimum") else 0
        return int(drawn) if kind == "integer" or drawn == int(drawn) else round(float(drawn), 6)

    def _text(self, name: str, schema: Mapping[str, Any]) -> str:
        if self._thing and (name.lower() == "id" or re.search(r"(_id|Id)$", name)):
            return self._thing
        day, number = f"2026-{self._rng.randint(1, 12):02d}-{self._rng.randint(1, 28):02d}", self._rng.randint(1, 999)
        formats = {
            "date": day, "date-time": f"{day}T12:00:00Z", "time": "12:00:00Z", "email": f"user{number}@example.com",
            "uri": f"https://example.com/{number}", "uuid": f"00000000-0000-4000-8000-{number:012d}",
        }  # fmt: skip
        text = formats.get(schema.get("format", ""), f"{name} {number}")
        return text.ljust(min(schema.get("minLength", 0), MAX_LENGTH), ".")[: schema.get("maxLength")]


def _output_tool(schema: dict[str, Any]) -> Tool:
    """A tool that takes the value, so that it is checked as arguments are; its local references stay good."""
    inner = {key: part for key, part in schema.items() if key in ("$defs", "definitions", "components")}
    return Tool(
        name="result", parameters={"type": "object", **inner, "properties": {"result": schema}, "required": ["result"]}
    )


def _words(name: str) -> Iterator[str]:
    """The words of a tool's name, in small letters."""
    return (word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name))


def _writes(name: str) -> bool:
    verbs = (word for word in _words(name) if WRITE.fullmatch(word) or READ.fullmatch(word))
    return WRITE.fullmatch(next(verbs, "")) is not None


def output_schema(definition: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a definition says that its tool returns; None where it says nothing that can be used."""
    function = definition.get("function")
    told = {**definition, **(function if isinstance(function, Mapping) else {})}
    found = next((told[key] for key in OUTPUTS if isinstance(told.get(key), Mapping)), None)
    if found is None and isinstance(answers := told.get("responses"), Mapping):  # of OpenAPI
        for part in ("200", "content", "application/json", "schema"):
            answers = answers.get(part) if isinstance(answers, Mapping) else None
        found = answers
    try:
        schema = plain_schema(found, "output") if isinstance(found, Mapping) else None
        if isinstance(schema, dict):
            validator(_output_tool(schema))
            return schema
    except (ValueError, UserError):
        return None
    return None


def simulated(
    tools: Iterable[Tool],
    *,
    seed: int,
    outputs: Mapping[str, dict[str, Any]] | None = None,
    writes: Iterable[str] | None = None,
) -> EnvSpec:
    """The environment of tools that are simulated.

    Args:
        tools: their definitions.
        seed: of the answers.
        outputs: by name, what tools return; see `output_schema`.
        writes: names of the tools that write; None: those whose name's first verb says so.
    """
    tools = tuple(tools)
    if writes is None:
        writes = [tool.name for tool in tools if _writes(tool.name)]
    state = Simulated(tools=list(tools), outputs=dict(outputs or {}), writes=sorted(writes), seed=seed)
    return EnvSpec(toolkit=Simulator.toolkit, state=state.model_dump())
