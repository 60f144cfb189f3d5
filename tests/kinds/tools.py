"""Definitions of tools, as files and dialogues have them."""

from __future__ import annotations

import json
from typing import Any

from kinds import Kind

TITLE = "Tools"
ABOUT = (
    "A file of tools (`tools=own tools.path=FILE`) and the tools of a dialogue, in whatever they are wrapped. What is "
    "read is read whole: parameters that nobody would look for are an error that names their key."
)
TOWN: dict[str, Any] = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


def named(**keys: Any) -> dict[str, Any]:
    """A definition with a name."""
    return {"name": "find_depot", "description": "Find a depot.", **keys}


def one(schema: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A definition with one required parameter ``x`` of this schema."""
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"], **keys}
    return {"type": "function", "function": named(parameters=parameters)}


def x(schema: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """What `one` must be read as."""
    return {"find_depot": {"type": "object", "properties": {"x": schema}, "required": ["x"], **keys}}


def flat(**parameters: Any) -> dict[str, Any]:
    """A definition with parameters by name."""
    return named(parameters=parameters)


def needs(*names: str, **properties: Any) -> dict[str, Any]:
    """Parameters of which some are required."""
    return {"type": "object", "properties": properties, **({"required": list(names)} if names else {})}


DEPOT = {"find_depot": TOWN}
STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
OPENAI = "platform.openai.com/docs/guides/function-calling"
MCP = "modelcontextprotocol.io/specification/2025-11-25/server/tools"
ANTHROPIC = "docs.claude.com/en/docs/agents-and-tools/tool-use"
GEMINI = "ai.google.dev/api/caching#FunctionDeclaration"
LANGCHAIN = "langchain-ai/langchain libs/core/langchain_core/utils/function_calling.py"
XLAM = "huggingface.co/datasets/Salesforce/xlam-function-calling-60k"
BFCL = "ShishirPatil/gorilla berkeley-function-call-leaderboard/bfcl_eval/data"
TOOLBENCH = "OpenBMB/ToolBench toolbench/inference/Downstream_tasks/rapidapi.py"
SERVICES = "zhangdw156/Sloop tests/services.json"

FORMS = [
    Kind("openai", OPENAI, '{"type": "function", "function": {...}}', "as it is", one(STRING), x(STRING)),
    Kind("openai bare", OPENAI, "the function alone", "as it is", named(parameters=TOWN), DEPOT),
    Kind("openai without parameters", OPENAI, "no key parameters", "a tool without any", named(),
         {"find_depot": NOTHING}),
    Kind("responses", "platform.openai.com/docs/api-reference/responses", '{"type": "function", "name": ...}',
         "its parameters", {"type": "function", "strict": True, **named(parameters=TOWN)}, DEPOT),
    Kind("responses, run by the server", "platform.openai.com/docs/guides/tools", '{"type": "web_search"}',
         "an error", {"type": "web_search"}, "web_search"),
    Kind("responses custom", "platform.openai.com/docs/guides/function-calling#custom-tools", '"type": "custom"',
         "an error: it takes no JSON", named(type="custom", format={"type": "text"}), '"custom"'),
    Kind("mcp", MCP, '"inputSchema": {...}', "its schema",
         [named(title="Depot", inputSchema=TOWN, annotations={"readOnlyHint": True})], DEPOT),
    Kind("mcp result", MCP, '{"result": {"tools": [...]}}', "its tools; outputSchema and _meta are passed over",
         {"jsonrpc": "2.0", "id": 1,
         "result": {"tools": [named(inputSchema=TOWN, outputSchema=one(STRING), _meta={})]}},
         DEPOT),
    Kind("mcp list with a cursor", "CodebuffAI/freebuff#450", '{"tools": [...], "nextCursor": ...}', "its tools",
         {"tools": [named(inputSchema={"$schema": "http://json-schema.org/draft-07/schema#", **TOWN})],
          "nextCursor": None}, DEPOT),
    Kind("mcp null schema", "lightweight-component/aj-mcp#4", '"inputSchema": null', "a tool without parameters",
         named(inputSchema=None), {"find_depot": NOTHING}),
    Kind("mcp type alone", "xpzouying/xiaohongshu-mcp#677", '"inputSchema": {"type": "object"}',
         "a tool without parameters", named(inputSchema={"type": "object"}), {"find_depot": NOTHING}),
    Kind("mcp security schemes", "developers.openai.com/apps-sdk/reference", '"securitySchemes": [{"type": ...}]',
         "a tool without parameters", named(inputSchema=NOTHING, securitySchemes=[{"type": "noauth"}]),
         {"find_depot": NOTHING}),
    Kind("anthropic", ANTHROPIC, '"input_schema": {...}', "its schema", [named(input_schema=TOWN)], DEPOT),
    Kind("anthropic custom", ANTHROPIC, '"type": "custom", "cache_control": ...', "its schema",
         named(type="custom", input_schema=TOWN, cache_control={"type": "ephemeral"},
         input_examples=[{"town": "Bari"}]),
         DEPOT),
    Kind("anthropic, run by the server", ANTHROPIC, '"type": "web_search_20250305"', "an error",
         {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}, "web_search_20250305"),
    Kind("anthropic bedrock", LANGCHAIN, '{"toolSpec": {..., "inputSchema": {"json": {...}}}}', "its schema",
         {"tools": [{"toolSpec": named(inputSchema={"json": TOWN})}], "toolChoice": {"auto": {}}}, DEPOT),
    Kind("gemini", GEMINI, '{"functionDeclarations": [...]}, types in capitals, numbers as text', "JSON Schema's types",
         [{"functionDeclarations": [named(parameters={
             "type": "OBJECT", "required": ["x"],
             "properties": {"x": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2"}}})]}],
         {"find_depot": {"type": "object", "required": ["x"], "properties": {
             "x": {"type": "array", "items": STRING, "minItems": 2}}}}),
    Kind("gemini snake case", "maximhq/bifrost#6540", '"parameters_json_schema"', "its schema",
         {"function_declarations": [named(parameters_json_schema=TOWN)]}, DEPOT),
    Kind("gemini camel case", GEMINI, '"parametersJsonSchema"', "its schema",
         {"functionDeclarations": [named(parametersJsonSchema=TOWN, parameters=None, response=None)]}, DEPOT),
    Kind("gemini items of an array", "router-for-me/CLIProxyAPI#6038", '"ARRAY"', "array",
         one({"type": "ARRAY", "items": {"type": "NUMBER"}}), x({"type": "array", "items": NUMBER})),
    Kind("gemini, run by the server", GEMINI, '{"googleSearch": {}}', "an error", [{"googleSearch": {}}],
         "no function name"),
    Kind("langchain schema", LANGCHAIN, "a JSON Schema with a title", "a tool of that name",
         {"title": "find_depot", "description": "Find a depot.", **TOWN}, DEPOT),
    Kind("langchain args", LANGCHAIN, '"args": {"town": {"title": ..., "type": ...}}', "one with a default is optional",
         named(args={"town": STRING, "n": {"type": "integer", "default": 3}}),
         {"find_depot": needs("town", town=STRING, n={"type": "integer", "default": 3})}),
    Kind("langchain args schema", LANGCHAIN, '"args_schema", as text', "its schema",
         named(args_schema=json.dumps(TOWN)), DEPOT),
    Kind("ai sdk", "vercel/ai#1624", "definitions by name, parameters by name", "both are read",
         {"find_depot": {"description": "Find a depot.", "parameters": {"town": STRING}}}, DEPOT),
    Kind("ai sdk schema", "vercel/ai packages/provider-utils/src/schema.ts", '"inputSchema": {"jsonSchema": {...}}',
         "its schema", named(inputSchema={"jsonSchema": TOWN}), DEPOT),
    Kind("zod", "inkeep/agents#1295", '"inputSchema": {"_def": ...}', "an error that names it",
         named(inputSchema={"_def": {"typeName": "ZodObject"}}), "inputSchema._def"),
    Kind("smolagents", "huggingface/smolagents src/smolagents/models.py", '"inputs": {...}, nullable',
         "a nullable input is optional",
         named(inputs={"town": STRING, "n": {"type": "integer", "nullable": True}}, output_type="string"),
         {"find_depot": needs("town", town=STRING, n={"type": ["integer", "null"]})}),
    Kind("smolagents any", "huggingface/smolagents src/smolagents/models.py", '"type": "any"', "any value",
         named(inputs={"x": {"type": "any", "description": "What."}}), x({"description": "What."})),
    Kind("transformers return", "huggingface/transformers#40173", '"return": {...} beside parameters', "passed over",
         {"type": "function", "function": named(parameters=TOWN, **{"return": STRING})}, DEPOT),
    Kind("cohere", "docs.cohere.com/v1/docs/tool-use", '"parameter_definitions": {..., "required": true}',
         "required where it says so",
         named(parameter_definitions={"town": {"type": "str", "required": True}, "n": {"type": "int"}}),
         {"find_depot": needs("town", town=STRING, n=INTEGER)}),
    Kind("llama stack", "meta-llama/llama-models models/llama3/api/datatypes.py", '"param_type": "string"', "its type",
         flat(town={"param_type": "string", "required": True}, n={"param_type": "int", "required": False}),
         {"find_depot": needs("town", town=STRING, n=INTEGER)}),
    Kind("acebench", "github.com/chenchen0103/ACEBench", '"arguments": {...}', "its schema", named(arguments=TOWN),
         DEPOT),
    Kind("toolbench", TOOLBENCH, "required_parameters, optional_parameters",
         "a required one's default is an example of it",
         {"category_name": "Maps", "api_name": "find_depot", "api_description": "Find a depot.",
          "required_parameters": [{"name": "town", "type": "STRING", "description": "", "default": "Bari"}],
          "optional_parameters": [{"name": "n", "type": "NUMBER", "description": "", "default": "10"}]},
         {"find_depot": needs("town", town={"type": "string", "examples": ["Bari"]},
         n={"type": "number", "default": 10})}),
    Kind("toolbench api list", TOOLBENCH, '{"tool_name": ..., "api_list": [...]}', "a tool each",
         {"tool_name": "Maps",
         "api_list": [named(url="https://example.org", required_parameters=[], optional_parameters=[
             {"name": "on", "type": "DATE (YYYY-MM-DD)", "default": ""}])]},
         {"find_depot": needs(on={"type": "string", "format": "date"})}),
    Kind("toolbench in openai's form", "modelscope/ms-swift docs/source/LLM/Agent.md", '"optional": [] in parameters',
         "as it is", named(parameters={**TOWN, "optional": []}), {"find_depot": {**TOWN, "optional": []}}),
    Kind("openapi parameters", "spec.openapis.org/oas/v3.0.3#parameter-object", '[{"name", "in", "schema"}]',
         "required where it says so",
         named(parameters=[{"name": "town", "in": "path", "required": True, "schema": STRING},
                           {"name": "n", "in": "query", "schema": INTEGER}]),
         {"find_depot": needs("town", town=STRING, n=INTEGER)}),
    Kind("bfcl entry", BFCL, '{"question": ..., "function": [...]}', "its functions",
         {"id": "a", "question": [[{"role": "user", "content": "?"}]], "function": [named(parameters=TOWN)]}, DEPOT),
    Kind("services", SERVICES, '{"city": "string", "n": "integer"}', "required parameters of these types",
         flat(town="string"), DEPOT),
    Kind("services with a parameter called type", SERVICES, '{"type": "string", "town": "string"}', "two parameters",
         flat(type="string", town="string"), {"find_depot": needs("type", "town", type=STRING, town=STRING)}),
    Kind("parameters called type and properties", SERVICES, '"properties": {"type": ..., "properties": ...}',
         "two parameters",
         named(parameters={"properties": {"type": STRING, "properties": {"type": "object"}}}),
         {"find_depot": {"type": "object", "properties": {"type": STRING, "properties": {"type": "object"}}}}),
    Kind("services with words", SERVICES, '{"town": "where to look"}', "an error that names it",
         flat(town="where to look"), "parameters.town"),
    Kind("a call in its place", OPENAI, '{"name": ..., "arguments": {"town": "Bari"}}', "an error",
         named(arguments={"town": "Bari"}), "arguments.town"),
]  # fmt: skip
WRAPPINGS = [
    Kind("one definition", OPENAI, "no list", "one tool", named(parameters=TOWN), DEPOT),
    Kind("tools key", OPENAI, '{"tools": [...]}', "its tools", {"tools": [one(STRING)]}, x(STRING)),
    Kind("functions key", OPENAI, '{"functions": [...]}', "its tools", {"functions": [named(parameters=TOWN)]}, DEPOT),
    Kind("json text", "huggingface/trl#5307", '"tools": "[{...}]"', "its tools", {"tools": json.dumps([one(STRING)])},
         x(STRING)),
    Kind("list of json texts", "huggingface.co/datasets/nvidia/When2Call", '["{...}"]', "its tools",
         [json.dumps(named(parameters=TOWN))], DEPOT),
    Kind("json text in json text", "huggingface/transformers#37547", '"\\"[...]\\""', "its tools",
         json.dumps(json.dumps([named(parameters=TOWN)])), DEPOT),
    Kind("parameters as json text", "axolotl-ai-cloud/axolotl#3238", '"parameters": "{...}"', "its schema",
         named(parameters=json.dumps(TOWN)), DEPOT),
    Kind("a word called result", OPENAI, '"parameters": ..., "result": "Where it is."', "passed over",
         named(parameters=TOWN, result="Where it is.", tools="none"), DEPOT),
    Kind("by name, one without parameters", "vercel/ai#1624",
         '{"a": {"description": ...}, "b": {..., "parameters": ...}}',
         "both", {"a": {"description": "Say the time."}, "find_depot": {"parameters": TOWN}}, {"a": NOTHING, **DEPOT}),
    Kind("a server's page", MCP, '{"name": ..., "tools": [...]}', "its tools",
         {"name": "maps", "version": "1", "tools": [named(inputSchema=TOWN)]}, DEPOT),
    Kind("a null among tools", "huggingface/datasets#6738", "[null, {...}]", "the others",
         [None, named(parameters=TOWN)], DEPOT),
    Kind("text that is no json", "huggingface/trl#5307", '"find_depot, find_town"', "an error", "find_depot, find_town",
         "text and no JSON"),
    Kind("parameters beside the function", OPENAI, '{"function": {...}, "parameters": {...}}', "its parameters",
         {"type": "function", "function": named(), "parameters": TOWN}, DEPOT),
]  # fmt: skip
LOST = [
    Kind("another key", "modelcontextprotocol/typescript-sdk#423", '"params": {...}', "an error that names the key",
         named(params=TOWN), '"params" seems to hold its parameters'),
    Kind("a slip of the pen", "objectstack-ai/objectstack#13271", '"paramters": {...}', "an error that names the key",
         named(paramters=TOWN), '"paramters" seems'),
    Kind("types under another key", "objectstack-ai/objectstack#13271", '"schema": {"town": "string"}',
         "an error that names the key", named(schema={"town": "string"}), '"schema" seems'),
    Kind("a list under another key", "objectstack-ai/objectstack#13271", '"fields": [{"name", "type"}]',
         "an error that names the key", named(fields=[{"name": "town", "type": "string"}]), '"fields" seems'),
    Kind("text under another key", "objectstack-ai/objectstack#13271", '"definition": "{...}"',
         "an error that names the key", named(definition=json.dumps(TOWN)), '"definition" seems'),
    Kind("empty here, full there", "rohitg00/agentmemory#1377", '"parameters": {}, "params": {...}',
         "an error that names the key", named(parameters={}, params=TOWN), '"params" seems'),
    Kind("properties forgotten", OPENAI, '{"type": "object", "town": {"type": "string"}}', "an error that shows how",
         flat(type="object", town=STRING), 'Write "properties": {"town"'),
    Kind("properties forgotten, types", OPENAI, '{"type": "object", "town": "string"}', "an error that shows how",
         flat(type="object", town="string"), 'Write "properties": {"town"'),
    Kind("two that differ", MCP, '"parameters" and "inputSchema"', "an error",
         named(parameters=TOWN, inputSchema=needs(n=INTEGER)),
         "hold other parameters each"),
    Kind("two that agree", MCP, '"parameters" and "inputSchema"', "read once", named(parameters=TOWN, inputSchema=TOWN),
         DEPOT),
    Kind("required and not declared", OPENAI, '"required": ["city"]', "an error",
         named(parameters={**TOWN, "required": ["city"]}), "city"),
    Kind("no name", OPENAI, "no key name", "an error", {"description": "Find.", "parameters": TOWN},
         "no function name"),
]  # fmt: skip
TYPES = [
    Kind("bfcl python", BFCL, '"dict", "float", "tuple"', "object, number, array",
         named(parameters={"type": "dict", "properties": {
             "a": {"type": "float"}, "b": {"type": "tuple", "items": {"type": "float"}}, "c": {"type": "any"}},
             "required": ["a"]}),
         {"find_depot": needs("a", a=NUMBER, b={"type": "array", "items": NUMBER}, c={})}),
    Kind("bfcl java", BFCL, '"ArrayList", "HashMap", "long", "String"', "array, object, integer, string",
         flat(a={"type": "ArrayList", "items": {"type": "String"}}, b={"type": "HashMap"}, c={"type": "long"}),
         {"find_depot": needs("a", "b", "c", a={"type": "array", "items": STRING}, b={"type": "object"}, c=INTEGER)}),
    Kind("bfcl javascript", BFCL, '"Bigint", "Boolean", "array"', "integer, boolean, array",
         flat(a={"type": "Bigint"}, b={"type": "Boolean"}, c={"type": "array"}),
         {"find_depot": needs("a", "b", "c", a=INTEGER, b={"type": "boolean"}, c={"type": "array"})}),
    Kind("xlam", XLAM, '"str", "int, optional", "default": ""', "one that is optional or has a default is not required",
         flat(town={"type": "str", "description": "Where."}, n={"type": "int, optional", "default": ""},
              unit={"type": "str", "default": "km"}, near={"type": "bool, optional", "default": "True"}),
         {"find_depot": needs("town", town={"type": "string", "description": "Where."}, n=INTEGER,
                              unit={"type": "string", "default": "km"}, near={"type": "boolean", "default": True})}),
    Kind("xlam lists", XLAM, '"List[int]", "Tuple[float, float]"', "array with its items",
         flat(x={"type": "List[int]"}, y={"type": "Tuple[float, float]"}),
         {"find_depot": needs("x", "y", x={"type": "array", "items": INTEGER},
                              y={"type": "array", "prefixItems": [NUMBER, NUMBER], "minItems": 2, "maxItems": 2})}),
    Kind("xlam unions", XLAM, '"Union[int, float]", "Optional[str]", "List[Union[int, str]]"', "either",
         flat(x={"type": "Union[int, float]"}, y={"type": "Optional[str]"}, z={"type": "List[Union[int, str]]"}),
         {"find_depot": needs("x", "z", x={"type": ["integer", "number"]}, y={"type": ["string", "null"]},
                              z={"type": "array", "items": {"type": ["integer", "string"]}})}),
    Kind("xlam maps and sets", XLAM, '"Dict[str, int]", "Set[str]", "Callable[[float], float]"',
         "object, unlike items, text",
         flat(x={"type": "Dict[str, int]"}, y={"type": "Set[str]"}, z={"type": "Callable[[float], float]"}),
         {"find_depot": needs("x", "y", "z", x={"type": "object", "additionalProperties": INTEGER},
                              y={"type": "array", "uniqueItems": True, "items": STRING}, z=STRING)}),
    Kind("xlam parameter called type", XLAM, '{"type": {"type": "str"}}', "a parameter",
         flat(type={"type": "str"}), {"find_depot": needs("type", type=STRING)}),
    Kind("typescript", "modelcontextprotocol/typescript-sdk#1310", '"string[]", "Array<number>", "string | null"',
         "array, either", flat(x="string[]", y="Array<number>", z="string | null"),
         {"find_depot": needs("x", "y", "z", x={"type": "array", "items": STRING}, y={"type": "array", "items": NUMBER},
                              z={"type": ["string", "null"]})}),
    Kind("in words", SERVICES, '"list of strings", "int or float", "string (optional)"', "array, either, optional",
         flat(x="list of strings", y="int or float", z="string (optional)"),
         {"find_depot": needs("x", "y", x={"type": "array", "items": STRING}, y={"type": ["integer", "number"]},
         z=STRING)}),
    Kind("literal", XLAM, "\"Literal['km', 'mi']\"", "an enum", flat(x="Literal['km', 'mi']"),
         x({"enum": ["km", "mi"]})),
    Kind("types of a module", XLAM, '"typing.List[int]", "np.ndarray"', "array",
         flat(x="typing.List[int]", y="np.ndarray"),
         {"find_depot": needs("x", "y", x={"type": "array", "items": INTEGER}, y={"type": "array"})}),
    Kind("unknown type of a module", XLAM, '"torch.Tensor"', "an error", flat(x="torch.Tensor"),
         "parameters.x: the type"),
    Kind("number for a type", XLAM, '"type": "3"', "an error", flat(x={"type": "3"}), "parameters.x: the type"),
    Kind("unknown type in brackets", XLAM, '"Lists[Bytes]"', "an error", flat(x="Tensors[int]"),
         "parameters.x: the type"),
    Kind("unknown type", XLAM, '"complex"', "an error with the types that are known", flat(x={"type": "complex"}),
         "allowed: string, integer"),
]  # fmt: skip
DRAFTS = [
    Kind("required null", "MervinPraison/PraisonAI#3111", '"required": null', "nothing is required",
         named(parameters={**TOWN, "required": None}), {"find_depot": needs(town=STRING)}),
    Kind("null keywords", "laravel/boost#220", '"enum": null, "additionalProperties": null', "left out",
         one({"type": "string", "enum": None, "description": None}, additionalProperties=None), x(STRING)),
    Kind("null parameters", "huggingface/datasets#6738", '"n": null among the properties', "no parameter",
         named(parameters={**TOWN, "properties": {"town": STRING, "n": None}}), DEPOT),
    Kind("empty enum", "huggingface/datasets#6738", '"enum": []', "left out", one({"type": "string", "enum": []}),
         x(STRING)),
    Kind("required twice", "spec.openapis.org/oas/v3.0.3", '["x", "x"]', "once", one(STRING, required=["x", "x"]),
         x(STRING)),
    Kind("php", "openai-php/client#262", '"properties": []', "no properties",
         named(parameters={"type": "object", "properties": []}), {"find_depot": NOTHING}),
    Kind("php nested", "WordPress/php-ai-client#233", '"properties": [] inside', "no properties",
         one({"type": "object", "properties": []}), x({"type": "object", "properties": {}})),
    Kind("php parameters", "prism-php/prism#1012", '"parameters": []', "a tool without parameters",
         named(parameters=[]),
         {"find_depot": NOTHING}),
    Kind("tuple of draft 7", "sinclairzx81/typebox#1407", '"items": [...], "additionalItems": false',
         "prefixItems, items",
         one({"type": "array", "items": [NUMBER, STRING], "additionalItems": False, "minItems": 2}),
         x({"type": "array", "prefixItems": [NUMBER, STRING], "items": False, "minItems": 2})),
    Kind("tuple without an end", "python-jsonschema/jsonschema#849", '"items": [...]', "prefixItems",
         one({"type": "array", "items": [NUMBER]}), x({"type": "array", "prefixItems": [NUMBER]})),
    Kind("tuple of types", "python-jsonschema/jsonschema#998", '"items": ["number", "string"]', "prefixItems",
         one({"type": "array", "items": ["number", "string"]}), x({"type": "array", "prefixItems": [NUMBER, STRING]})),
    Kind("exclusive bound of draft 4", "PayU/api-schema-builder#86", '"minimum": 0, "exclusiveMinimum": true',
         '"exclusiveMinimum": 0', one({"type": "integer", "minimum": 0, "exclusiveMinimum": True}),
         x({"type": "integer", "exclusiveMinimum": 0})),
    Kind("inclusive bound of draft 4", "NeuraLegion/har-sdk#267", '"exclusiveMaximum": false', "the bound",
         one({"type": "number", "maximum": 50, "exclusiveMaximum": False}), x({"type": "number", "maximum": 50})),
    Kind("exclusive bound of nothing", "PayU/api-schema-builder#86", '"exclusiveMaximum": true alone', "an error",
         one({"type": "number", "exclusiveMaximum": True}), '"exclusiveMaximum": true'),
    Kind("required of draft 3", "json-schema.org/draft-03", '"x": {"required": true}', "required by the object",
         named(parameters={"type": "object", "properties": {"x": {"type": "string", "required": True}, "y": INTEGER}}),
         {"find_depot": {"type": "object", "properties": {"x": STRING, "y": INTEGER}, "required": ["x"]}}),
    Kind("dependencies", "json-schema.org/draft/2019-09/release-notes", '"dependencies": {"x": ["y"]}',
         "dependentRequired",
         named(parameters={"type": "object", "properties": {"x": STRING, "y": STRING}, "dependencies": {"x": ["y"]}}),
         {"find_depot": {"type": "object", "properties": {"x": STRING, "y": STRING},
         "dependentRequired": {"x": ["y"]}}}),
    Kind("nullable", "spec.openapis.org/oas/v3.0.3#schema-object", '"nullable": true', "or null",
         one({"type": "string", "enum": ["a"], "nullable": True}),
         x({"type": ["string", "null"], "enum": ["a", None]})),
    Kind("nullable reference", "spec.openapis.org/oas/v3.0.3#schema-object", '"$ref": ..., "nullable": true', "or null",
         one({"$ref": "#/$defs/A", "nullable": True}, **{"$defs": {"A": STRING}}),
         x({"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}, **{"$defs": {"A": STRING}})),
    Kind("not nullable", "spec.openapis.org/oas/v3.0.3#schema-object", '"nullable": false', "left out",
         one({"type": "string", "nullable": False}), x(STRING)),
    Kind("examples of openapi", "spec.openapis.org/oas/v3.0.3#example-object", '"examples": {"a": {"value": ...}}',
         "a list", one({"type": "string", "examples": {"a": {"value": "Bari"}}}),
         x({"type": "string", "examples": ["Bari"]})),
    Kind("named root", "genkit-ai/genkit-dart#253", '{"$ref": "#/$defs/A", "$defs": ...}', "what it names",
         named(parameters={"$ref": "#/$defs/A", "$defs": {"A": TOWN}}), {"find_depot": {**TOWN, "$defs": {"A": TOWN}}}),
    Kind("reference inside", "github/copilot-cli#1876", '"$ref": "#/$defs/A"', "as it is",
         one({"$ref": "#/$defs/A"}, **{"$defs": {"A": STRING}}), x({"$ref": "#/$defs/A"}, **{"$defs": {"A": STRING}})),
    Kind("reference to a property", "Mnehmos/mnehmos.rpg.mcp#73", '"$ref": "#/properties/x"', "as it is",
         named(parameters=needs("x", x=STRING, y={"$ref": "#/properties/x"})),
         {"find_depot": needs("x", x=STRING, y={"$ref": "#/properties/x"})}),
    Kind("reference outside", "labring/FastGPT#6395", '"$ref": "https://..."', "an error",
         one({"$ref": "https://example.org/s.json#/a"}), "which is outside it"),
    Kind("reference to a file", "labring/FastGPT#6395", '"$ref": "types.json#/a"', "an error",
         one({"$ref": "types.json#/a"}), "which is outside it"),
    Kind("reference to nothing", "gemini-cli-extensions/stitch#13", '"$ref": "#/$defs/A", no $defs', "an error",
         one({"$ref": "#/$defs/A"}), "which it does not hold"),
    Kind("unicode property", "langfuse/langfuse#14770", r'"pattern": "^\p{L}+$"', "as it is",
         one({"type": "string", "pattern": r"^\p{L}+$"}), x({"type": "string", "pattern": r"^\p{L}+$"})),
    Kind("unicode properties in a set", "router-for-me/CLIProxyAPI#5677", r'"pattern": "^[^\p{Cc}\p{Zl}]{1,200}$"',
         "as it is", one({"type": "string", "pattern": r"^(?!__.*__$)[^\p{Cc}\p{Zl}\\./]{1,200}$"}),
         x({"type": "string", "pattern": r"^(?!__.*__$)[^\p{Cc}\p{Zl}\\./]{1,200}$"})),
    Kind("named group", "tc39/proposal-regexp-named-groups", '"pattern": "(?<year>...)"', "as it is",
         one({"type": "string", "pattern": r"^(?<year>\d{4})$"}),
         x({"type": "string", "pattern": r"^(?<year>\d{4})$"})),
    Kind("no regular expression", "langchain-ai/langchainjs#11430", '"pattern": "(("', "an error",
         one({"type": "string", "pattern": "(("}), "not a 'regex'"),
]  # fmt: skip
KINDS = [*FORMS, *WRAPPINGS, *LOST, *TYPES, *DRAFTS]
