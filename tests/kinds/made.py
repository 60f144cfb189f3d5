"""Schemas of parameters, and whether requests with values for them can be made up."""

from __future__ import annotations

from typing import Any

from kinds import Kind
from kinds.tools import BFCL, INTEGER, NUMBER, STRING, needs

TITLE = "Values made up for a tool"
ABOUT = (
    "What the template teacher writes requests for. A tool that it cannot write any for is left out with its reason, "
    "which the run tells and counts, instead of every order for it being rejected."
)
MADE = ""
"""No reason why not."""


def branches(keyword: str, *parts: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Parameters with branches on the outermost level."""
    return {"type": "object", keyword: list(parts), **keys}


def text(pattern: str, **keys: Any) -> dict[str, Any]:
    """A required text of a pattern."""
    return needs("x", x={"type": "string", "pattern": pattern, **keys})


FREE = {"type": "object"}
KINDS = [
    Kind("free object", "openai/openai-agents-python#4277", '{"type": "object"}', "names and texts",
         needs("x", x=FREE), MADE),
    Kind("free object, said so", "elizaOS/eliza#11249", '"additionalProperties": true', "names and texts",
         needs("x", x={**FREE, "additionalProperties": True}), MADE),
    Kind("list of free objects", "readmeio/oas#130", '"items": {"type": "object"}', "objects with names and texts",
         needs("x", x={"type": "array", "items": FREE}), MADE),
    Kind("free object in an object", "NousResearch/hermes-agent#96765", "a required one inside", "names and texts",
         needs("x", x=needs("y", y=FREE)), MADE),
    Kind("map of texts", "elizaOS/eliza#11249", '"additionalProperties": {"type": "string"}', "names and texts",
         needs("x", x={**FREE, "additionalProperties": STRING}), MADE),
    Kind("map of numbers", "TanStack/ai#933", '"additionalProperties": {"type": "number"}', "names and numbers",
         needs("x", x={**FREE, "additionalProperties": NUMBER, "minProperties": 2}), MADE),
    Kind("map by pattern", "kekzl/imp#1729", '"patternProperties": {"^x-": ...}', "names that match",
         needs("x", x={**FREE, "patternProperties": {"^x-[a-z]+$": INTEGER}, "additionalProperties": False}), MADE),
    Kind("map with names of a pattern", "kekzl/imp#1729", '"propertyNames": {"pattern": ...}', "names that match",
         needs("x", x={**FREE, "propertyNames": {"pattern": "^[A-Z]{2}$"}, "additionalProperties": INTEGER}), MADE),
    Kind("object that holds nothing", "openai/openai-agents-python#4277",
         '"additionalProperties": false, nothing declared',
         "left out", needs("x", x={**FREE, "additionalProperties": False}), "an object without properties"),
    Kind("one of two", "anthropics/claude-code#5319", '"oneOf": [{a}, {b}]', "one of them",
         branches("oneOf", needs("a", a=STRING), needs("b", b=INTEGER)), MADE),
    Kind("one of two required", "mobile-next/mobile-mcp#344", '"oneOf": [{"required": ["a"]}, ...]', "one of them",
         branches("oneOf", {"required": ["a"]}, {"required": ["b"]}, properties={"a": STRING, "b": INTEGER}), MADE),
    Kind("any of two required", "marianfoo/mcp-sap-docs#51", '"anyOf": [{"required": ["a"]}, ...]',
         "one of them or more",
         branches("anyOf", {"required": ["a"]}, {"required": ["b"]}, properties={"a": STRING, "b": INTEGER}), MADE),
    Kind("kinds by a word", "kenn-io/kata#365", '"oneOf", each with a const', "the values of that kind",
         branches("oneOf", needs("kind", "a", kind={"const": "town"}, a=STRING),
                  needs("kind", "b", kind={"const": "zip"}, b=INTEGER)), MADE),
    Kind("all of two", "langfuse/langfuse#14770", '"allOf": [{a}, {b}]', "both",
         branches("allOf", needs("a", a=STRING), needs("b", b=INTEGER)), MADE),
    Kind("if and then", "evoila/meho#905", '"if": ..., "then": {"required": ["b"]}', "what follows",
         {**needs("a", a={"enum": ["zip"]}, b=INTEGER), "if": {"properties": {"a": {"const": "zip"}}},
          "then": {"required": ["b"]}}, MADE),
    Kind("one needs another", "json-schema.org/understanding-json-schema/reference/conditionals",
         '"dependentRequired": {"a": ["b"]}', "both",
         {**needs("a", a=STRING, b=INTEGER), "dependentRequired": {"a": ["b"]}}, MADE),
    Kind("all of, inside", "langfuse/langfuse#14770", '"x": {"allOf": [...]}', "all of it",
         needs("x", x={"allOf": [needs("a", a=STRING), needs("b", b=INTEGER)]}), MADE),
    Kind("one of, inside", "Mnehmos/mnehmos.rpg.mcp#73", '"x": {"oneOf": [...]}', "one of them",
         needs("x", x={"oneOf": [needs("a", a=STRING), needs("b", b=INTEGER)]}), MADE),
    Kind("null or text", "github/copilot-cli#1876", '"anyOf": [{"type": "null"}, ...]', "a text",
         needs("x", x={"anyOf": [{"type": "null"}, STRING], "default": None}), MADE),
    Kind("tuple", "openai/openai-agents-python#302", '"prefixItems": [...], "maxItems": 2', "a value each",
         needs("x", x={"type": "array", "prefixItems": [NUMBER, STRING], "minItems": 2, "maxItems": 2}), MADE),
    Kind("tuple that ends", "sinclairzx81/typebox#1407", '"prefixItems": [...], "items": false', "a value each",
         needs("x", x={"type": "array", "prefixItems": [NUMBER, NUMBER], "items": False}), MADE),
    Kind("tuple that goes on", "python-jsonschema/jsonschema#998", '"prefixItems": [...], "minItems": 3', "and more",
         needs("x", x={"type": "array", "prefixItems": [NUMBER], "items": STRING, "minItems": 3}), MADE),
    Kind("strict pattern", "schemathesis/schemathesis#4429", r"^[A-F]{3}-\d{2}:[xyz]+$", "a text that matches",
         text(r"^[A-F]{3}-\d{2}:[xyz]+$"), MADE),
    Kind("pattern of a number plate", "schemathesis/schemathesis#4429", "^(HH|B)-[A-Z]{1,2} [1-9][0-9]{0,3}$",
         "a text that matches", text("^(HH|B)-[A-Z]{1,2} [1-9][0-9]{0,3}$"), MADE),
    Kind("pattern with a length", "schemathesis/schemathesis#4429", '^[0-9a-f]+$, "minLength": 12',
         "a text that matches",
         text("^[0-9a-f]+$", minLength=12, maxLength=20), MADE),
    Kind("pattern with a repeat", "tc39/proposal-regexp-named-groups", r"^(?<a>[a-c])-\k<a>$", "a text that matches",
         text(r"^(?<a>[a-c])-\k<a>$"), MADE),
    Kind("pattern of capitals", "langfuse/langfuse#14770", r"^\p{Lu}{2}\p{N}+$", "a text that matches",
         text(r"^\p{Lu}{2}\p{N}+$"), MADE),
    Kind("pattern that nothing matches", "schemathesis/schemathesis#4429", "^(?!.)a", "left out", text("^(?!.)a"),
         "no value was found"),
    Kind("reference in a list", "QwenLM/Qwen-Agent#873", '"items": {"$ref": "#/$defs/A"}', "what it names",
         {**needs("x", x={"type": "array", "items": {"$ref": "#/$defs/A"}}), "$defs": {"A": needs("id", id=INTEGER)}},
         MADE),
    Kind("tree", "modelcontextprotocol/typescript-sdk#423", "a schema that may hold itself", "a small one",
         {**needs("x", x={"$ref": "#/$defs/A"}),
          "$defs": {"A": needs("id", id=INTEGER, parts={"type": "array", "items": {"$ref": "#/$defs/A"}})}}, MADE),
    Kind("nothing but itself", "modelcontextprotocol/typescript-sdk#423", '"A": {"$ref": "#/$defs/A"}', "left out",
         {**needs("x", x={"$ref": "#/$defs/A"}), "$defs": {"A": {"$ref": "#/$defs/A"}}}, "refers to itself"),
    Kind("many free properties", "json-schema.org/understanding-json-schema/reference/object#size",
         '"minProperties": 4', "four of them", needs("x", x={**FREE, "minProperties": 4}), MADE),
    Kind("one property at most", "json-schema.org/understanding-json-schema/reference/object#size",
         '"maxProperties": 1', "one", needs("x", x={**FREE, "properties": {"a": STRING, "b": STRING},
         "maxProperties": 1}), MADE),
    Kind("no property at most", "json-schema.org/understanding-json-schema/reference/object#size",
         '"maxProperties": 0', "left out", needs("x", x={**FREE, "maxProperties": 0}), "at most 0 properties"),
    Kind("more required than allowed", "json-schema.org/understanding-json-schema/reference/object#size",
         '"required": ["a", "b"], "maxProperties": 1', "left out",
         needs("x", x={**needs("a", "b", a=STRING, b=STRING), "maxProperties": 1}), "at most 1 properties"),
    Kind("counts with a point", "json-schema.org/draft/2020-12 (6.5)", '"minProperties": 2.0', "two",
         needs("x", x={**FREE, "minProperties": 2.0}), MADE),
    Kind("counts with a point of a tuple", "json-schema.org/draft/2020-12 (6.4)", '"prefixItems", "maxItems": 1.0',
         "one", needs("x", x={"type": "array", "prefixItems": [NUMBER, STRING], "maxItems": 1.0}), MADE),
    Kind("counts with a point, converted by nobody", "json-schema.org/draft/2020-12 (6.4)", '"$ref": "#/x-types/A"',
         "two",
         {**needs("x", x={"$ref": "#/x-types/A"}), "x-types": {"A": {"type": "array", "minItems": 2.0}}}, MADE),
    Kind("more items than allowed", "json-schema.org/draft/2020-12 (6.4)", '"minItems": 3, "maxItems": 2', "left out",
         needs("x", x={"type": "array", "items": STRING, "minItems": 3, "maxItems": 2}), "3 items or more"),
    Kind("no items at most", "json-schema.org/draft/2020-12 (6.4)", '"maxItems": 0', "left out",
         needs("x", x={"type": "array", "items": STRING, "maxItems": 0}), "at most 0"),
    Kind("any value", BFCL, "no type", "a text", needs("x", x={"description": "What."}), MADE),
    Kind("two types", "anthropics/claude-code#5319", '"type": ["integer", "string"]', "one of them",
         needs("x", x={"type": ["integer", "string"]}), MADE),
]  # fmt: skip
