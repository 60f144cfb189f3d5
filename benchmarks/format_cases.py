"""Answers to BFCL's format sensitivity in the forms that its prompts ask for, right ones and malformed ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from official_cases import LISTS, MEANING, Call, python

Text = Callable[[str], str]
TYPES = {str: "string", bool: "boolean", int: "integer", float: "float", list: "array", dict: "dict"}
TAGS = {" tag": ("<TOOLCALL>", "</TOOLCALL>"), "": ("", "")}


def as_json(calls: list[Call]) -> str:
    """Calls as the prompts show them in JSON."""
    return f"```json\n{json.dumps([{'function': name, 'parameters': given} for name, given in calls])}\n```"


def _parameter(name: str, value: Any, verbose: bool) -> str:
    kind = TYPES.get(type(value), "null")
    text = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)
    if verbose:
        return f'<param name="{name}" value={quoteattr(text)} type="{kind}"/>'
    return f'<param name="{name}" type="{kind}">{escape(text)}</param>'


def _as_xml(calls: list[Call], verbose: bool) -> str:
    opened, closed = ("<params>", "</params>") if verbose else ("", "")
    written = (
        f'<function name="{name}">{opened}'
        f"{''.join(_parameter(key, value, verbose) for key, value in given.items())}{closed}</function>"
        for name, given in calls
    )
    return f"<functions>{''.join(written)}</functions>"


FORMS: dict[str, Callable[[list[Call]], str]] = {
    "python": python, "json": as_json,
    "verbose_xml": lambda calls: _as_xml(calls, True), "concise_xml": lambda calls: _as_xml(calls, False),
}  # fmt: skip

ANY: dict[str, Text] = {
    "words before": lambda text: f"Here it is: {text}",
    "words after": lambda text: f"{text}\nThis does it.",
    "brackets before": lambda text: f"As said in [1]: {text}",
    "brackets behind": lambda text: f"{text} See [2].",
    "white space around": lambda text: f"\n  {text} \n",
    "a fence": lambda text: f"```\n{text}\n```",
    "quotes around": lambda text: f"'{text}'",
    "thoughts before": lambda text: f"<think>\nWhich?\n</think>\n\n{text}",
    "a call in thoughts": lambda text: f"<think>\n{text}\n</think>",
    "twice": lambda text: f"{text}\n{text}",
    "no tag at the beginning": lambda text: text.replace("<TOOLCALL>", ""),
    "no tag at the end": lambda text: text.replace("</TOOLCALL>", ""),
    "tags around": lambda text: f"<TOOLCALL>\n{text}\n</TOOLCALL>",
    "tags in small letters": lambda text: text.replace("TOOLCALL>", "toolcall>"),
    "empty tags before": lambda text: f"<TOOLCALL></TOOLCALL>{text}",
    "the end missing": lambda text: text[:-12],
    "the beginning missing": lambda text: text[6:],
    "a null byte": lambda text: f"{text}\0",
    "no quotes": lambda text: text.replace('"', ""),
    "single quotes": lambda text: text.replace('"', "'"),
    "line feeds within": lambda text: text.replace(" ", "\n"),
    "words alone": lambda text: "None of these functions helps.",
    "nothing": lambda text: "",
    "an empty list": lambda text: "[]",
    "the request failed": lambda text: "Error during inference: 503",
}
"""Changes of an answer as a whole, in any of the forms."""

JSON: dict[str, Text] = {
    "no fence": lambda text: text.replace("```json\n", "").replace("\n```", ""),
    "name and arguments": lambda text: text.replace('"function"', '"name"').replace('"parameters"', '"arguments"'),
    "no parameters": lambda text: text.replace('"parameters"', '"given"'),
    "a key beside": lambda text: text.replace('{"function"', '{"id": 1, "function"'),
    "parameters as text": lambda text: text.replace('"parameters": {', '"parameters": "{'),
    "parameters a list": lambda text: re.sub(r'"parameters": \{[^{}]*\}', '"parameters": [1]', text),
    "parameters null": lambda text: re.sub(r'"parameters": \{[^{}]*\}', '"parameters": null', text),
    "parameters twice": lambda text: text.replace('"parameters"', '"parameters": {}, "parameters"'),
    "a function that is a number": lambda text: re.sub(r'"function": "[^"]*"', '"function": 5', text),
    "a function that is a list": lambda text: re.sub(r'"function": "[^"]*"', '"function": []', text),
    "an object alone": lambda text: text.replace("[{", "{", 1).replace("}]", "}"),
    "a list in the list": lambda text: text.replace("[{", "[[{", 1).replace("}]\n", "}]]\n"),
    "white space in the brackets": lambda text: text.replace("[{", "[ \n {", 1).replace("}]\n", "} \n ]\n"),
    "a text among calls": lambda text: text.replace("}]\n", '}, "and"]\n'),
    "a text before the calls": lambda text: text.replace("[{", '["first", {', 1),
    "a comma at the end": lambda text: text.replace("}]\n", "},]\n"),
    "no comma": lambda text: text.replace("}, {", "} {"),
    "an end in a text": lambda text: text.replace('": "', '": "}] ', 1),
    "a beginning in a text": lambda text: text.replace('": "', '": "[{ ', 1),
    "NaN": lambda text: text.replace(": 1", ": NaN").replace(": 2", ": -Infinity"),
    "a number of 5,000 digits": lambda text: re.sub(r": \d+", f": {'9' * 5000}", text),
    "a comment": lambda text: text.replace("}]\n", "} // done\n]\n"),
    "nested 2,000 deep": lambda text: f'[{{"function": "f", "parameters": {"[" * 2000}{"]" * 2000}}}]',
    "an object before": lambda text: f"{{}} {text}",
    "an empty object": lambda text: "[{}]",
    "a number": lambda text: "[5]",
    "null": lambda text: "[null]",
}
"""Changes of an answer in JSON."""

ENDS = "</function>"
XML: dict[str, Text] = {
    **{
        f"all of type {kind}": (lambda text, kind=kind: re.sub(r' type="\w+"', f' type="{kind}"', text))
        for kind in ("string", "integer", "float", "boolean", "array", "tuple", "object", "null", "any", "")
    },
    "no types": lambda text: re.sub(r' type="\w+"', "", text),
    "no names of parameters": lambda text: re.sub(r'<param name="[^"]*"', "<param", text),
    "no names of functions": lambda text: re.sub(r'<function name="[^"]*"', "<function", text),
    "no values": lambda text: re.sub(r' value="[^"]*"|(?<=>)[^<>]+(?=</param>)', "", text),
    "white space in values": lambda text: re.sub(r'value="|type="\w+">', lambda m: f"{m[0]} \n ", text),
    "a wrapper more": lambda text: re.sub(r"(<function [^>]*>)", r"\1<params>", text).replace(ENDS, f"</params>{ENDS}"),
    "no wrapper": lambda text: re.sub(r"</?params>", "", text),
    "an empty wrapper before": lambda text: re.sub(r"(<function [^>]*>)", r"\1<params/>", text),
    "words between": lambda text: text.replace("<function ", "so: <function "),
    "a comment": lambda text: text.replace("<function ", "<!-- a & b --><function "),
    "a section of letters": lambda text: re.sub(r">([^<>]+)</param>", r"><![CDATA[\1]]></param>", text),
    "an ampersand": lambda text: text.replace(" ", " & ", 1) if "&" not in text else text.replace("&amp;", "&"),
    "a tag in a value": lambda text: re.sub(r'value="|type="\w+">', lambda m: f"{m[0]}<b>x</b>", text),
    "escaped letters": lambda text: text.replace("e=", "e=").replace("a", "&#97;").replace("p&#97;r&#97;m", "param"),
    "an unknown entity": lambda text: text.replace("a", "&alpha;", 1),
    "single quotes around": lambda text: re.sub(r'="([^"\']*)"', r"='\1'", text),
    "tags in capitals": lambda text: text.replace("function", "FUNCTION"),
    "an attribute twice": lambda text: text.replace("<param ", '<param name="x" ', 1),
    "an attribute more": lambda text: text.replace("<param ", '<param required="true" '),
    "a parameter twice": lambda text: re.sub(r"(<param .*?(?:/>|</param>))", r"\1\1", text, count=1),
    "parameters without an end": lambda text: text.replace("/>", ">").replace("</param>", ""),
    "functions without an end": lambda text: text.replace("</function>", ""),
    "no outer tag": lambda text: text.replace("<functions>", "").replace("</functions>", ""),
    "the outer end missing": lambda text: text.replace("</functions>", ""),
    "two outer tags": lambda text: text.replace(f"{ENDS}<f", f"{ENDS}</functions><functions><f"),
    "an attribute of the outer tag": lambda text: text.replace("<functions>", '<functions n="1">'),
    "a declaration before": lambda text: f'<?xml version="1.0"?>\n{text}',
    "an entity declared before": lambda text: f'<!DOCTYPE f [<!ENTITY a "x">]>{text.replace("a", "&a;", 1)}',
    "one more level": lambda text: f"<functions>{text.replace('functions', 'call')}</functions>",
    "values as JSON": lambda text: text.replace("True", "true").replace("False", "false").replace("None", "null"),
    "a list without an end": lambda text: text.replace("]", ""),
    "a set": lambda text: re.sub(r"\[[^\]]*\]", "{1}", text),
    "a tuple": lambda text: text.replace("[", "(").replace("]", ")"),
    "a sum": lambda text: re.sub(r"(\[[^\]]*\])", r"\1 + [1]", text),
    "no functions": lambda text: "<functions></functions>",
    "no parameters": lambda text: re.sub(r"<function ([^>]*)>.*?</function>", r"<function \1/>", text),
    "JSON": lambda text: '```json\n[{"function": "f", "parameters": {}}]\n```',
}  # fmt: skip
"""Changes of an answer in XML."""


def ways(form: str) -> list[tuple[str, Callable[[list[Call]], Any]]]:
    """Every way of answering in a form, as `official_cases.kinds`.

    Args:
        form: a key of `FORMS`, with `` tag`` behind it where calls stand between tags.
    """
    word = form.removesuffix(" tag")
    opening, closing = TAGS[form[len(word) :]]
    write = FORMS[word]
    changes = {**ANY, **(LISTS if word == "python" else JSON if word == "json" else XML)}
    made: dict[str, Callable[[list[Call]], Any]] = {}
    for name, mean in MEANING.items():
        made[name] = lambda calls, mean=mean: f"{opening}{write(mean(calls))}{closing}"
    for name, change in changes.items():
        made[f"{name} (within)"] = lambda calls, change=change: f"{opening}{change(write(calls))}{closing}"
        if opening:
            made[f"{name} (whole)"] = lambda calls, change=change: change(f"{opening}{write(calls)}{closing}")
    made["no text"] = lambda calls: [{name: json.dumps(given)} for name, given in calls]
    made["null"] = lambda calls: None
    return list(made.items())
