"""The formats: one row each, and what of a text can be nothing but a call in one of them."""

from __future__ import annotations

import re

from sloop.calls.formats.bare import GLM4, JSON, LLAMA3, REACT, read_glm4, read_json, read_llama3, read_react
from sloop.calls.formats.base import Format, Reader
from sloop.calls.formats.gemma import read_functiongemma, read_gemma4
from sloop.calls.formats.marked import (
    read_apertus,
    read_cohere,
    read_command_r,
    read_deepseek_v3,
    read_deepseek_v31,
    read_function_call,
    read_granite,
    read_harmony,
    read_hermes,
    read_internlm2,
    read_kimi,
    read_llama3_custom,
    read_mistral,
    read_nemotron,
    read_phi4,
    read_tool_calls_tag,
)
from sloop.calls.formats.markup import (
    read_claude,
    read_deepseek_v32,
    read_glm,
    read_minimax_m2,
    read_qwen3_coder,
    read_seed_oss,
)
from sloop.calls.formats.python import (
    PYTHONIC,
    SMOLLM3,
    read_gemma3,
    read_lfm2,
    read_olmo3,
    read_pythonic,
    read_smollm3,
)


def _marked(
    name: str,
    looks: str,
    models: str,
    read: Reader,
    *openings: str,
    closing: str = "",
    mark: str = "",
    template: str = "",
) -> Format:
    """A row of a format whose calls begin with one of some marks, as its templates do."""
    found = mark or "|".join(map(re.escape, openings))
    return Format(name, looks, models, read, re.compile(found), openings, closing, template or found)


ROWS: tuple[Format, ...] = (
    # Where two templates hold the same mark, the row that asks for more of it stands first.
    _marked(
        "qwen3_coder", "<function=f><parameter=x>1</parameter></function>, in <tool_call> or not",
        "Qwen3-Coder, Qwen 3.5, Nemotron 3, Step 3.5", read_qwen3_coder, "<tool_call>", "<function=", "<parameter=",
        mark=r"(?:<tool_call>\s*+)?<function=[\w.-]++>\s*+<(?:parameter=|/function>)|<parameter=[\w.-]++>",
        closing="</function></tool_call>", template=r"<tool_call>[\s\S]*<parameter=",
    ),
    _marked(
        "seed_oss", "<seed:tool_call> and what Qwen3-Coder writes", "Seed-OSS", read_seed_oss,
        "<seed:tool_call>", "<function=", mark="<seed:tool_call>", closing="</function></seed:tool_call>",
    ),
    _marked(
        "glm", "<tool_call>f, <arg_key>x</arg_key><arg_value>1</arg_value>", "GLM 4.5 to 4.7", read_glm, "<tool_call>",
        mark=r"<tool_call>\s*+[\w.-]++\s*+<(?:arg_key>|/tool_call>)", closing="</tool_call>", template="<arg_key>",
    ),
    _marked(
        "deepseek_v3", "<｜tool▁calls▁begin｜>...function<｜tool▁sep｜>f and fenced JSON", "DeepSeek V3, R1",
        read_deepseek_v3, "<｜tool▁calls▁begin｜>", mark=r"<｜tool▁call▁begin｜>\s*+function<｜tool▁sep｜>",
        closing="<｜tool▁calls▁end｜>", template=r"<｜tool▁sep｜>[\s\S]*```json",
    ),
    _marked(
        "deepseek_v31", "<｜tool▁calls▁begin｜>...f<｜tool▁sep｜>{...}", "DeepSeek V3.1", read_deepseek_v31,
        "<｜tool▁calls▁begin｜>", closing="<｜tool▁calls▁end｜>",
    ),
    _marked(
        "deepseek_v32", '<｜DSML｜function_calls><｜DSML｜invoke name="f">...', "DeepSeek V3.2, V4", read_deepseek_v32,
        "<｜DSML｜", closing="</｜DSML｜function_calls>",
    ),
    _marked(
        "kimi_k2", "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0...", "Kimi K2", read_kimi,
        "<|tool_calls_section_begin|>", closing="<|tool_calls_section_end|>",
    ),
    _marked(
        "harmony", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{...}<|call|>", "gpt-oss",
        read_harmony, "<|channel|>", "<|start|>", "to=functions.",
        mark=r"<\|(?:channel|start)\|>[^<]*?\bto=|\bto=functions\.", template=r"<\|channel\|>",
    ),
    _marked(
        "minimax_m2", '<minimax:tool_call><invoke name="f"><parameter name="x">1</parameter>...', "MiniMax M2",
        read_minimax_m2, "<minimax:tool_call>", closing="</invoke></minimax:tool_call>",
    ),
    _marked(
        "claude", '<function_calls><invoke name="f"><parameter name="x">1</parameter>...', "Claude's XML",
        read_claude, "<function_calls>", "<invoke name=", mark=r"<function_calls>\s*+<invoke|<invoke name=",
        closing="</invoke></function_calls>",
    ),
    _marked(
        "olmo3", "<function_calls>f(x=1)</function_calls>, a call a line", "OLMo 3", read_olmo3, "<function_calls>",
        mark=r"<function_calls>\s*+[\w\[]", closing="</function_calls>", template="<function_calls>",
    ),
    _marked(
        "lfm2", "<|tool_call_start|>[f(x=1)]<|tool_call_end|>", "LFM2", read_lfm2, "<|tool_call_start|>",
        closing="<|tool_call_end|>", template=r"<\|tool_(?:call|list)_start\|>",
    ),
    _marked(
        "gemma4", '<|tool_call>call:f{x:<|"|>a<|"|>}<tool_call|>', "Gemma 4", read_gemma4, "<|tool_call>", "call:",
        mark=r"<\|tool_call>|\A\s*+call:[\w.]++\{", closing="<tool_call|>", template=r"<\|tool_call>",
    ),
    _marked(
        "functiongemma", "<start_function_call>call:f{x:<escape>a<escape>}<end_function_call>", "FunctionGemma",
        read_functiongemma, "<start_function_call>", "<start_function_response>", mark="<start_function_call>",
        closing="<end_function_call>",
    ),
    _marked("gemma3", "a fence tool_code with f(x=1)", "Gemma 2 and 3", read_gemma3, "```tool_code", closing="\n```"),
    _marked(
        "cohere", '<|START_ACTION|>[{"tool_name": "f", "parameters": {}}]<|END_ACTION|>', "Command R7B, A", read_cohere,
        "<|START_ACTION|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>", mark=r"<\|START_ACTION\|>",
        closing="<|END_ACTION|>",
    ),
    _marked(
        "command_r", 'Action: and a fence [{"tool_name": "f", "parameters": {}}]', "Command R, R+", read_command_r,
        "Action:", mark=r"Action:\s*+```json\s", closing="```", template=r"Action:\s*(?:```|\\n)?```json",
    ),
    _marked(
        "internlm2", '<|action_start|><|plugin|>{"name": "f", "parameters": {}}<|action_end|>', "InternLM2, Intern-S1",
        read_internlm2, "<|action_start|>", closing="<|action_end|>", template=r"<\|plugin\|>",
    ),
    _marked(
        "apertus", '<|tools_prefix|>[{"f": {"x": 1}}]<|tools_suffix|>', "Apertus", read_apertus, "<|tools_prefix|>",
        closing="<|tools_suffix|>",
    ),
    _marked(
        "nemotron", '<TOOLCALL>[{"name": "f", "arguments": {}}]</TOOLCALL>', "Nemotron Nano and Super", read_nemotron,
        "<TOOLCALL>", closing="</TOOLCALL>",
    ),
    _marked(
        "jamba", '<tool_calls>[{"name": "f", "arguments": {}}]</tool_calls>', "Jamba, Hunyuan A13B, MiniMax M1",
        read_tool_calls_tag, "<tool_calls>", mark=r"<tool_calls>\s*+[\[{]", closing="</tool_calls>",
        template="<tool_calls>",
    ),
    _marked(
        "phi4", 'functools[{"name": "f", "arguments": {}}], <|tool_call|>[...]<|/tool_call|>', "Phi-4 mini", read_phi4,
        "functools", "<|tool_call|>", mark=r"functools\s*+\[|<\|tool_call\|>", template=r"functools|<\|tool\|>",
    ),
    _marked(
        "granite", '<|tool_call|>[{"name": "f", "arguments": {}}]', "Granite 3", read_granite, "<|tool_call|>",
        "<tool_call>", mark=r"<\|tool_call\|>|<tool_call>\s*+\[", template=r"<\|tool_call\|>",
    ),
    _marked(
        "function_call", '<function_call> {"name": "f", "arguments": {}}', "Granite 20B FC, Glaive's data",
        read_function_call, "<function_call>", "<functioncall>", mark=r"<function_?call>\s*+\{",
    ),
    _marked(
        "mistral", '[TOOL_CALLS][{"name": "f", "arguments": {}}] or [TOOL_CALLS]f[ARGS]{}',
        "Mistral, Mixtral, Ministral, Magistral", read_mistral, "[TOOL_CALLS]",
    ),
    _marked(
        "llama3_custom", "<function=f>{...}</function>", "Llama 3.1 told so, functionary", read_llama3_custom,
        "<function=", mark=r"<function=[\w.-]++>", closing="</function>", template="<function=",
    ),
    Format(
        "llama3", '{"name": "f", "parameters": {}}, <|python_tag|>...', "Llama 3.1 to 3.3", read_llama3, LLAMA3,
        ("<|python_tag|>", "{", "["), "", r'<\|python_tag\|>|\{"name": function name, "parameters":', certain=False),
    _marked(
        "hermes", '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
        "Hermes 2 and 3, Qwen 2.5 and 3, Granite 4, SmolLM3, ours", read_hermes, "<tool_call>", closing="</tool_call>",
    ),
    _marked(
        "smollm3", "<code>f(x=1)</code>", "SmolLM3 with Python tools", read_smollm3, "<code>", mark=SMOLLM3.pattern,
        closing="</code>", template="<code>",
    ),
    Format(
        "pythonic", "[f(x=1), g(y='a')]", "Llama 3.2 and 4, ToolACE, BFCL's prompts", read_pythonic, PYTHONIC,
        ("<|python_start|>", "["), "", r"<\|python_start\|>|\[func_name1\(|\[func1\(", certain=False),
    Format("react", "Action: f, Action Input: {...}", "any told to (Qwen-Agent, LangChain)", read_react, REACT,
           ("Action",), "", "Action Input:", certain=False),
    Format("glm4", "f and {...} behind it", "GLM 4, ERNIE", read_glm4, GLM4, ("",), "", "", certain=False),
    Format("json", "a bare or fenced object or list, arguments or parameters", "xLAM, any told to answer in JSON",
           read_json, JSON, ("{", "[", "```"), "", r'"tool_call_name", "arguments"', certain=False),
)  # fmt: skip
FORMATS: dict[str, Format] = {row.name: row for row in ROWS}
"""Each format, by the name that a checkpoint records."""
