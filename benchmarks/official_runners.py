"""The official evaluators of BFCL and ACEBench, run on files of results: every entry's verdict, and their tables.

They stop at the first answer that their checkers raise on; here whatever is raised is that answer's verdict.
"""

from __future__ import annotations

import csv
import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

Verdict = tuple[bool, str | None]
MODES = {"fc": (True, True), "qwen_fc": (True, False), "prompting": (False, False)}
"""By reading: is_fc_model and underscore_to_dot of the models that it is of."""

SPREAD = ("accuracy_max_delta", "accuracy_std")
"""What a file of scores says of how far its formats lie apart."""


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules for what the official handlers import and, where it is absent here, do not use to decode."""

    NAMES = (
        "overrides", "tenacity", "tree_sitter", "tree_sitter_java", "tree_sitter_javascript", "rank_bm25", "mpmath",
        "faiss", "sentence_transformers", "filelock", "dotenv", "html2text", "serpapi", "tqdm", "openpyxl", "bs4",
        "datamodel_code_generator", "anthropic",
    )  # fmt: skip

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in self.NAMES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        class Empty(ModuleType):
            def __getattr__(self, name: str) -> Any:
                if name.startswith("__"):
                    raise AttributeError(name)
                return _anything

        return Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Anything:
    def __call__(self, *given: Any, **_: Any) -> Any:
        return given[0] if len(given) == 1 and callable(given[0]) else self  # a decorator gives its function back

    def __getattr__(self, name: str) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Any:
        return iter(())

    def __mro_entries__(self, bases: Any) -> Any:
        return ()


_anything = _Anything()


def bfcl_handler(mode: str) -> Any:
    """BFCL's handler of a mode (`MODES`), known to its registry of models by the mode's name without ``_``.

    Raises:
        ImportError: it is not installed (``pip install --no-deps bfcl-eval==2026.3.23``).
    """
    sys.meta_path.append(_Absent())
    sys.modules["tqdm"] = ModuleType("tqdm")
    sys.modules["tqdm"].__dict__["tqdm"] = lambda rows, **_: rows
    native, underscores = MODES[mode]
    known = SimpleNamespace(
        underscore_to_dot=underscores,
        display_name=mode,
        input_price=None,
        output_price=None,
        org="",
        license="",
        url="",
    )
    registry = ModuleType("bfcl_eval.constants.model_config")
    registry.__dict__["MODEL_CONFIG_MAPPING"] = {mode.replace("_", ""): known}
    sys.modules[registry.__name__] = registry
    from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler
    from bfcl_eval.model_handler.local_inference.qwen_fc import QwenFCHandler

    handler = object.__new__(QwenFCHandler if mode == "qwen_fc" else OpenAICompletionsHandler)
    handler.is_fc_model = native
    return handler


def bfcl_decoded(mode: str, results: Sequence[Any]) -> list[str | None]:
    """Results as the handler of a mode decodes them, by their `repr`; None where it raises.

    Args:
        mode: a key of `MODES`; with the word for a language or form behind it where that is not Python's, and ``tag``
            where calls stand between tags.
        results: to be decoded.
    """
    mode, *words = mode.split(" ")
    tagged, word = "tag" in words, next(iter(words), "python")
    handler = bfcl_handler(mode)
    from bfcl_eval.constants.enums import ReturnFormat

    form = ReturnFormat[word.upper()]
    found: list[str | None] = []
    for result in results:
        try:
            found.append(repr(handler.decode_ast(result, form, tagged)))
        except Exception:
            found.append(None)
    return found


def bfcl_verdicts(mode: str, results: Path, scores: Path) -> tuple[dict[str, Verdict], dict[str, str]]:
    """BFCL's own runner on a folder with ``<model>/BFCL_v4_*_result.json``.

    Args:
        mode: a key of `MODES`.
        results: the folder; its one subfolder is called as the mode, without ``_``.
        scores: takes the runner's files.

    Returns:
        Verdicts by id (of the entries with an answer), and the columns of its tables.
    """
    os.environ["BFCL_PROJECT_ROOT"] = str(scores.parent)
    handler = bfcl_handler(mode)
    from bfcl_eval.eval_checker import eval_runner

    eval_runner.__dict__["get_handler"] = lambda name: handler
    checked = eval_runner._evaluate_single_ast_entry

    def guarded(handler: Any, index: Any, *rest: Any, **named: Any) -> Any:
        try:
            return checked(handler, index, *rest, **named)
        except Exception as error:
            return {"id": index, "valid": False, "error": [], "error_type": f"exception:{type(error).__name__}"}

    eval_runner.__dict__["_evaluate_single_ast_entry"] = guarded
    answered = [json.loads(line)["id"] for file in sorted(results.rglob("*.json")) for line in file.open()]
    categories = [file.name.removeprefix("BFCL_v4_").removesuffix("_result.json") for file in results.rglob("*.json")]
    with redirect_stdout(None):
        eval_runner.runner(None, categories, results, scores, allow_missing=True)
    wrong: dict[str, str | None] = {}
    columns = {}
    for file in scores.rglob("*_score.json"):
        header, *rows = map(json.loads, file.open())
        found = [row.get("error_type") or row["error"].get("error_type") for row in rows]
        wrong |= dict(zip([row["id"] for row in rows], found, strict=True))
        name = file.name.removeprefix("BFCL_v4_").removesuffix("_score.json")
        columns[name] = f"{header['accuracy']:.2%}"
        columns |= {f"{name}/{key}": str(header[key]) for key in SPREAD if key in header}
        columns |= {key: f"{part['accuracy']:.2%}" for key, part in header.items() if isinstance(part, dict)}
    verdicts = {one: (one not in wrong, wrong.get(one)) for one in answered}
    for file in sorted(scores.glob("data_*.csv")):
        with open(file, encoding="utf-8") as lines:
            columns |= {f"{file.stem}/{key}": value for key, value in next(csv.DictReader(lines)).items()}
    return verdicts, columns


def bfcl_each(mode: str, rows: Sequence[tuple[str, Any, Any]]) -> list[Verdict]:
    """The verdict of BFCL's runner on each of many answers.

    Args:
        mode: a key of `MODES`.
        rows: category, entry with its answers, and result.
    """
    handler, registered = bfcl_handler(mode), mode.replace("_", "")
    from bfcl_eval.constants.enums import Language, ReturnFormat
    from bfcl_eval.eval_checker.eval_runner import _evaluate_single_ast_entry

    found: list[Verdict] = []
    with redirect_stdout(None):
        for category, entry, result in rows:
            word = category.removeprefix("simple_").upper()
            given = (entry["id"], result, entry["ground_truth"], entry, registered, category)
            try:
                row = _evaluate_single_ast_entry(handler, *given, Language[word], ReturnFormat[word])
            except Exception as error:
                row = {"valid": False, "error_type": f"exception:{type(error).__name__}"}
            found.append((row["valid"], row.get("error_type")))
    return found


def bfcl_multi_turn_verdicts(mode: str, rows: Sequence[tuple[Any, Any, Any]]) -> tuple[list[Verdict], float]:
    """The verdict of BFCL's runner on each of many multi-turn answers, and the CPU seconds of all.

    It keeps what it has simulated under the model's name, so that every answer is one of another model here.

    Args:
        mode: a key of `MODES`.
        rows: entry, gold calls and result.
    """
    handler = bfcl_handler(mode)
    from bfcl_eval.eval_checker.eval_runner import _evaluate_single_multi_turn_entry
    from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils

    found: list[Verdict] = []
    began = time.process_time()
    with redirect_stdout(None):
        for number, (entry, gold, result) in enumerate(rows):
            category = entry["id"].rpartition("_")[0]
            given = (entry["id"], result, gold, dict(entry), f"m{number}", category)
            try:
                row = _evaluate_single_multi_turn_entry(handler, *given)
                found.append((row["valid"], None if row["valid"] else row["error"]["error_type"]))
            except Exception as error:
                found.append((False, f"exception:{type(error).__name__}"))
            for name in [name for name in vars(multi_turn_utils) if name.endswith("_instance")]:
                del vars(multi_turn_utils)[name]
    return found, time.process_time() - began


def bfcl_dialogues(category: str, scripts: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """What BFCL's own loop for models with native calls asks, by entry: messages and tools at every step, as JSON.

    Args:
        category: whose entries these are.
        scripts: by entry, what the model answers at each step: a text, or ``[(name, arguments), ...]``.
    """
    os.environ["TZ"] = "UTC"  # some results hold local times
    time.tzset()
    handler = bfcl_handler("fc")
    from bfcl_eval.constants.enums import ModelStyle
    from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils
    from bfcl_eval.utils import load_dataset_entry

    handler.registry_name, handler.model_name_underline_replaced = "m-FC", "m"
    handler.model_style = ModelStyle.FIREWORK_AI  # OpenAI's form, a function's response in its description
    seen: dict[str, list[str]] = {}

    def query(data: dict[str, Any]) -> tuple[Any, float]:
        messages = [[message["role"], message["content"]] for message in data["message"]]
        asked.append(json.dumps([messages, [tool["function"] for tool in data["tools"]]]))
        return next(script), 0.0

    def parse(said: Any) -> dict[str, Any]:
        called = not isinstance(said, str)
        return {
            "model_responses": [{name: json.dumps(given)} for name, given in said] if called else said,
            "model_responses_message_for_chat_history": {"role": "assistant", "content": "" if called else said},
            "tool_call_ids": [None] * len(said),
            "input_token": 0,
            "output_token": 0,
        }

    handler._query_FC, handler._parse_query_response_FC = query, parse
    with redirect_stdout(None):
        for entry in load_dataset_entry(category):
            if entry["id"] in scripts:
                script, asked = iter(scripts[entry["id"]]), seen.setdefault(entry["id"], [])
                handler.inference_multi_turn_FC(entry, False, True)
            for name in [name for name in vars(multi_turn_utils) if name.endswith("_instance")]:
                del vars(multi_turn_utils)[name]
    return seen


def bfcl_prompts() -> dict[str, list[list[str]]]:
    """The messages of format sensitivity as BFCL's handlers send them, (role, content), by the entry's id."""
    bfcl_handler("prompting")
    from bfcl_eval.model_handler.utils import system_prompt_pre_processing_chat_model
    from bfcl_eval.utils import load_dataset_entry

    return {
        entry["id"]: [
            [message["role"], message["content"]]
            for message in system_prompt_pre_processing_chat_model(entry["question"][0], entry["function"], entry["id"])
        ]
        for entry in load_dataset_entry("format_sensitivity")
    }


def acebench_verdicts(
    clone: Path, work: Path, rows: Mapping[str, Sequence[tuple[str, Any]]]
) -> tuple[dict[str, Verdict], dict[str, str]]:
    """ACEBench's own ``eval_main.py`` on results by category, each (id, result).

    Args:
        clone: of chenchen0103/ACEBench.
        work: a folder for its files.
        rows: every row of every category, in the order of the data.

    Returns:
        Verdicts by id, and the columns of its tables and each category's ``accuracy`` and ``process_accuracy``.
    """
    for name in ("eval_main.py", "category.py", "model_eval", "model_inference", "data_all"):
        (work / name).symlink_to(clone.resolve() / name)
    (work / "result_all" / "result_en" / "m").mkdir(parents=True)
    (work / "score_all" / "score_en" / "m").mkdir(parents=True)
    for category, results in rows.items():
        lines = (json.dumps({"id": one, "result": result}) for one, result in results)
        (work / "result_all" / "result_en" / "m" / f"data_{category}_result.json").write_text("\n".join(lines))
    os.chdir(work)
    sys.path.insert(0, str(work))
    sys.meta_path.append(_Absent())
    import eval_main
    from model_eval import evaluation_helper

    def guarded(check: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*given: Any) -> Any:
            try:
                return check(*given)
            except Exception as error:
                return {"valid": False, "error": [], "error_type": f"exception:{type(error).__name__}"}

        return checked

    eval_main.__dict__["normal_checker"] = guarded(eval_main.normal_checker)
    eval_main.__dict__["convert_result_to_excel"] = lambda *_: None  # its files are for reading alone
    paths = eval_main.get_paths("en")
    eval_main.__dict__.update(paths)
    table: dict[tuple[int, int], Any] = {}

    class Sheet:
        def __init__(self) -> None:
            self.active = self

        def cell(self, row: int, column: int, value: Any) -> Any:
            table[row, column] = value
            return SimpleNamespace()

        def save(self, path: str) -> None:
            pass

    evaluation_helper.__dict__["Workbook"] = Sheet
    with redirect_stdout(None):
        eval_main.runner(["m"], list(rows), paths)
    verdicts: dict[str, Verdict] = {}
    columns = {str(name): str(table[2, column]) for (row, column), name in table.items() if row == 1}
    for category, results in rows.items():
        text = (work / "score_all" / "score_en" / "m" / f"data_{category}_score.json").read_text()
        header, *wrong = map(json.loads, text.splitlines())
        errors = {row["id"]: row["error_type"] for row in wrong}
        verdicts |= {one: (one not in errors, errors.get(one)) for one, _ in results}
        columns |= {f"{category}/{key}": str(header[key]) for key in ("accuracy", "process_accuracy") if key in header}
    return verdicts, columns


if __name__ == "__main__":  # for the tests: prompts, or of results on standard input what is decoded
    print(json.dumps(bfcl_decoded(sys.argv[1], json.load(sys.stdin)) if sys.argv[1:] else bfcl_prompts()))
