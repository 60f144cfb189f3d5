"""What official evaluators make of malformed answers to BFCL and ACEBench."""

from __future__ import annotations

import json

from kinds import Kind

TITLE = "Answers as official evaluators read them"
ABOUT = (
    "What the handlers of the Berkeley Function Calling Leaderboard (`benchmark.reading=fc`, `qwen_fc`, `prompting`) "
    "and ACEBench's evaluator go on with: verdicts of theirs, and no advice of ours."
)
BFCL = "ShishirPatil/gorilla@6ea57973 bfcl_eval/model_handler/"
FC, QWEN = f"{BFCL}api_inference/openai_completion.py", f"{BFCL}local_inference/qwen_fc.py"
PROMPTING = f"{BFCL}utils.py"
JAVA, JAVASCRIPT = f"{BFCL}parser/java_parser.py", f"{BFCL}parser/js_parser.py"
ACEBENCH = "chenchen0103/ACEBench@56dd66c eval_main.py, model_inference/utils.py"
F, FX = [{"f": {}}], [{"f": {"x": 1}}]


def _fc(name: str, arguments: object, comes: object, read_as: str, source: str = FC) -> Kind:
    return Kind(name, source, json.dumps(arguments), read_as, ("fc", [{"f": arguments}]), comes)


def _rows(reading: str, source: str, rows: tuple[tuple[str, object, object, str], ...]) -> list[Kind]:
    return [
        Kind(
            f"{reading}: {name}",
            source,
            given if isinstance(given, str) else json.dumps(given),
            read_as,
            (reading, given),
            comes,
        )
        for name, given, comes, read_as in rows
    ]


KINDS = [
    _fc("fc: a key twice", '{"x": 2, "x": 1}', FX, "the last one counts"),
    _fc("fc: NaN", '{"x": NaN}', "[{'f': {'x': nan}}]", "a number", FC),
    _fc("fc: Infinity", '{"x": -Infinity}', "[{'f': {'x': -inf}}]", "a number"),
    _fc("fc: arguments empty", "", None, "not decoded, also for a function without parameters"),
    _fc("fc: arguments of white space", " \n", None, "not decoded"),
    _fc("fc: arguments an object", {"x": 1}, None, "not decoded: their text is asked for"),
    _fc("fc: arguments null", "null", "[{'f': None}]", "decoded, and of the wrong format"),
    _fc("fc: arguments a list", "[1]", "[{'f': [1]}]", "decoded, and of the wrong format"),
    _fc("fc: arguments in text in text", '"{}"', "[{'f': '{}'}]", "decoded, and of the wrong format"),
    _fc("fc: arguments cut off", '{"x": 1', None, "not decoded"),
    _fc("fc: white space around", ' {"x": 1}\n', FX, "as without it"),
    *_rows(
        "fc",
        FC,
        (
            ("words alone", "None fits.", None, "not decoded"),
            ("nothing said", "", [], "no call"),
            ("an empty list", [], [], "no call"),
            (
                "calls leaked into the text",
                '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
                None,
                "not decoded",
            ),
            ("a call of two names", [{"f": '{"x": 1}', "g": "{}"}], FX, "the first one counts"),
            ("an object in place of the list", {"f": "{}"}, None, "not decoded"),
        ),
    ),
    *_rows(
        "qwen_fc",
        QWEN,
        (
            ("a block", '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>', FX, "a call"),
            (
                "a broken block beside a good one",
                '<tool_call>\n{"name"\n</tool_call>\n<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>',
                FX,
                "the good one alone",
            ),
            (
                "words around",
                'Yes.\n<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>\nDone.',
                FX,
                "passed over",
            ),
            ("no line feeds", '<tool_call>{"name": "f", "arguments": {}}</tool_call>', [], "no call"),
            ("no end", '<tool_call>\n{"name": "f", "arguments": {}}', [], "no call"),
            ("a block of two", '<tool_call>\n{"name": "f"}\n{"name": "g"}\n</tool_call>', [], "no call"),
            ("arguments as text", '<tool_call>\n{"name": "f", "arguments": "{}"}\n</tool_call>', None, "not decoded"),
            (
                "arguments under another name",
                '<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>',
                None,
                "not decoded",
            ),
            ("a block of a number", "<tool_call>\n5\n</tool_call>", None, "not decoded"),
            (
                "a key twice",
                '<tool_call>\n{"name": "f", "arguments": {"x": 2, "x": 1}}\n</tool_call>',
                FX,
                "the last one counts",
            ),
            ("words alone", "None fits.", [], "no call"),
        ),
    ),
    *_rows(
        "prompting",
        PROMPTING,
        (
            ("a bare call", "f(x=1)", FX, "brackets are added"),
            ("two bare calls", "f(), f(x=1)", [*F, *FX], "brackets are added"),
            ("a bracket that lacks", "[f(x=1)", FX, "it is added"),
            ("a fence", "```\n[f(x=1)]\n```", FX, "taken off"),
            ("a fence of python", "```python\n[f(x=1)]\n```", None, "not decoded"),
            ("words before", "Here: [f(x=1)]", None, "not decoded"),
            ("positional arguments", "[f('a', x=1)]", FX, "dropped"),
            ("an argument twice", "[f(x=2, x=1)]", FX, "the last one counts"),
            ("a tuple", "[f(x=(1, 2))]", "[{'f': {'x': (1, 2)}}]", "kept, and no list"),
            ("a sum", "[f(x=3 - 2)]", FX, "computed"),
            ("texts that are added", "[f(x='a' + 'b')]", [{"f": {"x": "ab"}}], "computed"),
            ("a sum with a name", "[f(x=n + 1)]", None, "not decoded"),
            ("a bare word", "[f(x=true)]", [{"f": {"x": "true"}}], "a text"),
            ("any sign", "[f(x=+1)]", [{"f": {"x": -1}}], "negates"),
            ("a call as an argument", "[f(x=g(y=1))]", [{"f": {"x": {"g": {"y": 1}}}}], "an object"),
            ("a call without keywords as an argument", "[f(x=g(1))]", [{"f": {"x": "g(1)"}}], "its text"),
            ("a set", "[f(x={1})]", None, "not decoded"),
            ("an element", "[f(x=names[0])]", [{"f": {"x": "names[0]"}}], "its text"),
            ("starred arguments", "[f(**more)]", "[{'f': {'**': 'more'}}]", "under a name that no function has"),
            ("nothing said", "", [], "no call"),
            ("an empty list in the list", "[[]]", None, "not decoded"),
            ("words alone", "None of them.", None, "not decoded"),
            ("a word alone", "None", None, "not decoded"),
        ),
    ),
    *_rows(
        "prompting java",
        JAVA,
        (
            ("numbers", "[f(x=1, y=2L)]", [{"f": {"x": "1", "y": "2L"}}], "the texts of expressions"),
            ("one argument that is no text", "[f(x=1)]", None, "not decoded: a semicolon lacks"),
            ("a semicolon", "[f(x=1);]", [{"f": {"x": "1"}}], "a call"),
            ("a text", '[g.f(x="a b")]', [{"g.f": {"x": "a b"}}], "without its quotes"),
            ("a character", "[f(x='a', y=b)]", [{"f": {"x": "a", "y": "b"}}], "without its quotes"),
            ("an array", '[f(x=new String[] { "a" })]', [{"f": {"x": 'new String[]{"a"}'}}], "without white space"),
            ("an array of a size", "[f(x=new int[2], y=1)]", None, "not decoded"),
            ("a list", "[f(x=new ArrayList<>(a,b))]", [{"f": {"x": "new ArrayList<>(a, b)"}}], "its text"),
            (
                "a map that is filled",
                '[f(x=new HashMap<>() {{ put("k", 1); }})]',
                [{"f": {"x": "new HashMap<>()"}}],
                "what fills it is dropped",
            ),
            ("a sum", "[f(x=1 + 2);]", [{"f": {"x": "1+2"}}], "not computed"),
            ("a bare name", "[f(a, x=1);]", "[{'f': {'**': 'a', 'x': '1'}}]", "under a name that no function has"),
            ("two bare names", "[f(a, b);]", None, "not decoded"),
            ("an argument twice", "[f(x=2, x=1);]", None, "not decoded"),
            ("two calls", "[f(x=1), f(x=2)]", None, "not decoded"),
            ("two statements", "[f(x=1); f(x=2);]", [{"f": {"x": "1"}}], "the first one counts"),
            ("letters beyond ASCII", '[f(x="é", y=a)]', [{"f": {"x": 'é"', "=": ")"}}], "cut at the wrong place"),
            ("words alone", "None of them.", None, "not decoded"),
            ("nothing said", "", {}, "decoded, and of the wrong format"),
        ),
    ),
    *_rows(
        "prompting javascript",
        JAVASCRIPT,
        (
            ("a number", "[f(x=1)]", [{"f": {"x": "1"}}], "the text of an expression"),
            ("a text", "[f(x='a b')]", [{"f": {"x": "a b"}}], "without its quotes"),
            ("a template", "[f(x=`a`)]", [{"f": {"x": "`a`"}}], "its text"),
            ("an object", "[f(x={a: [1, 'b']})]", [{"f": {"x": "{a: [1, 'b']}"}}], "its text"),
            ("an object of arguments", "[f({x: 1})]", [{"f": {}}], "dropped"),
            ("two calls", "[f(x=1), f(x=2)]", {}, "decoded, and of the wrong format"),
            ("an argument twice", "[f(x=2, x=1)]", None, "not decoded"),
            ("letters beyond ASCII", '[f(x="é", y=a)]', [{"f": {"x": "é", "y": "a"}}], "kept"),
            ("a call that is awaited", "[await f(x=1)]", {}, "decoded, and of the wrong format"),
            ("words alone", "None of them.", None, "not decoded"),
            ("nothing said", "", {}, "decoded, and of the wrong format"),
        ),
    ),
    *_rows(
        "acebench",
        ACEBENCH,
        (
            ("words around", "Sure: [f(x=1)] or [g()]", FX, "passed over, and the first list is taken"),
            (
                "a bracket before the list",
                "as in 1]: [f(x=1)]",
                None,
                "not decoded: the list does not count as outermost",
            ),
            ("a list of something else before", "[1] [f(x=1)]", None, "not decoded"),
            ("thoughts", "<think>[g()]</think>[f(x=1)]", "[{'g': {}}]", "part of a recorded answer"),
            ("a call without keywords as an argument", "[f(x=g(1))]", [{"f": {"x": {"g": {}}}}], "an object"),
            ("a bracket in a text", "[f(x='a]')]", None, "not decoded: brackets in texts count"),
            ("a bare call", "f(x=1)", None, "not decoded"),
            ("a tuple", "[f(x=(1, 2))]", "[{'f': {'x': (1, 2)}}]", "kept"),
        ),
    ),
    *_rows(
        "acebench step",
        ACEBENCH,
        (
            ("white space in a text", "[f(x='New York')]", [{"f": {"x": "NewYork"}}], "taken out"),
            ("line feeds between", "[ f( x = 1 ) ]\n", FX, "taken out"),
            ("words around", "Sure: [f(x=1)]", None, "not decoded"),
            ("a word with a space", "[f(x=not 1)]", [{"f": {"x": "not1"}}], "one word"),
        ),
    ),
]
