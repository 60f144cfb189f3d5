"""Answers to BFCL and ACEBench, right ones and ones that are wrong or malformed in many ways, by form."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

Call = tuple[str, dict[str, Any]]
Change = Callable[[Any], Any]


def _first(change: Change) -> Callable[[list[Call]], list[Call]]:
    """A change of the first argument's value of the first call that has one."""

    def changed(calls: list[Call]) -> list[Call]:
        for _, given in calls:
            for key in given:
                given[key] = change(given[key])
                return calls
        return calls

    return changed


def _arguments(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[list[Call]], list[Call]]:
    return lambda calls: [(name, change(given)) for name, given in calls]


def _leaves(change: Change) -> Callable[[list[Call]], list[Call]]:
    """A change of every value that is no list and no object."""

    def deep(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: deep(item) for key, item in value.items()}
        return [deep(item) for item in value] if isinstance(value, list) else change(value)

    return _arguments(lambda given: {key: deep(item) for key, item in given.items()})


MEANING: dict[str, Callable[[list[Call]], list[Call]]] = {
    "right": lambda calls: calls,
    "no call": lambda calls: [],
    "last call missing": lambda calls: calls[:-1],
    "a call twice": lambda calls: [*calls, *calls[:1]],
    "calls reversed": lambda calls: calls[::-1],
    "unknown function": lambda calls: [(f"{name}_x", given) for name, given in calls],
    "dots for underscores": lambda calls: [(name.replace("_", "."), given) for name, given in calls],
    "underscores for dots": lambda calls: [(name.replace(".", "_"), given) for name, given in calls],
    "name in capitals": lambda calls: [(name.upper(), given) for name, given in calls],
    "arguments reversed": _arguments(lambda given: dict(reversed(given.items()))),
    "first argument missing": _arguments(lambda given: dict(list(given.items())[1:])),
    "last argument missing": _arguments(lambda given: dict(list(given.items())[:-1])),
    "another argument": _arguments(lambda given: {**given, "made_up": 1}),
    "no arguments": _arguments(lambda given: {}),
    "null": _first(lambda value: None),
    "an empty text": _first(lambda value: ""),
    "a list around": _first(lambda value: [value]),
    "the value as text": _first(lambda value: value if isinstance(value, str) else json.dumps(value)),
    "a list reversed": _first(lambda value: value[::-1] if isinstance(value, list) else value),
    "a number more": _first(lambda value: value + 1 if isinstance(value, int | float) else value),
    "an object in it": _first(lambda value: {"value": value}),
    "whole numbers as floats": _leaves(lambda value: float(value) if type(value) is int else value),
    "floats as whole numbers": _leaves(lambda value: int(value) if type(value) is float else value),
    "booleans as numbers": _leaves(lambda value: int(value) if type(value) is bool else value),
    "texts in capitals": _leaves(lambda value: value.upper() if isinstance(value, str) else value),
    "texts with marks": _leaves(lambda value: f" {value}." if isinstance(value, str) else value),
    "texts with a line feed": _leaves(lambda value: f"{value}\n" if isinstance(value, str) else value),
    "texts with other quotes": _leaves(lambda value: f"it's {value}" if isinstance(value, str) else value),
}
"""Changes of what is called, which every form can write."""

ARGUMENTS: dict[str, Callable[[str], Any]] = {
    "a key twice": lambda text: text[:-1] + (", " if text != "{}" else "") + '"made_up": 1, "made_up": 2}',
    "the first key again": lambda text: "{" + text[1:-1] + (", " if text != "{}" else "") + text[1:-1] + "}",
    "NaN": lambda text: text[:-1] + (", " if text != "{}" else "") + '"n": NaN}',
    "Infinity for a number": lambda text: text.replace(": 5", ": Infinity").replace(": 1", ": -Infinity"),
    "arguments empty": lambda text: "",
    "arguments of white space": lambda text: " \n",
    "white space around": lambda text: f"\n {text}\t",
    "arguments null": lambda text: "null",
    "arguments a list": lambda text: f"[{text}]",
    "arguments an empty list": lambda text: "[]",
    "arguments a number": lambda text: "5",
    "arguments an object": json.loads,
    "arguments as text in text": json.dumps,
    "arguments cut off": lambda text: text[:-1],
    "one bracket too many": lambda text: text + "}",
    "a comma at the end": lambda text: f"{text[:-1]},}}",
    "single quotes": lambda text: repr(json.loads(text)),
    "a comment": lambda text: text + " // as asked",
    "words before": lambda text: f"Here: {text}",
    "a byte order mark": lambda text: f"\ufeff{text}",
    "a line feed in a text": lambda text: text.replace(" ", "\n"),
    "a number beyond floats": lambda text: text.replace(": 1", ": 1e999").replace(": 5", ": 1e999"),
    "a number of 400 digits": lambda text: text.replace(": 1", f": 1{'0' * 399}").replace(": 2", f": 2{'0' * 399}"),
    "escaped letters": lambda text: text.replace("e", "\\u0065"),
    "an unknown escape": lambda text: text.replace("e", "\\e", 1),
    "nested 2,000 deep": lambda text: '{"a": ' + "[" * 2000 + "]" * 2000 + "}",
}
"""Changes of the text of a call's arguments, in JSON."""

HANDED: dict[str, Callable[[list[Any]], Any]] = {
    "words in place of calls": lambda calls: "None of these functions helps.",
    "calls leaked into the text": lambda calls: qwen(_again(calls)),
    "calls as a text of JSON": lambda calls: json.dumps(calls),
    "an empty text in place of calls": lambda calls: "",
    "null in place of calls": lambda calls: None,
    "an object in place of a list": lambda calls: calls[0] if calls else {},
    "a list in the list": lambda calls: [calls],
    "an object of two names": lambda calls: [{**call, "other": "{}"} for call in calls],
    "an empty object": lambda calls: [*calls, {}],
    "a text among calls": lambda calls: [*calls, "and"],
    "an empty name": lambda calls: [{"": given} for call in calls for given in call.values()],
    "the request failed": lambda calls: "Error during inference: 503",
}
"""Changes of calls that were handed over apart, ``[{name: arguments}]``."""

BLOCKS: dict[str, Callable[[str], str]] = {
    "no line feed after the tag": lambda text: text.replace("<tool_call>\n", "<tool_call>"),
    "no line feed before the end": lambda text: text.replace("\n</tool_call>", "</tool_call>"),
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "the end missing": lambda text: text.removesuffix("</tool_call>"),
    "the beginning missing": lambda text: text.removeprefix("<tool_call>\n"),
    "a broken block before": lambda text: '<tool_call>\n{"name": "f", "arguments": {\n</tool_call>\n' + text,
    "a broken block after": lambda text: text + '\n<tool_call>\n{"name": "f", "argum\n</tool_call>',
    "a block of words": lambda text: text + "\n<tool_call>\nnone\n</tool_call>",
    "a block of a number": lambda text: text + "\n<tool_call>\n5\n</tool_call>",
    "a block of a list": lambda text: text.replace('{"name"', '[{"name"', 1).replace(
        "\n</tool_call>", "]\n</tool_call>", 1
    ),
    "a block of two": lambda text: text.replace("\n</tool_call>\n<tool_call>\n", "\n"),
    "an empty block": lambda text: text + "\n<tool_call>\n\n</tool_call>",
    "a block opened and never closed": lambda text: "<tool_call>\n" + text,
    "words around": lambda text: f"Of course.\n{text}\nDone.",
    "a fence": lambda text: f"```json\n{text}\n```",
    "tags in capitals": lambda text: text.replace("tool_call", "TOOL_CALL"),
    "no tags": lambda text: text.replace("<tool_call>\n", "").replace("\n</tool_call>", ""),
    "parameters for arguments": lambda text: text.replace('"arguments"', '"parameters"'),
    "function for name": lambda text: text.replace('"name"', '"function"', 1),
    "a name that is a list": lambda text: text.replace('{"name": "', '{"name": ["x"], "n": "', 1),
    "a name that is a number": lambda text: text.replace('{"name": "', '{"name": 5, "n": "', 1),
    "a key beside": lambda text: text.replace('{"name"', '{"id": "1", "name"'),
    "thoughts before": lambda text: f"<think>\nWhich?\n</think>\n\n{text}",
    "a call in thoughts": lambda text: f"<think>\n{text}\n</think>\nNothing to do.",
    "words alone": lambda text: "None of these functions helps.",
    "nothing": lambda text: "",
    "the request failed": lambda text: "Error during inference: 503",
}
"""Changes of Hermes blocks as a whole."""

VALUES: dict[str, Callable[[str], str]] = {
    "a tuple": lambda text: f"tuple({text})" if text[:1] not in "[" else f"({text[1:-1]},)",
    "a tuple of one": lambda text: f"({text},)",
    "a set": lambda text: f"{{{text}}}",
    "in brackets": lambda text: f"({text})",
    "a bare word": lambda text: "true",
    "a sum": lambda text: f"{text} + 0",
    "a product": lambda text: f"{text} * 1",
    "a power": lambda text: f"{text} ** 1",
    "a sum of texts": lambda text: f"{text} + ''",
    "a sum with a name": lambda text: f"{text} + n",
    "a sign": lambda text: f"+{text}",
    "two signs": lambda text: f"--{text}",
    "not": lambda text: f"not {text}",
    "a call without keywords": lambda text: f"get({text})",
    "a call with keywords": lambda text: f"get(x={text})",
    "an element": lambda text: "names[0]",
    "an attribute": lambda text: "user.name",
    "a lambda": lambda text: f"lambda: {text}",
    "a formatted text": lambda text: f"f{text}" if text[:1] in "'\"" else f"f'{text}'",
    "bytes": lambda text: f"b{text}" if text[:1] in "'\"" and text.isascii() else text,
    "a choice": lambda text: f"{text} if 1 else 0",
    "a comparison": lambda text: f"{text} == 1",
    "an ellipsis": lambda text: "...",
    "a complex number": lambda text: "5j",
    "a number beyond floats": lambda text: "1e999",
    "an unknown escape": lambda text: "'\\d'",
    "a line feed in a text": lambda text: text.replace(" ", "\n"),
    "three quotes": lambda text: f"''{text}''",
    "a comment": lambda text: f"{text}  # as asked\n",
    "nested 300 deep": lambda text: "(" * 300 + text + ")" * 300,
    "parts of a text": lambda text: f"{text} 'x'",
    "a starred value": lambda text: f"*{text}",
    "an assignment": lambda text: f"(n := {text})",
    "a comprehension": lambda text: f"[n for n in {text}]",
}
"""Changes of the first value in Python's form."""

LISTS: dict[str, Callable[[str], str]] = {
    "no brackets": lambda text: text[1:-1],
    "the end missing": lambda text: text[:-1],
    "the beginning missing": lambda text: text[1:],
    "a list in the list": lambda text: f"[{text}]",
    "round brackets": lambda text: f"({text[1:-1]},)",
    "curly brackets": lambda text: f"{{{text[1:-1]}}}",
    "a comma at the end": lambda text: f"{text[:-1]},]",
    "a semicolon": lambda text: text.replace("), ", "); "),
    "a fence": lambda text: f"```\n{text}\n```",
    "a fence of python": lambda text: f"```python\n{text}\n```",
    "backquotes": lambda text: f"`{text}`",
    "quotes around": lambda text: f"'{text}'",
    "double quotes around": lambda text: f'"{text}"',
    "words before": lambda text: f"Here it is: {text}",
    "words after": lambda text: f"{text}\nThis does it.",
    "a bracket before": lambda text: f"Sure (see 1]): {text}",
    "a list before": lambda text: f"[1] {text}",
    "positional arguments": lambda text: text.replace("(", "('x', ", 1).replace(", )", ")"),
    "an argument twice": lambda text: text.replace(")", ", made_up=1, made_up=2)", 1).replace("(, ", "("),
    "starred arguments": lambda text: text.replace(")", ", **more)", 1).replace("(, ", "("),
    "starred positions": lambda text: text.replace("(", "(*more, ", 1).replace(", )", ")"),
    "a keyword as a key": lambda text: text.replace(")", ", from=1)", 1).replace("(, ", "("),
    "a call of a call": lambda text: text.replace(")]", ")()]"),
    "a method of a call": lambda text: text.replace(")]", ").run()]"),
    "an element that is called": lambda text: text.replace("[", "[tools[0].", 1),
    "print around": lambda text: f"print({text})",
    "an assignment": lambda text: f"calls = {text}",
    "two lists": lambda text: f"{text}\n{text}",
    "two lists added": lambda text: f"{text} + {text}",
    "the first of a list": lambda text: f"{text}[0]",
    "a text among calls": lambda text: f"{text[:-1]}, 'and']",
    "calls as texts": lambda text: json.dumps([text[1:-1]]),
    "an empty list": lambda text: "[]",
    "a list of an empty list": lambda text: "[[]]",
    "None": lambda text: "None",
    "words alone": lambda text: "None of these functions helps.",
    "nothing": lambda text: "",
    "JSON": lambda text: json.dumps([{"name": text[1:].partition("(")[0], "arguments": {}}]),
    "Hermes blocks": lambda text: '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
    "thoughts before": lambda text: f"<think>\nWhich?\n</think>\n\n{text}",
    "a call in thoughts": lambda text: f"<think>\n{text}\n</think>",
    "line feeds within": lambda text: text.replace(", ", ",\n    "),
    "a full-width comma": lambda text: text.replace(", ", "\uff0c"),
    "spaces before the brackets": lambda text: text.replace("(", " ("),
    "a null byte": lambda text: f"{text}\0",
    "the request failed": lambda text: "Error during inference: 503",
}
"""Changes of a list in Python's form as a whole."""


WORDS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: f"Sorry. {text}",
    lambda text: f'["{text}"]',
    lambda text: text.lower(),
    lambda text: text[:-12],
    lambda text: text[12:],
    lambda text: "[f(x=1)]",
)
"""Changes of the words that a special row of ACEBench wants."""


EXPRESSIONS: dict[str, Change] = {
    "another suffix L": lambda text: f"{text}L",
    "another suffix f": lambda text: f"{text}f",
    "another suffix n": lambda text: f"{text}n",
    "no suffix": lambda text: text.rstrip("LfFn"),
    "a fraction": lambda text: f"{text}.0",
    "an exponent": lambda text: f"{text}e0",
    "a sign": lambda text: f"-{text}",
    "a capital": lambda text: text.capitalize(),
    "in double quotes": lambda text: f'"{text}"',
    "in single quotes": lambda text: f"'{text}'",
    "without quotes": lambda text: re.sub("[\"']", "", text),
    "the other quotes": lambda text: text.translate(str.maketrans("\"'", "'\"")),
    "white space around": lambda text: f" {text}\t",
    "white space within": lambda text: re.sub(r"([\[\](){},<>])", r" \1 ", text),
    "no white space within": lambda text: re.sub(r"([,:;]) ", r"\1", text),
    "a line feed behind": lambda text: f"{text}\n",
    "a line feed within": lambda text: text.replace(", ", ",\n").replace("{", "{\n"),
    "the end missing": lambda text: text[:-1],
    "the beginning missing": lambda text: text[1:],
    "the end twice": lambda text: text + text[-1:],
    "an array": lambda text: f"new String[]{{{text}}}",
    "an array of two": lambda text: f"new Object[] {{ {text}, {text} }}",
    "an empty array": lambda text: "new int[0]",
    "a list": lambda text: f"new ArrayList<>(Arrays.asList({text}))",
    "a list of its type": lambda text: text.replace("<>", "<Integer>").replace("[]", "<>"),
    "a list that is filled": lambda text: f"new ArrayList<String>() {{{{ add({text}); add({text}); }}}}",
    "another list": lambda text: text.replace("new ArrayList<>(Arrays.asList(", "List.of(").replace("))", ")"),
    "an empty list": lambda text: "new ArrayList<>()",
    "a map": lambda text: f'new HashMap<String, Object>() {{{{ put("key", {text}); }}}}',
    "an empty map": lambda text: "new HashMap<>()",
    "a map of maps": lambda text: text.replace("put(", 'put("key", new HashMap<>()); put('),
    "brackets": lambda text: f"[{text}]",
    "brackets twice": lambda text: f"[[{text}], [{text}]]",
    "brackets that never close": lambda text: f"[[{text}], [{text}",
    "an Array of JavaScript": lambda text: f"new Array({text}, {text})",
    "an Array of arrays": lambda text: f"new Array([{text}], [{text}])",
    "no brackets": lambda text: text.strip("[]{}"),
    "an object": lambda text: f"{{key: {text}, 'other': [{text}]}}",
    "an object in an object": lambda text: text.replace("{", "{key: {", 1) + "}",
    "an empty object": lambda text: "{}",
    "keys without quotes": lambda text: re.sub(r'"(\w+)":', r"\1:", text),
    "a key more": lambda text: re.sub(r"^\{", '{"made_up": 1, ', text),
    "in braces": lambda text: f"{{{text}}}",
    "null": lambda text: "null",
    "a number": lambda text: "5",
    "a boolean": lambda text: "true",
    "a character": lambda text: "'c'",
    "a lambda": lambda text: f"x -> {text}",
    "an arrow": lambda text: f"(x) => {text}",
    "a call": lambda text: f"get({text})",
    "a member": lambda text: f"this.{text}",
    "a class": lambda text: f"{text}.class",
    "a sum": lambda text: f"{text} + 1",
    "letters beyond ASCII": lambda text: text.replace("e", "é"),
    "a number of 5,000 digits": lambda text: "9" * 5000,
    "the value itself": lambda text: _value_of(text),
}
"""Changes of an argument of Java's or JavaScript's, the text of an expression."""


def _value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _last(change: Change) -> Callable[[list[Call]], list[Call]]:
    """A change of the last argument's value of the last call."""
    return lambda calls: [
        (name, {key: change(value) if key == list(given)[-1] else value for key, value in given.items()})
        for name, given in calls
    ]


def _again(calls: list[Any]) -> list[Call]:
    return [(name, json.loads(given)) for call in calls for name, given in call.items()]


def fc(calls: list[Call]) -> list[dict[str, Any]]:
    """Calls as a server hands them over, in BFCL's form."""
    return [{name: json.dumps(given)} for name, given in calls]


def qwen(calls: list[Call], write: Change = lambda text: text) -> str:
    """Calls in Hermes blocks."""
    bodies = (f'{{"name": {json.dumps(name)}, "arguments": {write(json.dumps(given))}}}' for name, given in calls)
    return "\n".join(f"<tool_call>\n{body}\n</tool_call>" for body in bodies)


def python(calls: list[Call], write: Change = lambda text: text) -> str:
    """Calls as a Python list; the first value is written by ``write``."""
    unwritten, written = True, []
    for name, given in calls:
        values = []
        for key, value in given.items():
            values.append(f"{key}={write(repr(value)) if unwritten else repr(value)}")
            unwritten = False
        written.append(f"{name}({', '.join(values)})")
    return f"[{', '.join(written)}]"


def expressions(calls: list[Call], write: Change = lambda text: text) -> str:
    """Calls whose arguments are texts of expressions; the first one is written by ``write``."""
    unwritten, written = True, []
    for name, given in calls:
        values = []
        for key, value in given.items():
            plain = not isinstance(value, str) or re.match(r"new |[\[{\"']|-?[\d.]+[LfFn]?$|[\w.]+(\(.*\))?$", value)
            text = _as_text(value) if plain else json.dumps(value, ensure_ascii=False)
            values.append(f"{key}={write(text) if unwritten else text}")
            unwritten = False
        written.append(f"{name}({', '.join(values)})")
    return f"[{', '.join(written)}]"


def kinds(form: str) -> list[tuple[str, Callable[[list[Call]], Any]]]:
    """Every way of answering in a form: its name, and the answer that it makes of the right calls.

    Args:
        form: of the whole; with the word for a language behind it where arguments are texts of its expressions.
    """
    form, _, language = form.partition(" ")
    listed_as = expressions if language else python
    write: Callable[[list[Call]], Any] = {"fc": fc, "qwen_fc": qwen}.get(form, listed_as)
    made: dict[str, Callable[[list[Call]], Any]] = {}
    for name, mean in MEANING.items():
        made[name] = lambda calls, mean=mean: write(mean(calls))
    for name, change in EXPRESSIONS.items() if language else ():
        made[f"{name} (first)"] = lambda calls, change=change: write(_first(_of_text(change))(calls))
        made[f"{name} (last)"] = lambda calls, change=change: write(_last(_of_text(change))(calls))
    if form == "fc":
        for name, change in ARGUMENTS.items():
            made[name] = lambda calls, change=change: [{n: change(json.dumps(given))} for n, given in calls]
        for name, whole in HANDED.items():
            made[name] = lambda calls, whole=whole: whole(fc(calls))
    elif form == "qwen_fc":
        for name, change in ARGUMENTS.items():
            made[name] = lambda calls, change=change: qwen(calls, lambda text: _as_text(change(text)))
        for name, block in BLOCKS.items():
            made[f"{name} (block)"] = lambda calls, block=block: block(qwen(calls))
    else:
        for name, value in VALUES.items():
            made[name] = lambda calls, value=value: listed_as(calls, value)
        for name, listed in LISTS.items():
            made[f"{name} (list)"] = lambda calls, listed=listed: listed(listed_as(calls))
    return list(made.items())


def _of_text(change: Change) -> Change:
    return lambda value: change(value) if isinstance(value, str) else value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def answers(
    ways: list[tuple[str, Callable[[list[Call]], Any]]], right: dict[str, list[Call]], rng: Random
) -> dict[str, tuple[str, Any]]:
    """An answer to each entry, and the kind that it is of; every kind as often as any other, in a random order.

    Args:
        ways: of answering, as `kinds` gives them.
        right: the right calls by the entry's id; some call or other where none is right.
        rng: chooses the kinds.
    """
    order = [ways[number % len(ways)] for number in range(len(right))]
    rng.shuffle(order)
    return {one: (name, make(copy.deepcopy(right[one]))) for (name, make), one in zip(order, right, strict=True)}
