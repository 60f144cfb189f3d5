"""Calls as models write them into their text, and texts that are none: what each reads as."""
# ruff: noqa: E501 - a row a line

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from kinds import Kind
from sloop.calls.formats.table import ROWS

TITLE = "Calls in text"
_FORMATS = [
    "| format | a call | models |",
    "| --- | --- | --- |",
    *(
        "| "
        + " | ".join(cell.replace("<", "&lt;").replace("|", "\\|") for cell in (row.name, row.looks, row.models))
        + " |"
        for row in ROWS
    ),
]
ABOUT = (
    "The format is the one that was chosen (`student.answer_format`); `served` is a server that handed over no calls. A "
    "format error is an attempted call: never words, and never a refusal to call. Beside it, what a lenient reader "
    "would have read is counted apart. The formats:\n\n" + "\n".join(_FORMATS) + "\n\nWhat is read as what:"
)

VLLM, SGLANG = "vllm-project/vllm vllm/tool_parsers", "sgl-project/sglang srt/function_call"
Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Text:
    """A text and how it is asked about."""

    format: str
    text: str
    thinking: bool = False
    offered: tuple[str, ...] = ()
    """Names of tools, each with a `town` and a number `x`."""


@dataclass(frozen=True)
class Said:
    """What must be read."""

    calls: tuple[Call, ...] = ()
    content: str = ""
    error: bool = False
    recovered: tuple[Call, ...] = ()


BARI: Call = ("find_depot", {"town": "Bari"})
F: Call = ("f", {})
G: Call = ("g", {})
X: Call = ("f", {"x": 1})

DIALECTS: dict[str, tuple[str, str, str]] = {
    "DeepSeek V3": ("deepseek_v3", '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>find_depot\n```json\n{"town":"Bari"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>', f"{VLLM}/deepseekv3_tool_parser.py"),
    "DeepSeek V3.1": ("deepseek_v31", '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>find_depot<｜tool▁sep｜>{"town":"Bari"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>', f"{SGLANG}/deepseekv31_detector.py"),
    "DeepSeek V3.2": ("deepseek_v32", '<｜DSML｜function_calls>\n<｜DSML｜invoke name="find_depot">\n<｜DSML｜parameter name="town" string="true">Bari</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>', f"{SGLANG}/deepseekv32_detector.py"),
    "Qwen3-Coder": ("qwen3_coder", "<tool_call>\n<function=find_depot>\n<parameter=town>\nBari\n</parameter>\n</function>\n</tool_call>", "vllm-project/vllm vllm/parser/qwen3.py"),
    "Qwen3-Coder without its block": ("qwen3_coder", "<function=find_depot>\n<parameter=town>\nBari\n</parameter>\n</function>", "vllm-project/vllm vllm/parser/qwen3.py"),
    "Llama 3 custom": ("llama3_custom", '<function=find_depot>{"town": "Bari"}</function>', "meta-llama/llama-models models/llama3/tool_utils.py"),
    "gpt-oss harmony": ("harmony", '<|channel|>commentary to=functions.find_depot <|constrain|>json<|message|>{"town":"Bari"}<|call|>', "openai/harmony docs/format.md"),
    "gpt-oss harmony from the turn's start": ("harmony", '<|start|>assistant<|channel|>commentary to=functions.find_depot <|constrain|>json<|message|>{"town":"Bari"}<|call|>', f"{SGLANG}/gpt_oss_detector.py"),
    "Kimi K2": ("kimi_k2", '<|tool_calls_section_begin|><|tool_call_begin|>functions.find_depot:0<|tool_call_argument_begin|>{"town":"Bari"}<|tool_call_end|><|tool_calls_section_end|>', f"{SGLANG}/kimik2_detector.py"),
    "MiniMax M2": ("minimax_m2", '<minimax:tool_call>\n<invoke name="find_depot">\n<parameter name="town">Bari</parameter>\n</invoke>\n</minimax:tool_call>', f"{SGLANG}/minimax_m2.py"),
    "Claude's XML": ("claude", '<function_calls>\n<invoke name="find_depot">\n<parameter name="town">Bari</parameter>\n</invoke>\n</function_calls>', "George-RD/ai_knowledge tool-use.md"),
    "Claude's XML of anthropic-tools": ("claude", "<function_calls>\n<invoke>\n<tool_name>find_depot</tool_name>\n<parameters>\n<town>Bari</town>\n</parameters>\n</invoke>\n</function_calls>", "anthropics/anthropic-tools tool_use_package/tool_user.py"),
    "Granite 3.0": ("granite", '<|tool_call|>[{"name": "find_depot", "arguments": {"town": "Bari"}}]', "vllm-project/vllm vllm/parser/granite.py"),
    "Granite 3.1": ("granite", '<tool_call>[{"name": "find_depot", "arguments": {"town": "Bari"}}]', "vllm-project/vllm vllm/parser/granite.py"),
    "Phi-4 mini": ("phi4", 'functools[{"name": "find_depot", "arguments": {"town": "Bari"}}]', f"{VLLM}/phi4mini_tool_parser.py"),
    "Phi-4 mini with its token": ("phi4", '<|tool_call|>[{"type":"function","function":{"name":"find_depot","arguments":{"town":"Bari"}}}]<|/tool_call|>', f"{VLLM}/phi4mini_tool_parser.py"),
    "Gemma 3": ("gemma3", '```tool_code\nfind_depot(town="Bari")\n```', "ai.google.dev/gemma/docs/meme-generator"),
    "Gemma 3 in JSON": ("gemma3", '```tool_code\n{"name": "find_depot", "parameters": {"town": "Bari"}}\n```', "google/adk-python src/google/adk/models/gemma_llm.py"),
    "Gemma 4": ("gemma4", '<|tool_call>call:find_depot{town:<|"|>Bari<|"|>}<tool_call|>', f"{SGLANG}/gemma4_detector.py"),
    "FunctionGemma": ("functiongemma", "<start_function_call>call:find_depot{town:<escape>Bari<escape>}<end_function_call>", f"{VLLM}/functiongemma_tool_parser.py"),
    "InternLM2": ("internlm2", '<|action_start|><|plugin|>\n{"name": "find_depot", "parameters": {"town": "Bari"}}<|action_end|>', f"{VLLM}/internlm2_tool_parser.py"),
    "Command R": ("command_r", 'Action: ```json\n[{"tool_name": "find_depot", "parameters": {"town": "Bari"}}]\n```', "CohereForAI/c4ai-command-r-v01 tokenizer_config.json"),
    "Command R7B": ("cohere", '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "find_depot", "parameters": {"town": "Bari"}}]<|END_ACTION|>', f"{SGLANG}/cohere_command4_detector.py"),
    "xLAM": ("json", '[{"name": "find_depot", "arguments": {"town": "Bari"}}]', f"{VLLM}/xlam_tool_parser.py"),
    "OpenAI's list in text": ("json", '{"tool_calls": [{"name": "find_depot", "arguments": {"town": "Bari"}}]}', "ggml-org/llama.cpp common/chat.cpp (generic)"),
    "ReAct": ("react", 'Thought: need\nAction: find_depot\nAction Input: {"town": "Bari"}', "QwenLM/Qwen-Agent react_chat.py"),
    "GLM 4 and ERNIE": ("glm4", 'find_depot\n{"town": "Bari"}', "THUDM/GLM-4 inference/glm_server.py"),
    "Hunyuan A13B": ("jamba", '<tool_calls>[{"name": "find_depot", "arguments": {"town": "Bari"}}]</tool_calls>', f"{VLLM}/hunyuan_a13b_tool_parser.py"),
    "Jamba": ("jamba", '<tool_calls>[\n {"name": "find_depot", "arguments": {"town": "Bari"}}\n]</tool_calls>', f"{VLLM}/jamba_tool_parser.py"),
    "MiniMax M1": ("jamba", '<tool_calls>\n{"name": "find_depot", "arguments": {"town": "Bari"}}\n</tool_calls>', "MiniMax-AI/MiniMax-M1 docs/function_call_guide.md"),
    "Seed-OSS": ("seed_oss", "<seed:tool_call>\n<function=find_depot>\n<parameter=town>Bari</parameter>\n</function>\n</seed:tool_call>", "vllm-project/vllm vllm/parser/seed_oss.py"),
    "OLMo 3": ("olmo3", '<function_calls>\nfind_depot(town="Bari")\n</function_calls>', f"{VLLM}/olmo3_tool_parser.py"),
    "LFM2": ("lfm2", '<|tool_call_start|>[find_depot(town="Bari")]<|tool_call_end|>', f"{SGLANG}/lfm2_detector.py"),
    "ToolACE and Llama 3.2": ("pythonic", '[find_depot(town="Bari")]', f"{VLLM}/pythonic_tool_parser.py"),
    "Llama 4": ("pythonic", '<|python_start|>[find_depot(town="Bari")]<|python_end|>', f"{VLLM}/llama4_pythonic_tool_parser.py"),
    "Apertus": ("apertus", '<|tools_prefix|>[{"find_depot": {"town": "Bari"}}]<|tools_suffix|>', f"{VLLM}/apertus_tool_parser.py"),
    "SmolLM3 in Python": ("smollm3", '<code>find_depot(town="Bari")</code>', "HuggingFaceTB/SmolLM3-3B chat_template.jinja"),
    "Nemotron": ("nemotron", '<TOOLCALL>[{"name": "find_depot", "arguments": {"town": "Bari"}}]</TOOLCALL>', "ggml-org/llama.cpp common/chat.cpp (Nemotron v2)"),
    "GLM 4.5": ("glm", "<tool_call>find_depot\n<arg_key>town</arg_key>\n<arg_value>Bari</arg_value>\n</tool_call>", f"{SGLANG}/glm4_moe_detector.py"),
    "Granite 20B": ("function_call", '<function_call> {"name": "find_depot", "arguments": {"town": "Bari"}}', f"{VLLM}/granite_20b_fc_tool_parser.py"),
    "Glaive v2": ("function_call", """<functioncall> {"name": "find_depot", "arguments": '{"town": "Bari"}'}""", "glaiveai/glaive-function-calling-v2 dataset card"),
    "Hermes and Qwen": ("hermes", '<tool_call>\n{"name": "find_depot", "arguments": {"town": "Bari"}}\n</tool_call>', f"{VLLM}/hermes_tool_parser.py"),
    "Llama 3.1": ("llama3", '{"name": "find_depot", "parameters": {"town": "Bari"}}', f"{VLLM}/llama_tool_parser.py"),
    "Mistral": ("mistral", '[TOOL_CALLS][{"name": "find_depot", "arguments": {"town": "Bari"}}]', "mistralai/mistral-common"),
    "Mistral, a space behind its mark": ("mistral", '[TOOL_CALLS] [{"name": "find_depot", "arguments": {"town": "Bari"}}]', f"{SGLANG}/mistral_detector.py"),
    "Mistral v11": ("mistral", '[TOOL_CALLS]find_depot[ARGS]{"town": "Bari"}', "mistralai/mistral-common"),
}  # fmt: skip
"""A call in each form: the format that reads it, and whose form it is."""
FOREIGN: dict[str, tuple[str, str]] = {
    "a function_name": ('{"function_name": "find_depot", "arguments": {"town": "Bari"}}', "ggml-org/llama.cpp common/chat.cpp (generic)"),
    "Anthropic's tool_use in text": ('{"type": "tool_use", "name": "find_depot", "input": {"town": "Bari"}}', "anthropics/anthropic-sdk-python"),
    "LangChain's action": ('{"action": "find_depot", "action_input": {"town": "Bari"}}', "langchain-ai/langchain structured chat"),
    "keys the other way round": ('{"arguments": {"town": "Bari"}, "name": "find_depot"}', f"{SGLANG}/base_format_detector.py"),
}  # fmt: skip
"""Calls in forms that no format reads by itself."""


def _leaked() -> list[Kind]:
    """Every dialect where a server handed over no calls."""
    leaks = {name: (text, source) for name, (_, text, source) in DIALECTS.items()} | FOREIGN
    return [
        Kind(
            name=f"leaked: {name}",
            source=source,
            looks=text,
            read_as="format error; the call is recovered",
            given=Text("served", text),
            comes=Said(error=True, recovered=(BARI,)),
        )
        for name, (text, source) in leaks.items()
    ]


def _own() -> list[Kind]:
    """Every dialect in its own format."""
    return [
        Kind(
            f"{name} as {form}",
            source,
            text,
            "a call",
            Text(form, text),
            Said(calls=(BARI,), content="Thought: need" if form == "react" else ""),
        )
        for name, (form, text, source) in DIALECTS.items()
    ]


def _kind(name: str, source: str, read_as: str, given: Text, comes: Said) -> Kind:
    return Kind(name, source, given.text, read_as, given, comes)


FENCED = '```json\n{"name": "%s", "arguments": %s}\n```'
HERMES = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
LLAMA = '{"name": "f", "parameters": {}}'
FAULTS = [
    _kind("a list of calls after words", f"{SGLANG}/pythonic_detector.py", "words and a call", Text("pythonic", "Let me look.\n[f(x=1)]"), Said((X,), "Let me look.")),
    _kind("a list of calls at the end of a line", f"{SGLANG}/pythonic_detector.py", "words and a call", Text("pythonic", "Let me look: [f(x=1)]"), Said((X,), "Let me look:")),
    _kind("a list of calls in a fence", f"{SGLANG}/pythonic_detector.py", "a call", Text("pythonic", "```python\n[f(x=1)]\n```"), Said((X,))),
    _kind("words behind a list of calls", f"{VLLM}/pythonic_tool_parser.py", "format error; recovered", Text("pythonic", "[f(x=1)] is it."), Said(error=True, recovered=(X,))),
    _kind("a fence in an argument", "ggml-org/llama.cpp common/chat.cpp", "a call", Text("json", FENCED % ("f", '{"x": "```a```"}')), Said((("f", {"x": "```a```"}),))),
    _kind("a fence of code before the call", f"{VLLM}/xlam_tool_parser.py", "words and a call", Text("json", "```python\nprint(1)\n```\n" + FENCED % ("f", "{}")), Said((F,), "```python\nprint(1)\n```")),
    _kind("a second fenced call", f"{VLLM}/xlam_tool_parser.py", "two calls", Text("json", FENCED % ("f", "{}") + "\n" + FENCED % ("g", "{}")), Said((F, G))),
    _kind("a fence in a block", f"{VLLM}/hermes_tool_parser.py", "format error; recovered", Text("hermes", "<tool_call>\n" + FENCED % ("f", "{}") + "\n</tool_call>"), Said(error=True, recovered=(F,))),
    _kind("arguments before the name", f"{SGLANG}/base_format_detector.py", "a call", Text("json", '{"arguments": {"x": 1}, "name": "f"}'), Said((X,))),
    _kind("a thought key before the name", f"{SGLANG}/base_format_detector.py", "format error; recovered", Text("hermes", '{"thought": "", "arguments": {"x": 1}, "name": "f"}'), Said((), '{"thought": "", "arguments": {"x": 1}, "name": "f"}', True, (X,))),
    _kind("JSON that names no function", f"{VLLM}/llama_tool_parser.py", "words", Text("llama3", '{"name": "Ada", "age": 36}'), Said(content='{"name": "Ada", "age": 36}')),
    _kind("JSON with a type and an id", f"{VLLM}/llama_tool_parser.py", "words", Text("json", '{"type": "town", "id": 3}'), Said(content='{"type": "town", "id": 3}')),
    _kind("Magistral's thought", "mistralai/mistral-common", "words", Text("mistral", "[THINK]Or [TOOL_CALLS]f[ARGS]{}[/THINK]No."), Said(content="No.")),
    _kind("Magistral's thought before a call", "mistralai/mistral-common", "a call", Text("mistral", "[THINK]Hm.[/THINK][TOOL_CALLS]f[ARGS]{}"), Said((F,))),
    _kind("a call in a second thought", f"{VLLM}/hunyuan_a13b_tool_parser.py", "words", Text("hermes", f"<think>a</think>Wait.<think>{HERMES}</think> No."), Said(content="Wait. No.")),
    _kind("a call drafted where the prompt opened the thought", "QwenLM/Qwen3 chat template", "words", Text("hermes", f"Or {HERMES}?</think>No.", True), Said(content="No.")),
    _kind("a thought that the prompt opened and nothing closed", "QwenLM/Qwen3 chat template", "format error", Text("hermes", "I wonder.", True), Said(error=True)),
    _kind("a thought that nothing closed", "deepseek-ai/DeepSeek-R1", "format error", Text("hermes", "<think>I wonder."), Said(error=True)),
    _kind("a thought that nothing follows", "vllm-project/vllm vllm/parser/qwen3.py", "format error", Text("hermes", "<think>No tool fits.</think>\n"), Said(error=True)),
    _kind("harmony's analysis that nothing follows", "ggml-org/llama.cpp#15789", "format error", Text("harmony", "<|channel|>analysis<|message|>No tool fits."), Said(error=True)),
    _kind("an observation that was made up", "QwenLM/Qwen-Agent react_chat.py", "format error; recovered", Text("react", "Action: f\nAction Input: {}\nObservation: 3"), Said(error=True, recovered=(F,))),
    _kind("a call in a thought that nothing closed", "vllm-project/vllm vllm/parser/qwen3.py", "format error; recovered", Text("hermes", f"<think>So {HERMES}"), Said(error=True, recovered=(F,))),
    _kind("Llama with arguments", f"{VLLM}/llama_tool_parser.py", "a call", Text("llama3", '{"name": "f", "arguments": {"x": 1}}'), Said((X,))),
    _kind("Llama with a list", f"{VLLM}/llama_tool_parser.py", "two calls", Text("llama3", f'[{LLAMA}, {{"name": "g", "parameters": {{}}}}]'), Said((F, G))),
    _kind("Llama with commas", f"{VLLM}/llama_tool_parser.py", "two calls", Text("llama3", f'{LLAMA}, {{"name": "g", "parameters": {{}}}}'), Said((F, G))),
    _kind("Llama with semicolons", f"{SGLANG}/llama32_detector.py", "two calls", Text("llama3", f'<|python_tag|>{LLAMA}; {{"name": "g", "parameters": {{}}}}'), Said((F, G))),
    _kind("Llama with words before", f"{VLLM}/llama_tool_parser.py", "format error; recovered", Text("llama3", f"Here: {LLAMA}"), Said((), f"Here: {LLAMA}", True, (F,))),
    _kind("Mistral v11 without [ARGS]", "vllm-project/vllm vllm/parser/mistral.py", "two calls", Text("mistral", '[TOOL_CALLS]f{"x": 1}[TOOL_CALLS]g{}'), Said((X, G))),
    _kind("Mistral with an id", "mistralai/mistral-common", "a call", Text("mistral", '[TOOL_CALLS]f[CALL_ID]a1b2c3d4e[ARGS]{"x": 1}'), Said((X,))),
    _kind("Mistral with words behind", f"{SGLANG}/mistral_detector.py", "format error; recovered", Text("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {}}] done'), Said(error=True, recovered=(F,))),
    _kind("type and id in a block", f"{VLLM}/hermes_tool_parser.py", "a call", Text("hermes", '<tool_call>{"type": "function", "id": "c1", "name": "f", "arguments": {}}</tool_call>'), Said((F,))),
    _kind("OpenAI's nested form in a block", "ggml-org/llama.cpp common/chat.cpp (generic)", "a call", Text("hermes", '<tool_call>{"type": "function", "function": {"name": "f", "arguments": {}}}</tool_call>'), Said((F,))),
    _kind("parameters in a block", f"{VLLM}/hermes_tool_parser.py", "format error; recovered", Text("hermes", '<tool_call>{"name": "f", "parameters": {"x": 1}}</tool_call>'), Said(error=True, recovered=(X,))),
    _kind("a block that was never closed", f"{VLLM}/hermes_tool_parser.py", "format error; recovered", Text("hermes", HERMES.removesuffix("</tool_call>")), Said(error=True, recovered=(F,))),
    _kind("a list in a block", f"{SGLANG}/hermes_detector.py", "format error; recovered", Text("hermes", '<tool_call>[{"name": "f", "arguments": {}}]</tool_call>'), Said(error=True, recovered=(F,))),
    _kind("a call whose opening was lost", "signalnine/q27#24", "format error", Text("served", "<name>task\n</parameter>\n<parameter=prompt>\nx\n</parameter>\n</function>"), Said(error=True)),
    _kind("a nested call that lost its last brace", "vllm-project/vllm#11786", "format error; recovered", Text("llama3", '{"type": "function", "function": {"name": "f", "parameters": {"x": 1}}'), Said(error=True, recovered=(X,))),
    _kind("a call in a block that lost its last brace", "vllm-project/vllm#22885", "format error", Text("hermes", '<tool_call>{"name": "f", "arguments": {"x": 1}</tool_call>'), Said(error=True)),
    _kind("a parameter that was never closed", f"{SGLANG}/qwen3_coder_detector.py", "format error", Text("qwen3_coder", "<function=f>\n<parameter=x>\n1\n</function>"), Said(error=True)),
    _kind("harmony with an analysis before", "openai/harmony docs/format.md", "a call", Text("harmony", "<|channel|>analysis<|message|>Call f.<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}"), Said((F,))),
    _kind("harmony with the recipient in the role", "openai/harmony docs/format.md", "a call", Text("harmony", "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}<|call|>"), Said((F,))),
    _kind("harmony's answer", "openai/harmony docs/format.md", "words", Text("harmony", "<|channel|>final<|message|>Hello.<|return|>"), Said(content="Hello.")),
    _kind("nothing at all", "BerriAI/litellm#24442", "format error", Text("hermes", ""), Said(error=True)),
    _kind("a line break", "BerriAI/litellm#24442", "format error", Text("llama3", "\n"), Said(error=True)),
    _kind("nothing in marks of an answer", f"{SGLANG}/cohere_command4_detector.py", "format error", Text("cohere", "<|START_RESPONSE|><|END_RESPONSE|>"), Said(error=True)),
    _kind("an answer in marks", f"{SGLANG}/cohere_command4_detector.py", "words", Text("cohere", "<|START_RESPONSE|>Hi.<|END_RESPONSE|>"), Said(content="Hi.")),
    _kind("a mark of what comes behind a call", f"{VLLM}/functiongemma_tool_parser.py", "a call", Text("functiongemma", "<start_function_call>call:f{x:1}<end_function_call><start_function_response>"), Said((X,))),
    _kind("Gemma 4's mark behind a call", f"{SGLANG}/gemma4_detector.py", "a call", Text("gemma4", "<|tool_call>call:f{x:1}<tool_call|><|tool_response>"), Said((X,))),
    _kind("harmony's next turn behind an answer", "openai/harmony docs/format.md", "words", Text("harmony", "<|channel|>final<|message|>Hi.<|end|><|start|>assistant"), Said(content="Hi.")),
    *(
        _kind(f"harmony's analysis that nothing follows, as {form}", "ggml-org/llama.cpp#15789", "format error", Text(form, "<|channel|>analysis<|message|>No tool fits.<|end|>"), Said(error=True))
        for form in ("served", "hermes", "json", "mistral")
    ),
    _kind("a number with the type of a text and a number", f"{VLLM}/qwen3coder_tool_parser.py", "a call", Text("qwen3_coder", "<function=f><parameter=x>7</parameter></function>", offered=("f",)), Said((("f", {"x": 7}),))),
    _kind("true where a text or a number is meant", f"{VLLM}/qwen3coder_tool_parser.py", "a call with a text", Text("qwen3_coder", "<function=f><parameter=x>true</parameter></function>", offered=("f",)), Said((("f", {"x": "true"}),))),
    _kind("a typed call of the wrong format", f"{VLLM}/qwen3coder_tool_parser.py", "format error; recovered with its types", Text("served", "<function=f><parameter=x>1</parameter></function>", offered=("f",)), Said(error=True, recovered=(X,))),
    _kind("Mistral's call without its first mark", "mistralai/mistral-common", "format error", Text("hermes", 'f[ARGS]{"x": 1}'), Said((), 'f[ARGS]{"x": 1}', True)),
    _kind("a harmony call without its tokens", "openai/codex#13114", "format error", Text("hermes", 'commentary to=functions.f json{"x": 1}'), Said((), 'commentary to=functions.f json{"x": 1}', True)),
]  # fmt: skip
INNOCENT: dict[str, str] = {
    "a greeting": "Hello! How can I help you today?",
    "a refusal": "I'm sorry, none of my tools can book a hotel.",
    "a question": "Which town do you mean (Bari or Lecce)?",
    "footnotes": "The tower [1] was built in 1889 [2].",
    "a link": "[link(s)](https://example.org/a_(b)) show more.",
    "a link that looks like a call": "[f(x)](https://example.org)",
    "check boxes": "- [ ] buy milk\n- [x] call Ada (mother)",
    "words in brackets": "[Sorry (again)] I cannot do that.",
    "numbers in a list": "[1, 2, 3]",
    "strings in a list": '["Bari", "Lecce"]',
    "an object": '{"town": "Bari", "population": 320000}',
    "a person": '{"name": "Ada", "age": 36}',
    "a name alone": '{"name": "Ada"}',
    "a type and an id": '{"type": "object", "id": 3}',
    "a person in a fence": 'Here you are:\n```json\n{"name": "Ada", "age": 36}\n```\nAnything else?',
    "people": '[{"name": "Ada", "age": 36}, {"name": "Bob", "age": 3}]',
    "a schema": '{"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}',
    "a tool": '{"name": "f", "description": "Does.", "parameters": {"type": "object", "properties": {}}}',
    "a tool in a fence": '```json\n{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}\n```',
    "a package": '```json\n{\n  "name": "app",\n  "scripts": {"test": "jest"},\n  "dependencies": {}\n}\n```',
    "a job": '{"name": "build", "parameters": ["a", "b"], "steps": []}',
    "broken JSON": 'The file begins with\n```json\n{\n  // a comment\n  "a": 1,\n}\n```',
    "code": "```python\ndef f(x):\n    return [g(y=x) for y in x]\n\nprint(f(x=1))\n```",
    "a list in code": 'So:\n```python\nrows = [\n    Row(a=1),\n]\n[print(row, end="") for row in rows]\n```',
    "a session": '```\n>>> [len(x) for x in "ab"]\n[1, 1]\n```',
    "code in words": "Call `sorted(xs, reverse=True)` or `max(xs, key=len)`.",
    "a comprehension": "[f(x) for x in xs] is a list comprehension.",
    "code in HTML": "<p>Write <code>sorted(xs, reverse=True)</code> there.</p>",
    "HTML": '<html><body><a href="x">y</a></body></html>',
    "XML": '<config><parameter name="a">1</parameter></config>',
    "a command": "```bash\nls -la | grep foo\n```",
    "YAML": "```yaml\nname: f\narguments:\n  x: 1\n```",
    "SQL": "SELECT name FROM tools WHERE id = 3;",
    "mathematics": "f(x) = x^2, so f(3) = 9 and \\[ g(x=1) = 2 \\]",
    "a table": "| name | arguments |\n|---|---|\n| f | x |",
    "an action in words": "Action: we should call the bank tomorrow.\nResult: fine.",
    "a thought in words": "Thought: I know this.\nFinal Answer: 42",
    "a function in words": "The function find_depot takes a town.",
    "a module in words": "Import functools and use functools.lru_cache.",
    "harmony's final answer": "<|channel|>final<|message|>Hello there.",
    "a thought": "<think>Simple.</think>Hello.",
    "two thoughts": "<think>a</think>Well.<think>b</think> Hello.",
    "JSON under a label": 'Result\n{"a": 1}',
    "keys in words": '"name": and "arguments": are the keys of a call.',
    "brackets in words": "[a(b)] and [c(d)]",
    "a letter": "Dear Ada,\n\n[Your name]\nSent (by me)",
    "an API's description": '{"openapi": "3.0.0", "paths": {"/f": {"get": {"parameters": [{"name": "x", "in": "query"}]}}}}',
    "a server's settings": '{"command": "npx", "args": ["-y", "server"], "name": "fs"}',
    "steps": "1. [Install(ed)] first\n2. run it",
    "a usage": "Usage: cli [OPTIONS] COMMAND [ARGS]...",
    "a dictionary in Python": "{'name': 'Ada', 'age': 36}",
    "a dictionary in Python with args": "{'name': 'Ada', 'args': ['-y']}",
    "lists in Python": "Either ['Bari', 'Lecce'] or ['Rome'].",
    "a tool in Python": "{'name': 'f', 'parameters': {'type': 'object', 'properties': {}}}",
    "a tool that is named": "I would call find_depot(town='Bari'), but which town?",
    "a tool's name": "find_depot",
    "a sum of a tool's": "find_depot(town='Bari') + 2",
    "code with a tool": "```python\ndef go():\n    return find_depot(town='Bari')\n```",
    "an object under a tool's name": '{"find_depot": {"street": "Via Roma 1"}}',
    "a text under a tool's name": '{"find_depot": "It finds one."}',
    "a tool's name and an object": '{"find_depot": {"town": "Bari"}, "weather": {}}',
    "a query": "query { f(x: 1) { name } }",
}
"""Answers that call nothing, in whichever format."""

BROKEN: dict[str, tuple[str, str]] = {
    "a call in single quotes": ("{'name': 'find_depot', 'arguments': {'town': 'Bari'}}", "vllm-project/vllm#22885"),
    "a call in single quotes around double ones": ("""{'name': 'f', 'arguments': {"town": "Bari"}}""", "vllm-project/vllm#22885"),
    "a call with a type that lost its last brace": ('{"type": "function", "name": "f", "parameters": {"town": "Bari"}', "vllm-project/vllm#11786"),
    "a call with an id that lost its last brace": ('{"id": "1", "name": "f", "arguments": {"town": "Bari"}', "vllm-project/vllm#11786"),
    "tool_use with a comma too many": ('{"type": "tool_use", "id": "x", "name": "f", "input": {"a": 1,}}', "anthropics/anthropic-sdk-python"),
    "args that lost their last brace": ('{"name": "f", "args": {"a": 1}', "langchain-ai/langchain structured chat"),
    "arguments in a text that is no JSON": (r'{"name": "f", "arguments": "{\"town\": Bari}"}', f"{SGLANG}/base_format_detector.py"),
    "arguments in a text that holds no object": ('{"name": "f", "arguments": "Bari"}', f"{SGLANG}/base_format_detector.py"),
}  # fmt: skip
"""Calls in JSON, nearly, and whose they are."""
BARE: dict[str, tuple[str, tuple[Call, ...]]] = {
    "a call": ("find_depot(town='Bari')", (BARI,)),
    "a call in a fence": ("```python\nfind_depot(town='Bari')\n```", (BARI,)),
    "a call in a fence of no language": ("```\nfind_depot(town='Bari')\n```\n", (BARI,)),
    "a call a line": ("find_depot(town='Bari')\nf(x=1)", (BARI, X)),
    "calls with a comma": ("f(), g()", (F, G)),
    "calls in brackets": ("(f(), g())", (F, G)),
    "a call that is printed": ("print(f(x=1))", (X,)),
    "a call that is assigned": ("depot = find_depot(town='Bari')", (BARI,)),
    "a call by position": ('find_depot("Bari")', ()),
    "a call of a name": ("find_depot(town=bari)", ()),
    "an object under the name": ('{"find_depot": {"town": "Bari"}}', (BARI,)),
    "objects under names": ('[{"find_depot": {"town": "Bari"}}, {"f": {}}]', (BARI, F)),
    "an object under the name in a fence": ('```json\n{"f": {"x": 1}}\n```', (X,)),
}
"""Calls that are none but of tools on offer, and what is recovered of them."""
KINDS = [
    *_own(),
    *_leaked(),
    *FAULTS,
    *(
        _kind(
            f"{name}, bare",
            "ShishirPatil/gorilla bfcl model_handler",
            "format error; recovered",
            Text("served", text, offered=("find_depot", "f", "g")),
            Said(error=True, recovered=found),
        )
        for name, (text, found) in BARE.items()
    ),
    *(
        Kind(f"no call: {name}", "our own", text, "words in every format", Text("", text), Said())
        for name, text in INNOCENT.items()
    ),
]


def mutated(text: str, rng: Random) -> str:
    """A text with one to four mistakes: parts lost, doubled, moved, or out of another dialect."""
    for _ in range(rng.randint(1, 4)):
        start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        other = rng.choice(list(DIALECTS.values()))[1]
        cut = sorted(rng.randrange(len(other) + 1) for _ in range(2))
        part = text[start : min(end, start + 20)]
        text = rng.choice(
            (
                text[:start] + text[min(end, start + 3) :],
                text[:end] + part + text[end:],
                text[:start] + other[cut[0] : cut[1]] + text[start:],
                text.replace(part, part * 2) if part.strip() else text,
                text[:start] + rng.choice(list("\"'\\{}[]()<>|:,;\n `=é\0")) + text[start:],
                text[start:] + text[:start],
                text[:end],
            )
        )[:5000]
    return text
