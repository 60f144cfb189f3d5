"""Readers of chat formats beside the parsers that serve the same models, text by text.

usage: python benchmarks/bench_readers.py FOLDER

FOLDER holds packages as wheels unpacked or source trees: sglang, vllm, llamafactory, cohere_melody, smolagents,
google/adk; and of repositories the folder ``tool_use_package`` (anthropics/anthropic-tools) and the file
``react_chat.py`` (QwenLM/Qwen-Agent). Parsers that this vllm is without, of other versions of it or by a model's maker,
are read from its folder ``tool_parsers``, too. What is not there is left out. Nothing else of them has to be installed
but ``orjson``, ``partial-json-parser`` and ``regex``: what their parsers import beside each other is stood in for. Each
family's call (tests/kinds/texts.py) is varied in the same ways; a line says of how many texts the calls are the same by
our strict reading and by our lenient one, and which variants differ.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import logging
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from kinds.texts import DIALECTS  # noqa: E402 - the tests are no package that is installed

from sloop.calls.formats import parse  # noqa: E402
from sloop.records import Tool  # noqa: E402

SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}}
TOOLS = (Tool(name="find_depot", parameters=SCHEMA),)
SGLANG = {
    "DeepSeek V3": "deepseekv3_detector.DeepSeekV3Detector",
    "DeepSeek V3.1": "deepseekv31_detector.DeepSeekV31Detector",
    "DeepSeek V3.2": "deepseekv32_detector.DeepSeekV32Detector",
    "Qwen3-Coder": "qwen3_coder_detector.Qwen3CoderDetector",
    "Kimi K2": "kimik2_detector.KimiK2Detector",
    "gpt-oss harmony from the turn's start": "gpt_oss_detector.GptOssDetector",
    "MiniMax M2": "minimax_m2.MinimaxM2Detector",
    "Gemma 4": "gemma4_detector.Gemma4Detector",
    "Command R7B": "cohere_command4_detector.CohereCommand4Detector",
    "LFM2": "lfm2_detector.Lfm2Detector",
    "ToolACE and Llama 3.2": "pythonic_detector.PythonicDetector",
    "Llama 4": "pythonic_detector.PythonicDetector",
    "Apertus": "apertus2509_detector.Apertus2509Detector",
    "GLM 4.5": "glm4_moe_detector.Glm4MoeDetector",
    "Hermes and Qwen": "hermes_detector.HermesDetector",
    "Llama 3.1": "llama32_detector.Llama32Detector",
    "Mistral, a space behind its mark": "mistral_detector.MistralDetector",
    "Mistral v11": "mistral_detector.MistralDetector",
}
VLLM = {
    "DeepSeek V3": "deepseekv3_tool_parser.DeepSeekV3ToolParser",
    "DeepSeek V3.1": "deepseekv31_tool_parser.DeepSeekV31ToolParser",
    "Phi-4 mini": "phi4mini_tool_parser.Phi4MiniJsonToolParser",
    "FunctionGemma": "functiongemma_tool_parser.FunctionGemmaToolParser",
    "InternLM2": "internlm2_tool_parser.Internlm2ToolParser",
    "Jamba": "jamba_tool_parser.JambaToolParser",
    "Hunyuan A13B": "hunyuan_a13b_tool_parser.HunyuanA13BToolParser",
    "OLMo 3": "olmo3_tool_parser.Olmo3PythonicToolParser",
    "ToolACE and Llama 3.2": "pythonic_tool_parser.PythonicToolParser",
    "Llama 4": "llama4_pythonic_tool_parser.Llama4PythonicToolParser",
    "Apertus": "apertus_tool_parser.ApertusToolParser",
    "Hermes and Qwen": "hermes_tool_parser.Hermes2ProToolParser",
    "Llama 3.1": "llama_tool_parser.Llama3JsonToolParser",
    "xLAM": "xlam_tool_parser.xLAMToolParser",
    "Qwen3-Coder": "qwen3_engine_tool_parser.Qwen3EngineToolParser",
    "Seed-OSS": "seed_oss_engine_tool_parser.SeedOssEngineToolParser",
    "Seed-OSS by an older vLLM": "seed_oss_tool_parser.SeedOssToolParser",
    "Nemotron": "nemotron_json_tool_parser.NemotronJSONToolParser",
    "Nemotron by NVIDIA": "nemotron_toolcall_parser_streaming.NemotronToolParser",
}
OTHERS = {
    "ReAct": "llamafactory.data.tool_utils.DefaultToolUtils",
    "ReAct by Qwen-Agent": "react_chat.ReActChat",
    "GLM 4 and ERNIE": "llamafactory.data.tool_utils.GLM4ToolUtils",
    "Command R": "cohere_melody.PyFilter",
    "SmolLM3 in Python": "smolagents.local_python_executor.evaluate_python_code",
    "Gemma 3": "google.adk.models.gemma_llm.GemmaFunctionCallingMixin",
    "Gemma 3 in JSON": "google.adk.models.gemma_llm.GemmaFunctionCallingMixin",
    "Claude's XML of anthropic-tools": "tool_use_package.tool_user.ToolUser",
}
"""Families that neither of the two servers reads."""
VARIANTS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "another value": lambda text: text.replace("Bari", "San Vito, 'Lo' Capo"),
    "an empty value": lambda text: text.replace("Bari", ""),
    "white space around": lambda text: f"\n\n{text}\n",
    "words before": lambda text: f"I will look.\n{text}",
    "words behind": lambda text: f"{text}\nDone.",
    "twice": lambda text: f"{text}\n{text}",
    "last letters lost": lambda text: text[:-5],
    "cut in the value": lambda text: text[: text.index("Bari") + 2],
    "first letters lost": lambda text: text[4:],
    "another key": lambda text: text.replace("town", "city"),
    "single quotes": lambda text: text.replace('"', "'"),
    "no mark": lambda text: "There is no depot in Bari.",
}
Calls = list[tuple[str, Any]]


class Vocabulary(dict[str, int]):
    """That of a tokenizer to which every mark is a token."""

    def get(self, mark: str, _: Any = None) -> int:  # type: ignore[override]
        """Its number."""
        return self.setdefault(mark, len(self))


class Stand:
    """In place of whatever a parser imports and never needs here: takes anything, says nothing."""

    def __init__(self, *args: Any, **given: Any) -> None:
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        return Stand()

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Nothing in particular."""
        return Stand()

    @classmethod
    def __class_getitem__(cls, _: Any) -> Any:
        return cls


UNSET = ("id", "type", "function", "name", "arguments", "content", "reasoning")
"""What a piece of a message need not have."""


def _stand_for(name: str) -> Any:
    if name.endswith("_SECONDS"):
        return 5.0
    if name.startswith("is_"):
        return lambda *_: False
    fields = dict.fromkeys(UNSET if name.startswith("Delta") else ())
    return type(name, (Stand,), fields) if name[0].isupper() else Stand()


ABSENT = ("openai", "xgrammar", "msgspec", "transformers", "anthropic", "anthropic_bedrock", "google", "qwen_agent")
"""Packages of which nothing is needed, besides that of the parsers."""
BESIDE = (
    "sglang.srt.parser.harmony_parser", "vllm.parser.abstract_parser", "vllm.parser.engine.", "vllm.parser.qwen3",
    "vllm.parser.seed_oss",
)  # fmt: skip
"""What the parsers' own folders need of the rest of their packages."""


class Finder:
    """Imports the parsers' own folders as they are and stands in for the rest of the package."""

    def __init__(self, package: str, folder: Path, inner: str) -> None:
        self.package, self.folder, self.inner = package, folder, inner

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """What to import, where it is one of theirs."""
        if name.split(".")[0] not in (self.package, *ABSENT):
            return None
        path = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        if path.is_file() and name.startswith((self.inner, *BESIDE)):
            return importlib.util.spec_from_file_location(name, path)
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """A module that has whatever is asked of it."""
        module = ModuleType(spec.name)
        module.__getattr__ = _stand_for  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


def ours(form: str, text: str) -> tuple[Calls, Calls]:
    """What we read strictly, and leniently."""
    parsed = parse(form, text, tools=TOOLS)
    strict, recovered = ([(c.name, c.arguments) for c in found] for found in (parsed.calls, parsed.recovered))
    return strict, strict or recovered


def of_sglang(name: str, text: str) -> Calls:
    """What a detector of sglang reads."""
    module, _, cls = name.partition(".")
    detector = getattr(importlib.import_module(f"sglang.srt.function_call.{module}"), cls)()
    function = Stand(name="find_depot", parameters=SCHEMA, strict=False, description="")
    found = detector.detect_and_parse(text, [Stand(type="function", function=function)])
    return [(call.name, json.loads(call.parameters)) for call in found.calls]


def of_vllm(name: str, text: str) -> Calls:
    """What a tool parser of vLLM reads."""
    module, _, cls = name.partition(".")
    make = getattr(importlib.import_module(f"vllm.tool_parsers.{module}"), cls)
    tokenizer = Stand(get_vocab=Vocabulary, all_special_tokens=(), all_special_ids=())
    tools = [Stand(type="function", function=Stand(name="find_depot", parameters=SCHEMA))]
    given = (tokenizer, tools)[: len(inspect.signature(make).parameters)]  # older ones get the tools with the request
    found = make(*given).extract_tool_calls(text, Stand(tools=tools))
    return [(call.function.name, json.loads(call.function.arguments)) for call in found.tool_calls or []]


def of_llamafactory(reader: Any, text: str) -> Calls:
    """What a template of LLaMA-Factory extracts."""
    found = reader.tool_extractor(text)
    return [] if isinstance(found, str) else [(call.name, json.loads(call.arguments)) for call in found]


def of_melody(reader: Any, text: str) -> Calls:
    """What Cohere's parser of their models' answers finds in one of the first Command R's."""
    options = importlib.import_module("cohere_melody").PyFilterOptions().multi_hop().stream_tool_actions()
    return [(call.name, json.loads(call.arguments)) for call in reader(options).process_full_text(text).tool_calls]


def of_smolagents(run: Any, text: str) -> Calls:
    """What an agent that acts in code would call."""
    called: Calls = []
    blocks = importlib.import_module("smolagents.utils").parse_code_blobs(text, ("<code>", "</code>"))
    run(blocks, static_tools={"find_depot": lambda **given: called.append(("find_depot", given))}, state={})
    return called


def of_adk(reader: Any, text: str) -> Calls:
    """What Google's agents find in an answer of Gemma 3."""
    importlib.import_module("google.adk.models.gemma_llm").__dict__["types"] = Stand(FunctionCall=Stand, Part=Stand)
    answer = Stand(partial=False, turn_complete=False, content=Stand(parts=[Stand(text=text)]))
    reader._extract_function_calls_from_response(None, answer)
    call = answer.content.parts[0].__dict__.get("function_call")
    return [] if call is None else [(call.name, call.args)]


def of_anthropic(reader: Any, text: str) -> Calls:
    """What Anthropic's first package for tools invokes."""
    found = reader._function_calls_valid_format_and_invoke_extraction(text)
    return [(call["tool_name"], dict(call["parameters_with_values"])) for call in found.get("invokes", ())]


def of_qwen_agent(reader: Any, text: str) -> Calls:
    """What Qwen-Agent's ReAct chat detects."""
    called, name, arguments, _ = reader._detect_tool(None, text)
    return [(name, json.loads(arguments))] if called else []


READ_BY: dict[str, Callable[[Any, str], Calls]] = {
    "llamafactory": of_llamafactory, "cohere_melody": of_melody, "smolagents": of_smolagents, "google": of_adk,
    "tool_use_package": of_anthropic, "react_chat": of_qwen_agent,
}  # fmt: skip


def of_others(name: str, text: str) -> Calls:
    """What a parser of `OTHERS` reads."""
    module, _, attribute = name.rpartition(".")
    return READ_BY[name.partition(".")[0]](getattr(importlib.import_module(module), attribute), text)


def compare(theirs: Callable[[str, str], Calls], names: dict[str, str]) -> None:
    """One line a family."""
    all_same = all_lenient = 0
    for dialect, name in names.items():
        form, plain, _ = DIALECTS[dialect.partition(" by ")[0]]
        same = lenient = 0
        differ: list[str] = []
        for variant, vary in VARIANTS.items():
            text = vary(plain)
            try:
                expected = theirs(name, text)
            except Exception:  # whatever their code raises, it reads nothing
                if text == plain:
                    raise  # they cannot be run, or what stands in for the rest does not do
                expected = []
            mine, loose = ours(form, text)
            same, lenient = same + (mine == expected), lenient + (expected in (mine, loose))
            if mine != expected:
                differ.append(f"{variant} (theirs {len(expected)}, ours {len(mine)}, leniently {len(loose)})")
        all_same, all_lenient = all_same + same, all_lenient + lenient
        count = len(VARIANTS)
        print(f"{dialect}, {name.partition('.')[2]}: {same}/{count}, leniently {lenient}/{count}; {', '.join(differ)}")
    total = len(names) * len(VARIANTS)
    print(f"all: {all_same}/{total}, leniently {all_lenient}/{total}")


def _holds(folder: Path, name: str) -> bool:
    return (folder / name).is_dir() or (folder / f"{name}.py").is_file()


def main() -> None:
    """Compare with what the folder holds."""
    logging.disable(logging.CRITICAL)
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path()
    held = {
        "sglang": ("sglang.srt.function_call", of_sglang, SGLANG),
        "vllm": ("vllm.tool_parsers", of_vllm, VLLM),
    }
    found = {package: parts for package, parts in held.items() if folder.joinpath(*parts[0].split(".")).is_dir()}
    others = {dialect: name for dialect, name in OTHERS.items() if _holds(folder, name.partition(".")[0])}
    if not found and not others:
        print(f"nothing to compare with: {folder} holds none of the parsers. Give the folder of an unpacked wheel.")
    for package, (inner, theirs, names) in found.items():
        sys.meta_path.insert(0, Finder(package, folder, f"{inner}."))  # type: ignore[arg-type]
        here = folder.joinpath(*inner.split("."))
        compare(theirs, {key: name for key, name in names.items() if (here / f"{name.partition('.')[0]}.py").is_file()})
    sys.meta_path.insert(0, Finder("google", folder, "google.adk.models.gemma_llm"))  # type: ignore[arg-type]
    sys.path.insert(0, str(folder))
    compare(of_others, others)


if __name__ == "__main__":
    main()
