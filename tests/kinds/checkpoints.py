"""Checkpoints: which marks their tokenizers hold as special tokens, and how their templates write calls."""

from __future__ import annotations

from typing import NamedTuple

from kinds import Kind

TITLE = "Checkpoints"
ABOUT = (
    "What a checkpoint answers, read on this machine. A call that its chat template writes, cut into tokens and put "
    "together again as the student does it, is the call; `answer_format` is chosen by the template alone."
)


class Published(NamedTuple):
    """What of a checkpoint's tokenizer and template decides how an answer is read."""

    template: str
    """A chat template, or the name of a published one in ``tests/templates``."""
    special: tuple[str, ...]
    """Marks that the tokenizer holds as special tokens; the first ends a text."""
    plain: tuple[str, ...] = ()
    """Marks that it holds as tokens that are not special."""
    stops: tuple[str, ...] = ()
    """Ends of turns that the generation configuration names beside the first."""
    single: bool = False
    """The template writes one call an answer at most."""


EACH, LAST = "{% for c in m.tool_calls %}{% set f = c.function %}", "{% endfor %}"
COMMA = "{{ ', ' if not loop.first }}"
ARGUMENTS = "{{ f.arguments | tojson }}"
KEYWORDS = "{% for k, v in f.arguments.items() %}{{ ', ' if not loop.first }}{{ k }}={{ v | tojson }}{% endfor %}"
VALUE = "{{ v if v is string else v | tojson }}"


def chat(turn: str, end: str, calls: str, *, tools: str = "", thought: tuple[str, str] = ("", "")) -> str:
    """A template that opens turns, writes calls and ends as the published one does, and nothing more.

    Args:
        turn: what opens a turn, with ROLE for whose it is.
        end: what ends it.
        calls: Jinja for the calls of a message ``m``.
        tools: what stands before the list of tools.
        thought: what opens a thought in the prompt, and what closes it.
    """
    assistant = turn.replace("ROLE", "assistant")
    return (
        "{% if tools %}" + turn.replace("ROLE", "system") + tools + "{{ tools | tojson }}" + end + "{% endif %}"
        "{% for m in messages %}{% if m.role == 'assistant' %}" + assistant + "".join(thought) + "{{ m.content or '' }}"
        "{% if m.tool_calls %}" + calls + "{% endif %}" + end + "{% else %}"
        "" + turn.replace("ROLE", "{{ m.role }}") + "{{ m.content }}" + end + "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}" + assistant + thought[0] + "{% endif %}"
    )


CHATML, IM_END = "<|im_start|>ROLE\n", "<|im_end|>"
HEADER, EOT = "<|start_header_id|>ROLE<|end_header_id|>\n\n", "<|eot_id|>"
TAGGED = "\n<parameter=k>\n".replace("k>", "{{ k }}>") + VALUE + "\n</parameter>"
HERMES = EACH + '<tool_call>\n{"name": "{{ f.name }}", "arguments": ' + ARGUMENTS + "}\n</tool_call>" + LAST
KIMI = ("<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>",
        "<|tool_calls_section_end|>")  # fmt: skip
DEEPSEEK = tuple(f"<｜{mark}｜>" for mark in ("User", "Assistant", "tool▁calls▁begin", "tool▁call▁begin", "tool▁sep",
                                             "tool▁call▁end", "tool▁calls▁end"))  # fmt: skip
COHERE = ("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|START_ACTION|>", "<|END_ACTION|>", "<|START_THINKING|>",
          "<|END_THINKING|>")  # fmt: skip
LLAMA = ("<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", EOT, "<|python_tag|>")
MISTRAL = ("</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]", "[THINK]", "[/THINK]")

PUBLISHED = (
    Kind(
        "Qwen3, as published",
        "huggingface/trl trl/chat_templates/qwen3.jinja",
        "<tool_call>{...}</tool_call>, no special tokens; <think> before it",
        "hermes",
        Published("qwen3", ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
                  ("<tool_call>", "</tool_call>", "<think>", "</think>")),
        "hermes",
    ),
    Kind(
        "Qwen 3.5, as published",
        "huggingface/trl trl/chat_templates/qwen3_5_nothink.jinja",
        "<tool_call><function=f><parameter=x>1</parameter></function></tool_call>",
        "qwen3_coder",
        Published("qwen3_5_nothink", ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
                  ("<tool_call>", "</tool_call>", "<think>", "</think>")),
        "qwen3_coder",
    ),
    Kind(
        "GLM 4.5, as published",
        "huggingface/trl trl/chat_templates/glm4moe.jinja",
        "<tool_call>f<arg_key>x</arg_key><arg_value>1</arg_value></tool_call>, ended by <|user|> or <|observation|>",
        "glm",
        Published("glm4moe", ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>",
                              "<|observation|>"),
                  ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "<think>",
                   "</think>"), ("<|user|>", "<|observation|>")),
        "glm",
    ),
    Kind(
        "DeepSeek V3, as published",
        "huggingface/trl trl/chat_templates/deepseekv3.jinja",
        "<｜tool▁calls▁begin｜>... with a fence, all special tokens",
        "deepseek_v3",
        Published("deepseekv3", ("<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", *DEEPSEEK)),
        "deepseek_v3",
    ),
    Kind(
        "gpt-oss, as published",
        "huggingface/trl trl/chat_templates/gptoss.jinja",
        "<|channel|>commentary to=functions.f..., special tokens; ended by <|call|>",
        "harmony",
        Published("gptoss", ("<|return|>", "<|startoftext|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>",
                             "<|constrain|>", "<|call|>", "<|endoftext|>"), (), ("<|call|>", "<|endoftext|>"), True),
        "harmony",
    ),
)  # fmt: skip
"""Templates as they are published, under licences that let them stand here (tests/templates/README.md)."""

MARKED = (
    Kind(
        "Mistral's call token is special",
        "vllm-project/vllm examples/tool_chat_template_mistral.jinja",
        '[TOOL_CALLS][{"name": "f", "arguments": {}, "id": "abcdefghi"}]',
        "mistral",
        Published(chat("[INST]", "</s>", '[TOOL_CALLS][' + EACH + COMMA + '{"name": "{{ f.name }}", "arguments": '
                       + ARGUMENTS + ', "id": "abcdefghi"}' + LAST + "]"), MISTRAL),
        "mistral",
    ),
    Kind(
        "Mistral v11, its marks of name and arguments special",
        "ggml-org/llama.cpp models/templates/mistralai-Mistral-Small-3.1-24B-Instruct-2503.jinja",
        "[TOOL_CALLS]f[ARGS]{}",
        "mistral",
        Published(chat("[INST]", "</s>", EACH + "[TOOL_CALLS]{{ f.name }}[ARGS]" + ARGUMENTS + LAST), MISTRAL),
        "mistral",
    ),
    Kind(
        "Magistral's thought, opened in the prompt",
        "waybarrios/vllm-mlx#599",
        "[THINK]...[/THINK][TOOL_CALLS]f[ARGS]{}",
        "mistral; what stands before [/THINK] is reasoning",
        Published(chat("[INST]", "</s>", EACH + "[TOOL_CALLS]{{ f.name }}[ARGS]" + ARGUMENTS + LAST,
                       thought=MISTRAL[-2:]), MISTRAL),
        "mistral",
    ),
    Kind(
        "Llama 3.1 with its tag, ended by <|eom_id|>",
        "vllm-project/vllm examples/tool_chat_template_llama3.1_json.jinja",
        '<|python_tag|>{"name": "f", "parameters": {}}',
        "llama3",
        Published(chat(HEADER, EOT, EACH + '<|python_tag|>{"name": "{{ f.name }}", "parameters": ' + ARGUMENTS
                       + "}<|eom_id|>" + LAST), LLAMA, (), ("<|eom_id|>", EOT), True),
        "llama3",
    ),
    Kind(
        "Llama 3.1, whose configuration names the end of a text alone",
        "vllm-project/vllm#4180",
        '{"name": "f", "parameters": {}}<|eot_id|>',
        "llama3; <|eot_id|> ends the answer all the same",
        Published(chat(HEADER, EOT, EACH + '{"name": "{{ f.name }}", "parameters": ' + ARGUMENTS + "}" + LAST,
                       tools='Answer {"name": function name, "parameters": its arguments}'), LLAMA, (), (), True),
        "llama3",
    ),
    Kind(
        "Llama 4's marks around a list are special",
        "vllm-project/vllm examples/tool_chat_template_llama4_pythonic.jinja",
        "<|python_start|>[f(x=1)]<|python_end|>",
        "pythonic",
        Published(chat("<|header_start|>ROLE<|header_end|>\n\n", "<|eot|>", "<|python_start|>[" + EACH + COMMA
                       + "{{ f.name }}(" + KEYWORDS + ")" + LAST + "]<|python_end|>"),
                  ("<|end_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>", "<|python_start|>",
                   "<|python_end|>"), (), ("<|eot|>",)),
        "pythonic",
    ),
    Kind(
        "Granite 3, its call token special",
        "vllm-project/vllm examples/tool_chat_template_granite.jinja",
        '<|tool_call|>[{"name": "f", "arguments": {}}]<|end_of_text|>',
        "granite",
        Published(chat("<|start_of_role|>ROLE<|end_of_role|>", "<|end_of_text|>", "<|tool_call|>[" + EACH + COMMA
                       + '{"name": "{{ f.name }}", "arguments": ' + ARGUMENTS + "}" + LAST + "]"),
                  ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>")),
        "granite",
    ),
    Kind(
        "Phi-4 mini, whose <|end|> ends a turn",
        "ggml-org/llama.cpp models/templates/llama-cpp-microsoft-Phi-4-mini-instruct.jinja",
        '<|tool_call|>[{"name": "f", "arguments": {}}]<|/tool_call|><|end|>',
        "phi4",
        Published(chat("<|ROLE|>", "<|end|>", "<|tool_call|>[" + EACH + COMMA + '{"name": "{{ f.name }}", "arguments": '
                       + ARGUMENTS + "}" + LAST + "]<|/tool_call|>", tools="<|tool|>"),
                  ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
                  ("<|tool|>", "<|tool_call|>", "<|/tool_call|>")),
        "phi4",
    ),
    Kind(
        "Kimi K2, all marks special",
        "ggml-org/llama.cpp models/templates/moonshotai-Kimi-K2.jinja",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|>...",
        "kimi_k2",
        Published(chat("<|im_ROLE|>ROLE<|im_middle|>", IM_END, KIMI[0] + EACH + KIMI[1]
                       + "functions.{{ f.name }}:{{ loop.index0 }}" + KIMI[2] + ARGUMENTS + KIMI[3] + LAST + KIMI[4]),
                  ("[EOS]", IM_END, "<|im_user|>", "<|im_assistant|>", "<|im_middle|>", "<|im_system|>", *KIMI), (),
                  (IM_END,)),
        "kimi_k2",
    ),
    Kind(
        "Kimi K2, whose template shows what a call is named",
        "ggml-org/llama.cpp models/templates/moonshotai-Kimi-K2.jinja",
        "<|tool_call_begin|>{{ tool_call['id'] }}<|tool_call_argument_begin|>",
        "kimi_k2; calls are named functions.f:0",
        Published(chat("<|im_ROLE|>ROLE<|im_middle|>", IM_END, KIMI[0] + EACH + KIMI[1] + "{{ c.id }}" + KIMI[2]
                       + ARGUMENTS + KIMI[3] + LAST + KIMI[4]),
                  ("[EOS]", IM_END, "<|im_user|>", "<|im_assistant|>", "<|im_middle|>", "<|im_system|>", *KIMI), (),
                  (IM_END,)),
        "kimi_k2",
    ),
    Kind(
        "Mistral's template, which refuses calls that are not named in nine letters",
        "vllm-project/vllm examples/tool_chat_template_mistral.jinja",
        '[TOOL_CALLS][{"name": "f", "arguments": {}, "id": "abcdefghi"}]',
        "mistral; calls are named in nine letters and digits",
        Published(chat("[INST]", "</s>", '[TOOL_CALLS][' + EACH + "{% if c.id is undefined or c.id | length != 9 %}"
                       "{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}"
                       + COMMA + '{"name": "{{ f.name }}", "arguments": ' + ARGUMENTS + ', "id": "{{ c.id }}"}' + LAST
                       + "]"), MISTRAL),
        "mistral",
    ),
    Kind(
        "a template that adds arguments as text",
        "huggingface/trl trl/chat_templates/deepseekv3.jinja",
        "'<tool_call>' + tool_call.function.arguments",
        "hermes; given as text, as an object cannot be added",
        Published(chat(CHATML, IM_END, EACH + "{{ '<tool_call>{\"name\": \"' + f.name + '\", \"arguments\": ' "
                       "+ f.arguments + '}</tool_call>' }}" + LAST), (IM_END, "<|im_start|>")),
        "hermes",
    ),
    Kind(
        "a template that prints arguments as they come",
        "vllm-project/vllm examples/tool_chat_template_hermes.jinja",
        "<tool_call>{{ tool_call.function.arguments }}",
        "hermes; given as text, as an object is printed in Python's form",
        Published(chat(CHATML, IM_END, EACH + '<tool_call>{"name": "{{ f.name }}", "arguments": {{ f.arguments }}}'
                       "</tool_call>" + LAST), (IM_END, "<|im_start|>")),
        "hermes",
    ),
    Kind(
        "LFM2, its marks special",
        "huggingface/trl trl/chat_templates/lfm2_v2.jinja",
        '<|tool_call_start|>[f(x="a")]<|tool_call_end|>',
        "lfm2",
        Published(chat(CHATML, IM_END, "<|tool_call_start|>[" + EACH + COMMA + "{{ f.name }}(" + KEYWORDS + ")" + LAST
                       + "]<|tool_call_end|>"),
                  (IM_END, "<|im_start|>", "<|tool_call_start|>", "<|tool_call_end|>")),
        "lfm2",
    ),
    Kind(
        "Command R7B and A, all marks special",
        "ggml-org/llama.cpp models/templates/CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja",
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "f", "parameters": {}}]<|END_ACTION|>',
        "cohere",
        Published(chat("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|START_ACTION|>[" + EACH
                       + COMMA + '{"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ f.name }}", "parameters": '
                       + ARGUMENTS + "}" + LAST + "]<|END_ACTION|>"),
                  ("<|END_OF_TURN_TOKEN|>", *COHERE)),
        "cohere",
    ),
    Kind(
        "Command A's thought, opened in the prompt",
        "smg-project/smg#306",
        "...<|END_THINKING|><|START_ACTION|>[...]<|END_ACTION|>",
        "cohere; what stands before <|END_THINKING|> is reasoning",
        Published(chat("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|START_ACTION|>[" + EACH
                       + COMMA + '{"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ f.name }}", "parameters": '
                       + ARGUMENTS + "}" + LAST + "]<|END_ACTION|>", thought=COHERE[-2:]),
                  ("<|END_OF_TURN_TOKEN|>", *COHERE)),
        "cohere",
    ),
    Kind(
        "DeepSeek V3.1, all marks special",
        "vllm-project/vllm examples/tool_chat_template_deepseekv31.jinja",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "deepseek_v31",
        Published(chat(DEEPSEEK[1], "<｜end▁of▁sentence｜>", DEEPSEEK[2] + EACH + DEEPSEEK[3] + "{{ f.name }}"
                       + DEEPSEEK[4] + ARGUMENTS + DEEPSEEK[5] + LAST + DEEPSEEK[6]),
                  ("<｜end▁of▁sentence｜>", *DEEPSEEK)),
        "deepseek_v31",
    ),
    Kind(
        "MiniMax M2, its marks special",
        "ggml-org/llama.cpp models/templates/unsloth-MiniMax-M2.jinja",
        '<minimax:tool_call><invoke name="f"><parameter name="x">1</parameter></invoke></minimax:tool_call>',
        "minimax_m2",
        Published(chat("]~b]ROLE\n", "[e~[", "<minimax:tool_call>\n" + EACH + '<invoke name="{{ f.name }}">\n'
                       "{% for k, v in f.arguments.items() %}" + '<parameter name="{{ k }}">' + VALUE + "</parameter>\n"
                       "{% endfor %}</invoke>\n" + LAST + "</minimax:tool_call>"),
                  ("[e~[", "]~b]", "<minimax:tool_call>", "</minimax:tool_call>")),
        "minimax_m2",
    ),
    Kind(
        "InternLM2, its marks special",
        "vllm-project/vllm examples/tool_chat_template_internlm2_tool.jinja",
        '<|action_start|><|plugin|>{"name": "f", "parameters": {}}<|action_end|>',
        "internlm2",
        Published(chat(CHATML, IM_END, EACH + '<|action_start|><|plugin|>\n{"name": "{{ f.name }}", "parameters": '
                       + ARGUMENTS + "}<|action_end|>" + LAST),
                  ("</s>", IM_END, "<|im_start|>", "<|action_start|>", "<|action_end|>", "<|plugin|>"), (), (IM_END,),
                  True),
        "internlm2",
    ),
    Kind(
        "Seed-OSS, its marks special",
        "ggml-org/llama.cpp models/templates/ByteDance-Seed-OSS.jinja",
        "<seed:tool_call><function=f><parameter=x>1</parameter></function></seed:tool_call>",
        "seed_oss",
        Published(chat("<seed:bos>ROLE\n", "<seed:eos>", EACH + "<seed:tool_call>\n<function={{ f.name }}>"
                       "{% for k, v in f.arguments.items() %}" + TAGGED.strip() + "{% endfor %}\n</function>\n"
                       "</seed:tool_call>" + LAST),
                  ("<seed:eos>", "<seed:bos>", "<seed:tool_call>", "</seed:tool_call>", "<seed:think>",
                   "</seed:think>")),
        "seed_oss",
    ),
    Kind(
        "a ChatML base model, whose configuration names the end of a text alone",
        "hiyouga/LlamaFactory#7454",
        "<tool_call>{...}</tool_call><|im_end|>",
        "hermes; <|im_end|> ends the answer all the same",
        Published(chat(CHATML, IM_END + "\n", HERMES), ("<|endoftext|>", IM_END, "<|im_start|>"),
                  ("<tool_call>", "</tool_call>")),
        "hermes",
    ),
    Kind(
        "a thought that stands opened in the prompt",
        "vllm-project/vllm#13125",
        "reasoning</think><tool_call>{...}</tool_call>",
        "hermes; a call that is drafted before </think> is reasoning",
        Published(chat(CHATML, IM_END + "\n", HERMES, thought=("<think>\n", "</think>")), (IM_END, "<|im_start|>"),
                  ("<tool_call>", "</tool_call>", "<think>", "</think>")),
        "hermes",
    ),
)  # fmt: skip
"""Marks as published, each template cut down to what decides how an answer is read."""

KINDS = (*PUBLISHED, *MARKED)
