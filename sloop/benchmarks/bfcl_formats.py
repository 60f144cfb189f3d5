"""BFCL's format sensitivity: the same 200 questions under 26 system prompts, each read in the form that it asks for.

A prompt is varied in five ways: the form of calls that it asks for, whether they stand between tags, the form in which
it lists the functions, its layout and its style. All 24 combinations of the first three are asked, and two more where
one of the last two is changed. What is scored is how far the accuracies under the 26 prompts lie apart: their standard
deviation, and the largest difference of two.

The sentences of the prompts are the leaderboard's. They are no part of sloop: they are read (nothing is run) from its
own ``constants/default_prompts.py``. A description ends twice with the sentence that names the language, as officially.

The rules are those of ``utils.py``, ``model_handler/utils.py`` and ``eval_checker/eval_runner.py`` of bfcl-eval
2026.3.23 (ShishirPatil/gorilla at 6ea57973).
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sloop.benchmarks.official import Entry, read_entries, read_object
from sloop.calls.readings import RETURNED
from sloop.records import Grade, Score, UserError
from sloop.store import is_file
from sloop.store.files import lines_of

SENSITIVITY = "format_sensitivity"
"""The category."""
PROMPTS = "default_prompts"
_NAMES = {
    "OUTPUT_FORMAT_MAPPING": 1, "PARAM_TYPE_MAPPING": 1, "PROMPT_STYLE_TEMPLATES": 2,
    "_PLAINTEXT_SYSTEM_PROMPT_TEMPLATE": 0, "_MARKDOWN_SYSTEM_PROMPT_TEMPLATE": 0,
}  # fmt: skip
"""What is read of the official file, and in how many objects its texts stand."""
_FIELD = re.compile(r"\{(\w+)\}")


class Variant(NamedTuple):
    """One of the prompts."""

    returned: str
    """The form of calls that it asks for."""
    tagged: bool
    """They stand between tags."""
    documented: str
    """The form in which functions are listed."""
    layout: str = "plaintext"
    style: str = "classic"

    @property
    def official(self) -> str:
        """The name that stands in the ids of its entries."""
        return (
            f"ret_fmt={self.returned}&tool_call_tag={self.tagged}&func_doc_fmt={self.documented}"
            f"&prompt_fmt={self.layout}&style={self.style}"
        )

    @property
    def slice(self) -> str:
        """Its name here, which stands behind the scores of its answers."""
        parts = [SENSITIVITY, self.returned, *["tag"] * self.tagged, f"{self.documented}_functions"]
        usual = type(self)._field_defaults
        return "_".join([*parts, *(part for part in (self.layout, self.style) if part not in usual.values())])

    @property
    def reading(self) -> str:
        """How an answer to it is read: a key of `sloop.calls.readings.BFCL`."""
        return f"prompting {self.returned}{' tag' * self.tagged}"


VARIANTS = (
    *(
        Variant(returned, tagged, documented)
        for returned in RETURNED
        for tagged in (True, False)
        for documented in ("python", "xml", "json")
    ),
    Variant("python", tagged=False, documented="json", layout="markdown"),
    Variant("python", tagged=False, documented="json", style="experimental"),
)
"""In the leaderboard's order."""


def varied_entries(folder: Path, digests: dict[str, str], hint: str) -> list[Entry]:
    """Every question under every prompt, in the official order.

    Args:
        folder: with the official files.
        digests: takes the SHA-256 of each file's lines.
        hint: what a description says of the language.

    Returns:
        The entries with their answers, and beside them ``variant``, ``of`` (the id without the variant), ``category``
        and ``prompt``.

    Raises:
        UserError: a file is missing, or not of the official form.
    """
    listed = read_object(folder, f"BFCL_v4_{SENSITIVITY}", digests)
    if not all(isinstance(ids, list) and all(isinstance(one, str) for one in ids) for ids in listed.values()):
        raise UserError(f"{folder}: BFCL_v4_{SENSITIVITY} lists no ids by category. Take the official file.")
    prompts = _prompts(folder, digests)
    asked = [
        {**entry, "of": entry["id"], "category": category}
        for category, ids in listed.items()
        for entry in read_entries(folder, f"BFCL_v4_{category}", digests)
        if entry["id"] in set(ids)
    ]
    found: list[Entry] = []
    for entry in asked:
        told = [{**one, "description": f"{one.get('description', '')}{hint}{hint}"} for one in entry["function"]]
        documented = {name: write(told) for name, write in LISTED.items()}
        for variant in VARIANTS:
            known_as = f"{SENSITIVITY}_{len(found)}:{variant.official}:{entry['of']}"
            prompt = _prompt(prompts, variant, documented[variant.documented])
            found.append({**entry, "id": known_as, "variant": variant, "prompt": prompt})
    return found


def prompted(entry: Entry) -> list[dict[str, str]]:
    """The messages of an entry under its prompt, which stands before what its own system message says."""
    (turn,) = entry["question"]
    own = turn[:1] if turn[0]["role"] == "system" else []
    first = "\n\n".join([entry["prompt"], *(message["content"] for message in own)])
    return [{"role": "system", "content": first}, *turn[len(own) :]]


def spread_scores(graded: Iterable[Grade]) -> list[Score]:
    """``official_format_std`` and ``official_format_max_delta`` of the accuracies under the prompts, as shares of 1."""
    right: dict[str, list[bool]] = {}
    for grade in graded:
        if grade.official is not None:
            right.setdefault(grade.slice, []).append(grade.official)
    shares = [sum(each) / len(each) for each in right.values()]
    many = len(shares) > 1
    figures = {
        "official_format_std": statistics.stdev(shares) if many else 0.0,
        "official_format_max_delta": max(shares) - min(shares) if many else 0.0,
    }
    return [Score(name=name, value=value if shares else None, n=len(shares)) for name, value in figures.items()]


# --- the prompts --------------------------------------------------------------------------------------------------


def _prompts(folder: Path, digests: dict[str, str]) -> dict[str, Any]:
    """The official texts by the names of the official file, which is read as data."""
    places = (folder.parent / "constants" / f"{PROMPTS}.py", folder / f"{PROMPTS}.py")
    path = next(filter(is_file, places), None)
    if path is None:
        raise UserError(
            f"{folder}: no {PROMPTS}.py, whose prompts {SENSITIVITY} asks. It is constants/{PROMPTS}.py of bfcl-eval "
            f"2026.3.23: copy it into that folder, or leave {SENSITIVITY} out of benchmark.categories."
        )
    text = "\n".join(line for _, line in lines_of(path))
    digests[PROMPTS] = hashlib.sha256(text.encode()).hexdigest()
    found: dict[str, Any] = {}
    try:
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and isinstance(name := node.targets[0], ast.Name) and name.id in _NAMES:
                found[name.id] = ast.literal_eval(node.value)
        lacking = [name for name, depth in _NAMES.items() if not _are_texts(found.get(name), depth)]
    except (MemoryError, RecursionError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: no file of prompts: {error}. Take the official file.") from error
    if lacking:
        raise UserError(f"{path}: no texts under {lacking[0]}. Take the official file.")
    return found


def _are_texts(value: Any, depth: int) -> bool:
    if depth == 0:
        return isinstance(value, str)
    return isinstance(value, dict) and all(_are_texts(part, depth - 1) for part in value.values())


def _prompt(texts: Mapping[str, Any], variant: Variant, documented: str) -> str:
    try:
        style = texts["PROMPT_STYLE_TEMPLATES"][variant.style]
        asked = {
            "output_format": texts["OUTPUT_FORMAT_MAPPING"][variant.returned],
            "param_types": texts["PARAM_TYPE_MAPPING"][variant.returned],
        }
        parts = {
            **style,
            "tool_call_format": _filled(style["tool_call_with_tag" if variant.tagged else "tool_call_no_tag"], asked),
            "available_tools": _filled(
                style["available_tools"], {"format": variant.documented, "functions": documented}
            ),
        }
        return _filled(texts[f"_{variant.layout.upper()}_SYSTEM_PROMPT_TEMPLATE"], parts)
    except KeyError as error:
        raise UserError(f"{PROMPTS}.py has no text for {error}. Take the official file.") from error


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: values[found[1]], template)


# --- functions as prompts list them -------------------------------------------------------------------------------


def _as_xml(functions: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(
        f'<function name="{function["name"]}">\n  <desc>{function["description"]}</desc>\n  <params>\n'
        f"{_xml_parameters(function['parameters'], 4)}  </params>\n</function>\n"
        for function in functions
    )


def _xml_parameters(schema: Mapping[str, Any], indent: int) -> str:
    """The parameters of an object; without a list of those that are required, all are."""
    required, pad, lines = schema.get("required"), " " * indent, []
    for name, part in schema.get("properties", {}).items():
        kind = part.get("type", "string")
        if "type" in part.get("items", {}):
            kind = f"{kind}[{part['items']['type']}]"
        elif "additionalProperties" in part:
            kind = f"{kind}[{part['additionalProperties'].get('type', 'string')}]"
        wanted = str(required is None or name in required).lower()
        opened = f'<param name="{name}" type="{kind}" required="{wanted}"'
        if "default" in part:
            opened += f' default="{part["default"]!r}"'
        lines += [f"{pad}{opened.replace(',', '')}>", f"{pad}  <desc>{_description(part)}</desc>"]
        if "properties" in part:
            lines.append(f"{pad}  <params>\n{_xml_parameters(part, indent + 4)}{pad}  </params>")
        lines.append(f"{pad}</param>")
    return "".join(f"{line}\n" for line in lines)


def _as_python(functions: Sequence[Mapping[str, Any]]) -> str:
    blocks = []
    for function in functions:
        lines = [f"# Function: {function['name']}", '    """', f"    {function['description']}", ""]
        if function["parameters"].get("properties"):
            lines += ["    Args:", *_python_parameters(function["parameters"], 8)]
        blocks += ["\n".join([*lines, '    """', ""]), "\n"]
    return "\n\n".join(blocks)


def _python_parameters(schema: Mapping[str, Any], indent: int) -> list[str]:
    lines = []
    for name, part in schema["properties"].items():
        default = f", default={part['default']!r}" if "default" in part else ""
        lines.append(f"{' ' * indent}{name} ({_python_type(part)}{default}): {_description(part)}")
        if "properties" in part:
            lines += _python_parameters(part, indent + 4)
    return lines


def _python_type(schema: Mapping[str, Any]) -> str:
    kind: str = schema.get("type", "string")
    if kind in ("array", "list", "tuple") and "items" in schema:
        return f"list[{_python_type(schema['items'])}]"
    if kind in ("object", "dict"):
        inner = schema.get("additionalProperties")
        return "dict" if inner is None else f"dict[str, {_python_type(inner)}]"
    return {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}.get(kind, kind)


def _description(schema: Mapping[str, Any]) -> str:
    told = str(schema.get("description", ""))
    return f"{told} Enum values: {schema['enum']}." if "enum" in schema else told


LISTED: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {
    "python": _as_python, "xml": _as_xml, "json": partial(json.dumps, indent=4),
}  # fmt: skip
"""By the name of the form: a list of functions as a prompt shows it."""
