"""Datasets of dialogues as people publish and convert them."""

from __future__ import annotations

import json
from typing import Any

from kinds import Kind

TITLE = "Dialogues, as training data and as a benchmark"
ABOUT = (
    "Given as `data=` or `benchmark=jsonl benchmark.path=`; the form is found by itself (`form=auto`) or named. A file "
    "of which more than `max_left_out` makes no sample is refused, with its first fault."
)

TOWN = {
    "type": "object",
    "properties": {"town": {"type": "string"}, "radius": {"type": "integer"}},
    "required": ["town"],
}
NOTE = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "body": {"type": "string"}},
    "required": ["to", "body"],
}
FLAT = [
    {"name": "find_depot", "description": "Find a depot.", "parameters": TOWN},
    {"name": "send_note", "description": "Send a note.", "parameters": NOTE},
]
TOOLS = [{"type": "function", "function": tool} for tool in FLAT]
BARI = ["find_depot", {"town": "Bari"}]
ASK = {"role": "user", "content": "A depot in Bari?"}
BODY = '{"name": "find_depot", "arguments": {"town": "Bari"}}'
HERMES = f"<tool_call>\n{BODY}\n</tool_call>"


def chat(*messages: Any, **extra: Any) -> dict[str, Any]:
    return {"messages": [ASK, *messages], "tools": TOOLS, **extra}


def says(content: Any = None, **extra: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **extra}


def calls(arguments: Any, name: str = "find_depot") -> dict[str, Any]:
    return says(tool_calls=[{"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}}])


def turns(*pairs: tuple[str, str], **extra: Any) -> dict[str, Any]:
    return {"conversations": [{"from": speaker, "value": text} for speaker, text in pairs], **extra}


def read(form: str, *labels: Any, **left_out: int) -> dict[str, Any]:
    """What comes of a file: its form, the labels (words, or calls), and what is left out by reason."""
    return {"form": form, "labels": list(labels), "left_out": left_out}


def refused(words: str) -> dict[str, Any]:
    return {"error": words}


def text(name: str, content: str, source: str, *labels: Any, **left_out: int) -> Kind:
    """An assistant's text in a file of OpenAI's form, with a second line that is sound."""
    sound = {"messages": [{"role": "user", "content": "A depot?"}, says("Which town?")], "tools": TOOLS}
    come = read("openai", *labels, "Which town?", **left_out)
    shown = "a call in the text" if labels and not isinstance(labels[0], str) else "words"
    return Kind(name, source, content, "left out, counted" if left_out else shown, [chat(says(content)), sound], come)


SYSTEM = f"You are a function calling AI model. <tools> {json.dumps(TOOLS)} </tools> Answer in <tool_call></tool_call>."
PYTHON = f"Call functions within <tools></tools>. <tools> {TOOLS!r} </tools>"
GLAIVE = "SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n"
GLAIVE += "\n\n".join(json.dumps(tool, indent=4) for tool in FLAT)
QUOTED = """<functioncall> {"name": "send_note", "arguments": '{"to": "Ann", "body": "It's late"}'} <|endoftext|>"""
ACE = "Here is a list of functions in JSON format that you can invoke:\n"
SPACED = [{"name": "Depot Search API", "description": "", "parameters": {**TOWN, "type": "dict"}, "required": None}]
XLAM = [{"name": "find_depot", "description": "", "parameters": {"town": {"type": "str", "description": "Where."}}}]
AUTOGPT = f"You are AutoGPT. You have access to the following APIs: {FLAT!r}"
MCQ = {"tool_call": BODY, "request_for_info": "Which town?", "cannot_answer": "I cannot.", "direct": "In Bari."}

KINDS = [
    # calls in the text of a label
    text("hermes in a label", HERMES, "NousResearch/hermes-function-calling-v1", [BARI]),
    text("two in a label", f"Two.\n{HERMES}\n{HERMES}", "NousResearch/hermes-function-calling-v1", [BARI, BARI]),
    text(
        "python's quotes in a label",
        "<tool_call>\n{'arguments': {'town': 'Bari'}, 'name': 'find_depot'}\n</tool_call>",
        "NousResearch/hermes-function-calling-v1 func_calling_singleturn",
        [BARI],
    ),
    text(
        "thinking before a call",
        f"<think>A depot.</think>\n{HERMES}",
        "interstellarninja/hermes_reasoning_tool_use",
        [BARI],
    ),
    text(
        "a call drafted in thinking",
        f"<think>{HERMES}?</think>No.",
        "NousResearch/Hermes-Function-Calling",
        f"<think>{HERMES}?</think>No.",
    ),
    text("functioncall in a label", "<functioncall> " + BODY, "glaiveai/glaive-function-calling-v2", [BARI]),
    text("TOOLCALL in a label", f"<TOOLCALL>[{BODY}]</TOOLCALL>", "NVIDIA/When2Call", [BARI]),
    text(
        "pythonic in a label",
        '[find_depot(town="Bari", radius=3)]',
        "Team-ACE/ToolACE",
        [["find_depot", {"town": "Bari", "radius": 3}]],
    ),
    text(
        "llama's in a label",
        '<|python_tag|>{"name": "find_depot", "parameters": {"town": "Bari"}}',
        "meta-llama/llama-models",
        [BARI],
    ),
    text("mistral's in a label", f"[TOOL_CALLS][{BODY}]", "mistralai/mistral-common", [BARI]),
    text(
        "react in a label",
        'Thought: Look.\nAction: find_depot\nAction Input: {"town": "Bari"}',
        "OpenBMB/ToolBench",
        [BARI],
    ),
    text(
        "a broken call in a label",
        '<tool_call>\n{"name": "find_depot", "arguments": {',
        "NVIDIA/When2Call",
        unread_call=1,
    ),
    text(
        "a broken functioncall",
        '<functioncall> {"name": "find_depot", "arguments": \'{"town"}',
        "glaiveai/glaive",
        unread_call=1,
    ),
    text(
        "a call of what is not offered, in text",
        HERMES.replace("find_depot", "sing"),
        "Team-ACE/ToolACE",
        not_offered=1,
    ),
    text("a call in text that misses its schema", HERMES.replace("town", "city"), "Team-ACE/ToolACE", off_schema=1),
    text(
        "JSON that is an answer", '{"name": "Bari", "depots": 2}', "BFCL irrelevance", '{"name": "Bari", "depots": 2}'
    ),
    text(
        "brackets that are words",
        "See [the map](depot.html), or <b>ask</b>.",
        "plain markdown",
        "See [the map](depot.html), or <b>ask</b>.",
    ),
    Kind(
        "the history's calls in text",
        "NousResearch/hermes-function-calling-v1",
        "an earlier assistant message with <tool_call>, its answer in a user's <tool_response>",
        "a call and its result",
        [chat(says(HERMES), {"role": "user", "content": "<tool_response>\n[]\n</tool_response>"}, says("None there."))],
        {**read("openai", [BARI], "None there."), "roles": ["user", "assistant", "tool"]},
    ),
    # nulls of a table
    Kind(
        "arguments padded with nulls",
        "huggingface/datasets#7012",
        '{"town": "Bari", "radius": null, "to": null, "body": null}',
        "without what the schema has no place for",
        [chat(calls({"town": "Bari", "radius": None, "to": None, "body": None}))],
        read("openai", [BARI]),
    ),
    Kind(
        "nulls within a list and an object",
        "huggingface/datasets#7012",
        '{"stops": [{"town": "Bari", "note": null}]}',
        "cleaned by the schema of its parts",
        [
            {
                "messages": [ASK, calls({"stops": [{"town": "Bari", "note": None}], "town": None}, "plan")],
                "tools": [
                    {
                        "name": "plan",
                        "description": "Plan.",
                        "parameters": {
                            "type": "object",
                            "properties": {"stops": {"type": "array", "items": TOWN}},
                        },
                    }
                ],
            }
        ],
        read("openai", [["plan", {"stops": [{"town": "Bari"}]}]]),
    ),
    Kind(
        "a null that a schema asks for",
        "json-schema-org: type null",
        '"end": {"type": ["string", "null"]}',
        "kept",
        [
            {
                "messages": [ASK, calls({"end": None}, "plan")],
                "tools": [
                    {
                        "name": "plan",
                        "description": "Plan.",
                        "parameters": {"type": "object", "properties": {"end": {"type": ["string", "null"]}}},
                    }
                ],
            }
        ],
        read("openai", [["plan", {"end": None}]]),
    ),
    Kind(
        "a required null",
        "huggingface/datasets#7012",
        '{"town": null}',
        "left out: it misses its schema",
        [chat(calls({"town": None})), chat(says("Which town?"))],
        read("openai", "Which town?", off_schema=1),
    ),
    Kind(
        "schemas padded with nulls",
        "huggingface/datasets#7012",
        '"properties": {"town": {"type": "string", "enum": null}, "to": null}',
        "without them",
        [
            chat(
                calls('{"town": "Bari"}'),
                tools=[
                    {
                        "type": "function",
                        "function": {
                            "name": "find_depot",
                            "description": "Find.",
                            "parameters": {
                                "type": "object",
                                "properties": {"town": {"type": "string", "enum": None, "items": None}, "to": None},
                                "required": ["town"],
                                "additionalProperties": None,
                            },
                        },
                    }
                ],
            )
        ],
        read("openai", [BARI]),
    ),
    Kind(
        "a label that misses its schema",
        "Salesforce/xlam-function-calling-60k",
        '{"city": "Bari"} for town',
        "left out, and the file refused where it is more than a tenth",
        [chat(calls('{"city": "Bari"}')), chat(says("Which town?"))],
        read("openai", "Which town?", off_schema=1),
    ),
    Kind(
        "nothing but labels that miss their schema",
        "Salesforce/xlam-function-calling-60k",
        "every line",
        "an error with the first fault",
        [chat(calls('{"city": "Bari"}'))],
        refused(r"0 samples of 1 lines.*misses its tool's schema \(line 1\).*find_depot: missing_required:town"),
    ),
    # forms
    Kind(
        "messages and tools as JSON",
        "Agent-Ark/Toucan-1.5M Kimi-K2; huggingface/trl docs/source/dataset_formats.md",
        '{"messages": "[...]", "available_tools": "[...]"}',
        "toucan: parsed",
        [
            {
                "uuid": "u",
                "messages": json.dumps(
                    [
                        ASK,
                        says("", function_call={"name": "find_depot", "arguments": '{"town": "Bari"}'}),
                        {"role": "function", "name": "find_depot", "content": "[]"},
                        says("None."),
                    ]
                ),
                "available_tools": json.dumps(TOOLS),
                "target_tools": "find_depot",
            }
        ],
        {**read("toucan", [BARI], "None."), "roles": ["user", "assistant", "tool"]},
    ),
    Kind(
        "tool_call and tool_response roles",
        "Agent-Ark/Toucan-1.5M SFT; modelscope/ms-swift agent format",
        """{"role": "tool_call", "content": "{'name': ..., 'arguments': '{...}'}"}""",
        "one decision with the words before it",
        [
            {
                "messages": json.dumps(
                    [
                        ASK,
                        says("I look."),
                        {"role": "tool_call", "content": str({"name": "find_depot", "arguments": '{"town": "Bari"}'})},
                        {"role": "tool_call", "content": BODY},
                        {"role": "tool_response", "content": "[]"},
                        {"role": "tool_response", "content": "[1]"},
                        says("None."),
                    ]
                ),
                "tools": json.dumps(TOOLS),
                "target_tools": "find_depot",
            }
        ],
        {**read("toucan", [BARI, BARI], "None."), "roles": ["user", "assistant", "tool", "tool"]},
    ),
    Kind(
        "sharegpt",
        "hiyouga/LLaMA-Factory src/llamafactory/data/converter.py",
        '{"conversations": [{"from": "human", ...}, {"from": "function_call", ...}, {"from": "observation", ...}]}',
        "sharegpt",
        [
            turns(
                ("human", "A depot in Bari?"),
                ("function_call", BODY),
                ("observation", "[]"),
                ("gpt", "None there."),
                tools=json.dumps(FLAT),
            )
        ],
        {**read("sharegpt", [BARI], "None there."), "roles": ["user", "assistant", "tool"]},
    ),
    Kind(
        "sharegpt with several calls at once",
        "hiyouga/LLaMA-Factory data/README.md",
        '{"from": "function_call", "value": "[{...}, {...}]"}',
        "sharegpt",
        [turns(("human", "Bari, twice?"), ("function_call", f"[{BODY}, {BODY}]"), tools=json.dumps(FLAT))],
        read("sharegpt", [BARI, BARI]),
    ),
    Kind(
        "sharegpt's ranking",
        "hiyouga/LLaMA-Factory data/README.md (preference)",
        '{"conversations": [...], "chosen": {"from": ...}, "rejected": {...}}',
        "chosen is the label",
        [
            turns(("human", "Hm."), ("gpt", "Yes?"), ("human", "Bari?"), tools=json.dumps(FLAT), system="Be brief.")
            | {"chosen": {"from": "function_call", "value": BODY}, "rejected": {"from": "gpt", "value": "No."}}
        ],
        read("apigen_mt", [BARI]),
    ),
    Kind(
        "a broken function_call",
        "hiyouga/LLaMA-Factory#3231",
        '{"from": "function_call", "value": "{"}',
        "left out, counted",
        [
            turns(("human", "Bari?"), ("function_call", '{"name"'), tools=json.dumps(FLAT)),
            turns(("human", "Bari?"), ("gpt", "Where?"), tools=json.dumps(FLAT)),
        ],
        read("sharegpt", "Where?", unread_call=1),
    ),
    Kind(
        "apigen-mt",
        "Salesforce/APIGen-MT-5k",
        '{"system": "# policy", "tools": "[...]", "conversations": [...]}',
        "the policy stays a system message",
        [turns(("human", "Bari?"), ("function_call", BODY), system="Be brief.", tools=json.dumps(FLAT))],
        {**read("apigen_mt", [BARI]), "roles": ["system", "user"]},
    ),
    Kind(
        "hermes",
        "NousResearch/hermes-function-calling-v1",
        'tools in the system prompt in <tools>, from "gpt": <tool_call>, from "tool": <tool_response>',
        "the system message, a list of tools, is dropped",
        [
            turns(
                ("system", SYSTEM),
                ("human", "Bari?"),
                ("gpt", f"One moment.\n{HERMES}"),
                ("tool", "<tool_response>\n[]\n</tool_response>"),
                ("gpt", "None."),
            )
        ],
        {**read("hermes", [BARI], "None."), "roles": ["user", "assistant", "tool"]},
    ),
    Kind(
        "hermes with python's quotes",
        "NousResearch/hermes-function-calling-v1 func_calling_singleturn",
        "<tools> [{'type': 'function', ...}] </tools>",
        "hermes",
        [turns(("system", PYTHON), ("human", "Bari?"), ("gpt", HERMES.replace('"', "'")))],
        read("hermes", [BARI]),
    ),
    Kind(
        "glaive",
        "glaiveai/glaive-function-calling-v2",
        '{"system": "SYSTEM: ...", "chat": "USER: ... ASSISTANT: <functioncall> ... FUNCTION RESPONSE: ..."}',
        "glaive",
        [
            {
                "system": GLAIVE,
                "chat": f"USER: Tell Ann.\n\n\nASSISTANT: {QUOTED}\n\n\nFUNCTION RESPONSE: {{}}\n\n\n"
                "ASSISTANT: Told. <|endoftext|>\n\n\n",
            }
        ],
        {
            **read("glaive", [["send_note", {"to": "Ann", "body": "It's late"}]], "Told."),
            "roles": ["user", "assistant", "tool"],
        },
    ),
    Kind(
        "glaive without tools",
        "glaiveai/glaive-function-calling-v2",
        "with no access to external functions",
        "the system message stays",
        [{"system": "SYSTEM: You have no access to functions.", "chat": "USER: Hi\n\nASSISTANT: Hello. <|endoftext|>"}],
        {**read("glaive", "Hello."), "roles": ["system", "user"]},
    ),
    Kind(
        "glaive that calls what it does not list",
        "glaiveai/glaive-function-calling-v2",
        "SYSTEM: You have access to: {}",
        "refused",
        [{"system": "SYSTEM: You have access to: {}", "chat": f"USER: Hi\n\nASSISTANT: {QUOTED}"}],
        refused("it calls send_note, which is not offered"),
    ),
    Kind(
        "xlam",
        "Salesforce/xlam-function-calling-60k",
        '{"query": ..., "tools": "[{... flat parameters}]", "answers": "[{...}]"}',
        "xlam",
        [{"id": 0, "query": "Bari?", "tools": json.dumps(XLAM), "answers": f"[{BODY}]"}],
        read("xlam", [BARI]),
    ),
    Kind(
        "xlam with objects",
        "argilla/Synth-APIGen-v0.1",
        '{"query": ..., "tools": [...], "answers": [...]}',
        "xlam",
        [{"query": "Bari?", "tools": FLAT, "answers": [json.loads(BODY)] * 2}],
        read("xlam", [BARI, BARI]),
    ),
    Kind(
        "xlam without an answer",
        "MadeAgents/xlam-irrelevance-7.5k",
        '"answers": "[]"',
        "left out: it says and calls nothing",
        [
            {"query": "Sing.", "tools": json.dumps(XLAM), "answers": "[]"},
            {"query": "Bari?", "tools": json.dumps(XLAM), "answers": f"[{BODY}]"},
        ],
        read("xlam", [BARI], empty=1),
    ),
    Kind(
        "toolace",
        "Team-ACE/ToolACE",
        '{"system": "... [{...}]", "conversations": [{"from": "assistant", "value": "[Depot Search API(town=...)]"}]}',
        "names with spaces are read; the system message is dropped",
        [
            turns(
                ("user", "Bari?"),
                ("assistant", '[Depot Search API(town="Bari"), Depot Search API(town="Graz", radius=2)]'),
                ("tool", "[]"),
                ("assistant", "None."),
                system=ACE + json.dumps(SPACED),
            )
        ],
        {
            **read(
                "toolace",
                [["Depot Search API", {"town": "Bari"}], ["Depot Search API", {"town": "Graz", "radius": 2}]],
                "None.",
            ),
            "roles": ["user", "assistant", "tool"],
        },
    ),
    Kind(
        "toolbench",
        "OpenBMB/ToolBench preprocess/preprocess_toolllama_data.py",
        "Thought: ... Action: ... Action Input: {...}, APIs in the system prompt as Python prints them",
        "toolbench",
        [
            turns(
                ("system", AUTOGPT),
                ("user", "Bari?\nBegin!"),
                ("assistant", '\nThought: Look.\nAction: find_depot\nAction Input: {\n"town": "Bari"\n}'),
                ("function", "[]"),
                ("assistant", '\nThought: \nAction: find_depot\nAction Input: {\n  "town": "Graz"\n}'),
            )
        ],
        {**read("toolbench", [BARI], [["find_depot", {"town": "Graz"}]]), "roles": ["user", "assistant", "tool"]},
    ),
    Kind(
        "when2call, sft",
        "NVIDIA/When2Call data/train_sft",
        '{"tools": ["{...}"], "messages": [...]}',
        "tools as texts of JSON",
        [{"tools": [json.dumps(tool) for tool in FLAT], "messages": [ASK, says(f"<TOOLCALL>[{BODY}]</TOOLCALL>")]}],
        read("openai", [BARI]),
    ),
    Kind(
        "when2call, preference",
        "NVIDIA/When2Call data/train_pref",
        '{"messages": [...], "chosen_response": {...}, "rejected_response": {...}}',
        "chosen is the label",
        [
            {
                "tools": [json.dumps(tool) for tool in FLAT],
                "messages": [ASK],
                "chosen_response": says(f"<TOOLCALL>[{BODY}]</TOOLCALL>"),
                "rejected_response": says("No."),
            }
        ],
        read("when2call", [BARI]),
    ),
    Kind(
        "when2call, test",
        "NVIDIA/When2Call evaluation/mcq",
        '{"question": ..., "correct_answer": "tool_call", "answers": {...}}',
        "the right answer is the label",
        [
            {"question": f"Bari {right}?", "tools": [json.dumps(FLAT[0])], "correct_answer": right, "answers": MCQ}
            for right in MCQ
        ],
        read("when2call", [BARI], "Which town?", "I cannot.", "In Bari."),
    ),
    Kind(
        "langchain",
        "langchain-ai/langchain libs/core/langchain_core/messages/utils.py",
        '{"type": "ai", "tool_calls": [{"name": ..., "args": {...}}]}',
        "langchain",
        [
            {
                "messages": [
                    {"type": "human", "content": "Bari?"},
                    {"type": "ai", "content": "", "tool_calls": [{"name": BARI[0], "args": BARI[1], "id": "x"}]},
                    {"type": "tool", "content": "[]", "tool_call_id": "x"},
                    {"type": "ai", "content": "None."},
                ],
                "tools": TOOLS,
            }
        ],
        {**read("langchain", [BARI], "None."), "roles": ["user", "assistant", "tool"]},
    ),
    Kind(
        "langchain, packed",
        "langchain-ai/langchain messages_to_dict",
        '{"type": "ai", "data": {"additional_kwargs": {"tool_calls": [...]}}}',
        "langchain",
        [
            {
                "messages": [
                    {"type": "human", "data": {"content": "Bari?", "type": "human"}},
                    {"type": "ai", "data": {"content": "", "additional_kwargs": calls('{"town": "Bari"}')}},
                ],
                "tools": TOOLS,
            }
        ],
        read("langchain", [BARI]),
    ),
    Kind(
        "langchain, serialised",
        "langchain-ai/langchain langchain_core/load/dump.py",
        '{"lc": 1, "type": "constructor", "id": [..., "HumanMessage"], "kwargs": {...}}',
        "langchain",
        [
            {
                "messages": [
                    {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": "Hm?"}},
                    {"lc": 1, "type": "constructor", "id": ["langchain", "AIMessage"], "kwargs": {"content": "Yes."}},
                ],
                "tools": TOOLS,
            }
        ],
        read("langchain", "Yes."),
    ),
    Kind(
        "langchain's invalid calls",
        "langchain-ai/langchain InvalidToolCall",
        '{"type": "ai", "content": "Hm.", "invalid_tool_calls": [...]}',
        "left out: never a label that refuses to call",
        [
            {
                "messages": [
                    {"type": "human", "content": "Bari?"},
                    {"type": "ai", "content": "Hm.", "tool_calls": [], "invalid_tool_calls": [{"name": "find_depot"}]},
                    {"type": "human", "content": "And?"},
                    {"type": "ai", "content": "None."},
                ],
                "tools": TOOLS,
            }
        ],
        read("langchain", "None.", unread_call=1),
    ),
    Kind(
        "prompt and completion",
        "huggingface/trl docs/source/dataset_formats.md",
        '{"prompt": [...], "completion": [...], "tools": [...]}',
        "trl: the completion alone is the label",
        [{"prompt": [ASK, says("Where?"), ASK], "completion": [calls({"town": "Bari"})], "tools": json.dumps(TOOLS)}],
        read("trl", [BARI]),
    ),
    Kind(
        "prompt and completion as text",
        "huggingface/trl docs/source/dataset_formats.md",
        '{"prompt": "...", "completion": "..."}',
        "trl",
        [{"prompt": "Bari?", "completion": "Where is it?"}],
        read("trl", "Where is it?"),
    ),
    Kind(
        "preference",
        "huggingface/trl docs/source/dataset_formats.md",
        '{"prompt": [...], "chosen": [...], "rejected": [...]}',
        "chosen is the label",
        [{"prompt": [ASK], "chosen": [calls({"town": "Bari"})], "rejected": [says("No.")], "tools": TOOLS}],
        read("trl", [BARI]),
    ),
    Kind(
        "preference, the prompt within",
        "huggingface/trl extract_prompt; argilla-io/distilabel FormatChatGenerationDPO",
        '{"prompt": "...", "chosen": [user, assistant], "rejected": [user, assistant]}',
        "what both begin with is no label",
        [
            {
                "prompt": "A depot in Bari?",
                "chosen": [ASK, says("Where?"), ASK, calls({"town": "Bari"})],
                "rejected": [ASK, says("Where?"), ASK, says("No.")],
                "tools": TOOLS,
            }
        ],
        read("trl", [BARI]),
    ),
    Kind(
        "kto, liked",
        "huggingface/trl KTO",
        '{"prompt": [...], "completion": [...], "label": true}',
        "the completion is the label",
        [{"prompt": [ASK], "completion": [says("Where?")], "label": True}],
        read("trl", "Where?"),
    ),
    Kind(
        "kto, disliked",
        "huggingface/trl KTO",
        '"label": false',
        "left out, counted: nobody should learn it",
        [
            {"prompt": [ASK], "completion": [says("Go away.")], "label": False},
            {"prompt": [ASK], "completion": [says("Where?")], "label": True},
        ],
        read("trl", "Where?", undesired=1),
    ),
    Kind(
        "kto, disliked by a number",
        "huggingface/trl KTO",
        '{"prompt": "...", "completion": "...", "label": 0}',
        "left out, counted",
        [{"prompt": "Hi", "completion": "Go away.", "label": 0}, {"prompt": "Hi", "completion": "Hello.", "label": 1}],
        read("trl", "Hello.", undesired=1),
    ),
    Kind(
        "openai's preferences",
        "developers.openai.com/api/docs/guides/direct-preference-optimization",
        '{"input": {"messages": [...], "tools": [...]}, "preferred_output": [...], "non_preferred_output": [...]}',
        "openai: the preferred output is the label",
        [
            {
                "input": {"messages": [ASK, says("Where?"), ASK], "tools": TOOLS, "parallel_tool_calls": True},
                "preferred_output": [calls('{"town": "Bari"}')],
                "non_preferred_output": [says("No.")],
            }
        ],
        read("openai", [BARI]),
    ),
    Kind(
        "input and output",
        "argilla-io/distilabel",
        '{"input": [...], "output": [...]}',
        "distilabel",
        [{"input": [ASK], "output": [calls({"town": "Bari"})], "tools": TOOLS}],
        read("distilabel", [BARI]),
    ),
    Kind(
        "instruction and generation",
        "argilla-io/distilabel TextGeneration",
        '{"instruction": "...", "generation": "..."}',
        "distilabel",
        [{"instruction": "Bari?", "generation": "Where?", "model_name": "m"}],
        read("distilabel", "Where?"),
    ),
    Kind(
        "instruction, input and output",
        "tatsu-lab/stanford_alpaca",
        '{"instruction": "...", "input": "...", "output": "..."}',
        "distilabel: both are the request",
        [{"instruction": "Which town?", "input": "The depot in Bari.", "output": "Bari."}],
        read("distilabel", "Bari."),
    ),
    Kind(
        "sloop's own",
        "sloop gen",
        '{"tools": [...], "messages": [...], "label": {"calls": [...]}}',
        "samples",
        [{"tools": TOOLS, "messages": [ASK], "label": {"calls": [{"name": BARI[0], "arguments": BARI[1]}]}, "turn": 3}],
        read("sloop", [BARI]),
    ),
    Kind(
        "an unknown form",
        "any",
        '{"dialog": [...]}',
        "an error with the keys, and the forms",
        [{"dialog": [ASK], "speaker": "x"}],
        refused(r"line 1: a row with the keys dialog, speaker is of no known form; a dialogue has messages, .*samples"),
    ),
    Kind(
        "a misspelt form",
        "any",
        '{"conversation_s": ..., "tool": ...}',
        "an error with the nearest form",
        [{"querry": "Bari?", "answer": "[]", "tools": "[]"}],
        refused(r"Nearest is the form xlam: \{\"query\""),
    ),
    # what the lines tell
    Kind(
        "a key label of another kind",
        "huggingface/trl KTO",
        '{"messages": [...], "label": true}',
        "openai",
        [chat(calls('{"town": "Bari"}'), label=True)],
        read("openai", [BARI]),
    ),
    Kind(
        "a key label that is a number",
        "any classifier's column",
        '{"messages": [...], "label": 1}',
        "openai",
        [chat(calls('{"town": "Bari"}'), label=1)],
        read("openai", [BARI]),
    ),
    Kind(
        "a key turn",
        "any row index",
        '{"messages": [...], "turn": 3}',
        "openai",
        [chat(calls('{"town": "Bari"}'), turn=3)],
        read("openai", [BARI]),
    ),
    Kind(
        "a key source and a group",
        "any provenance",
        '{"messages": [...], "source": "seed", "group": "g"}',
        "openai",
        [chat(calls('{"town": "Bari"}'), source="seed", group="g", copies=2)],
        read("openai", [BARI]),
    ),
    Kind(
        "ends with a user",
        "openai/openai-cookbook examples/Chat_finetuning_data_prep.ipynb",
        "[..., assistant, tool, user]",
        "openai",
        [chat(calls('{"town": "Bari"}'), {"role": "tool", "tool_call_id": "a", "content": "[]"}, ASK)],
        read("openai", [BARI]),
    ),
    Kind(
        "ends with a tool",
        "openai/openai-cookbook examples/Chat_finetuning_data_prep.ipynb",
        "[..., assistant, tool]",
        "openai",
        [chat(calls('{"town": "Bari"}'), {"role": "tool", "tool_call_id": "a", "content": "[]"})],
        read("openai", [BARI]),
    ),
    Kind(
        "a first line without an answer",
        "any export",
        "[user], then [user, assistant]",
        "openai",
        [chat(), chat(says("Where?"))],
        read("openai", "Where?", no_decision=1),
    ),
    Kind(
        "a message taken out of training",
        "axolotl-ai-cloud/axolotl train_on_eot; modelscope/ms-swift loss",
        '{"role": "assistant", "train": false}',
        "no label",
        [chat(says("Hm.", train=False), ASK, says("Well.", loss=False), ASK, says("Where?", loss=True))],
        read("openai", "Where?", weight_0=2),
    ),
    # JSON within JSON
    Kind(
        "tools as JSON",
        "huggingface/trl docs/source/dataset_formats.md",
        '"tools": "[{...}]"',
        "parsed",
        [chat(calls('{"town": "Bari"}'), tools=json.dumps(TOOLS))],
        read("openai", [BARI]),
    ),
    Kind(
        "flat calls",
        "huggingface/trl docs/source/dataset_formats.md",
        '"tool_calls": [{"name": ..., "arguments": {...}}]',
        "calls",
        [chat(says(tool_calls=[{"name": "find_depot", "arguments": {"town": "Bari"}}]))],
        read("openai", [BARI]),
    ),
    Kind(
        "tool_calls as JSON",
        "axolotl-ai-cloud/axolotl#3238",
        '"tool_calls": "[{...}]"',
        "calls",
        [chat(says(tool_calls=json.dumps([json.loads(BODY)])))],
        read("openai", [BARI]),
    ),
    Kind(
        "parameters as JSON",
        "axolotl-ai-cloud/axolotl#3238",
        '"parameters": "{...}"',
        "parsed",
        [chat(calls('{"town": "Bari"}'), tools=[{**tool, "parameters": json.dumps(TOWN)} for tool in FLAT[:1]])],
        read("openai", [BARI]),
    ),
    Kind(
        "tools as Python prints them",
        "NousResearch/hermes-function-calling-v1",
        '"tools": "[{\'name\': ...}]"',
        "parsed",
        [chat(calls('{"town": "Bari"}'), tools=str(FLAT))],
        read("openai", [BARI]),
    ),
    Kind(
        "empty tools as JSON",
        "huggingface/trl docs/source/dataset_formats.md",
        '"tools": ""',
        "none on offer",
        [{"messages": [ASK, says("Where?")], "tools": ""}],
        read("openai", "Where?"),
    ),
    # records in a system message that are no tools
    *(
        Kind(
            name,
            "any shop's assistant",
            system,
            "a system message as any other",
            [{"messages": [{"role": "system", "content": system}, ASK, says("Which town?")]}],
            {**read("openai", "Which town?"), "roles": ["system", "user"]},
        )
        for name, system in (
            ("records of goods", 'Products: [{"name": "Lamp", "description": "a lamp", "price": 5}]'),
            ("a record of a customer", 'The customer is {"name": "Bob", "description": "VIP"}'),
            ("an example of a call", 'Answer such as {"name": "find_depot", "arguments": {"town": "Bari"}}'),
            ("an example of llama's call", 'Answer such as {"name": "find_depot", "parameters": {"town": "Bari"}}'),
        )
    ),
    Kind(
        "an example behind the tools",
        "NousResearch/Hermes-Function-Calling",
        '<tools> ... </tools> such as {"name": "sing", "arguments": {"song": "Hey"}}',
        "no tool",
        [
            turns(
                ("system", SYSTEM + ' Such as {"name": "sing", "arguments": {"song": "Hey"}}'),
                ("human", "Bari?"),
                ("gpt", HERMES.replace("find_depot", "sing")),
                ("human", "Bari?"),
                ("gpt", HERMES),
            )
        ],
        read("hermes", [BARI], not_offered=1),
    ),
    # calls in notations of no format
    *(
        text(f"a plain call: {content[:30]!r}", content, "zai-org/ChatGLM3#138", [BARI])
        for content in (
            "find_depot(town='Bari')",
            'find_depot({"town": "Bari"})',
            "```python\nfind_depot(town='Bari')\n```",
            "Thought: Look.\nfind_depot(town='Bari')",
            '{"name": "find_depot", "input": {"town": "Bari"}}',
            '{"find_depot": {"town": "Bari"}}',
            '{"tool_name": "find_depot", "tool_arguments": {"town": "Bari"}}',
            '{"action": "find_depot", "action_input": {"town": "Bari"}}',
            '<tool_code>find_depot(town="Bari")</tool_code>',
            '<execute>find_depot(town="Bari")</execute>',
            '<api_call>find_depot(town="Bari")</api_call>',
        )
    ),
    text(
        "plain calls, a line each",
        "find_depot(town='Bari')\nfind_depot(town='Graz')",
        "zai-org/ChatGLM3#138",
        [BARI, ["find_depot", {"town": "Graz"}]],
    ),
    *(
        text(f"an unread call: {content[:30]!r}", content, "exo-explore/exo#1900", unread_call=1)
        for content in (
            "find_depot('Bari')",
            "find_depot(town=",
            "I look.\nfind_depot(town='Bari')",
            'print(find_depot(town="Bari"))',
            "Action: find_depot[Bari]",
            "<find_depot><town>Bari</town></find_depot>",
            'Tool: find_depot, Args: {"town": "Bari"}',
            '{"name": "find_depot", "input": {"town"',
        )
    ),
    *(
        text(f"a tool's name among words: {content[:30]!r}", content, "BFCL irrelevance", content)
        for content in (
            "You could call find_depot(town='Bari') there.",
            'The tool is called "find_depot".',
            "I have these tools: find_depot, send_note.",
            "1. find_depot: finds a depot (of a town)",
            '{"town": "Bari", "found_by": ["find_depot"]}',
        )
    ),
    # one decision in two messages
    Kind(
        "words, then a call",
        "QwenLM/Qwen-Agent#679",
        '[{"role": "assistant", "content": "I look."}, {"role": "assistant", "tool_calls": [...]}]',
        "one decision",
        [chat(says("I look."), calls('{"town": "Bari"}'))],
        read("openai", [BARI]),
    ),
    Kind(
        "words, then a call in text",
        "QwenLM/Qwen-Agent#679",
        "two messages of an assistant, of which the second holds <tool_call>",
        "one decision",
        [chat(says("I look."), says(HERMES))],
        read("openai", [BARI]),
    ),
    Kind(
        "words, then a broken call",
        "QwenLM/Qwen-Agent#679",
        "two messages of an assistant, of which the second cannot be read",
        "left out: never a refusal",
        [chat(says("I look."), says(HERMES[:40])), chat(says("Which town?"))],
        read("openai", "Which town?", unread_call=1),
    ),
    # other keys beside a dialogue
    *(
        Kind(
            f"a spare key {key}",
            "any column of a table",
            json.dumps({"messages": ["..."], **extra}),
            "the form of its messages",
            [chat(calls('{"town": "Bari"}'), **extra)],
            read("openai", [BARI]),
        )
        for key, extra in (
            ("output", {"output": "x"}),
            ("chosen", {"chosen": "yes"}),
            ("generation that is null", {"generation": None}),
            ("chat", {"chat": "id-5"}),
            ("answers beside query", {"query": "x", "answers": "y"}),
            ("chosen_response that is null", {"chosen_response": None}),
        )
    ),
    Kind(
        "a system prompt beside messages",
        "docs.claude.com/en/api/messages",
        '{"system": "Be brief.", "messages": [...]}',
        "a system message",
        [chat(calls('{"town": "Bari"}'), system="Be brief.")],
        {**read("openai", [BARI]), "roles": ["system", "user"]},
    ),
    Kind(
        "a system prompt beside a preference",
        "jondurbin/bagel bagel/data_sources/orca_dpo_pairs.py",
        '{"system": "Be brief.", "prompt": ..., "chosen": ..., "rejected": ...}',
        "a system message",
        [{"system": "Be brief.", "prompt": "Bari?", "chosen": "Where?", "rejected": "No."}],
        {**read("trl", "Where?"), "roles": ["system", "user"]},
    ),
    # what Arrow makes of calls
    *(
        Kind(
            name,
            "huggingface/datasets#7012",
            json.dumps(extra),
            "no call",
            [chat(says("Which town?", **extra))],
            read("openai", "Which town?"),
        )
        for name, extra in (
            ("a padded function_call", {"function_call": {"name": None, "arguments": None}}),
            ("a null among tool_calls", {"tool_calls": [None]}),
            ("a padded tool call", {"tool_calls": [{"id": None, "type": None, "function": None}]}),
            ("a call padded inside", {"tool_calls": [{"id": None, "function": {"name": None, "arguments": None}}]}),
        )
    ),
    Kind(
        "a flat call with a null function",
        "huggingface/datasets#7012",
        '{"function": null, "name": ..., "arguments": {...}}',
        "a call",
        [chat(says(tool_calls=[{"function": None, "name": "find_depot", "arguments": {"town": "Bari"}}]))],
        read("openai", [BARI]),
    ),
    Kind(
        "nulls under a branch that may be null",
        "huggingface/datasets#7012",
        '{"at": {"town": "Bari", "radius": null}}, "at": {"anyOf": [{...}, {"type": "null"}]}',
        "cleaned by the other branch",
        [
            {
                "messages": [ASK, calls({"at": {"town": "Bari", "radius": None}}, "plan")],
                "tools": [
                    {
                        "name": "plan",
                        "description": "Plan.",
                        "parameters": {
                            "type": "object",
                            "properties": {"at": {"anyOf": [TOWN, {"type": "null"}], "description": "Where."}},
                        },
                    }
                ],
            }
        ],
        read("openai", [["plan", {"at": {"town": "Bari"}}]]),
    ),
]
