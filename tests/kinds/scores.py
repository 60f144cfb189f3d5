"""Sets of questions, and what answers that read none of them get."""

from __future__ import annotations

from kinds import Kind

TITLE = "Scores: what answers that read no question get"
ABOUT = (
    "By sets of questions: call accuracy and harmonic accuracy, in per cent, of always refusing and of always calling "
    "the tool that labels call most often; a dash where nothing is measured."
)
Asked = tuple[list[str], list[tuple[str, dict[str, object]]]]
"""The tools on offer, and the calls of the label."""

A, B = ("a", {}), ("b", {"x": 1})
WITHOUT: Asked = (["a", "b"], [])


def _kind(name: str, source: str, looks: str, given: list[Asked], refuse: object, tool: object = None) -> Kind:
    comes = {"always_refuse": refuse, **({"most_frequent_tool": tool} if tool else {})}
    told = "; ".join(
        f"{answer.replace('_', ' ')} {a} and {'-' if h is None else h}" for answer, (a, h) in comes.items()
    )
    return Kind(name=name, source=source, looks=looks, read_as=told, given=given, comes=comes)


KINDS = (
    _kind(
        "a third wants no call",
        "sloop_bench's own mixture",
        "two questions with a call for one without",
        [(["a", "b"], [A]), (["a", "b"], [A]), WITHOUT],
        (33.3, 0.0),
        (66.7, 0.0),
    ),
    _kind(
        "nothing but questions without a call",
        "ShishirPatil/gorilla#443, #1362",
        "an irrelevance category",
        [WITHOUT, (["c"], []), ([], [])],
        (100.0, None),
    ),
    _kind(
        "nothing but calls",
        "ShishirPatil/gorilla, simple categories",
        "every label calls",
        [(["a"], [A]), (["a"], [A]), (["b"], [B])],
        (0.0, None),
        (66.7, None),
    ),
    _kind(
        "every question has a tool of its own",
        "ShishirPatil/gorilla, simple categories",
        "no other label calls the tool, so that what is frequent is the label itself",
        [(["a"], [("a", {"x": 1})]), (["b"], [B]), (["c"], [("c", {"y": "z"})]), WITHOUT],
        (25.0, 0.0),
        (0.0, 0.0),
    ),
    _kind(
        "one tool does nearly all",
        "none: an extreme of our own",
        "nine labels call one tool without arguments",
        [*[(["a", "b"], [A])] * 9, WITHOUT],
        (10.0, 0.0),
        (90.0, 0.0),
    ),
    _kind(
        "the most frequent arguments",
        "sloop_bench's own mixture",
        "a tool that labels call with some arguments oftener than with others",
        [(["b"], [B]), (["b"], [B]), (["b"], [("b", {"x": 2})]), WITHOUT],
        (25.0, 0.0),
        (50.0, 0.0),
    ),
    _kind(
        "the most frequent tool is not on offer",
        "ShishirPatil/gorilla, live categories",
        "other tools on offer from question to question",
        [(["a"], [A]), (["a"], [A]), (["b"], [B]), (["c"], []), ([], [])],
        (40.0, 0.0),
        (40.0, 0.0),
    ),
    _kind(
        "several calls at once",
        "ShishirPatil/gorilla, parallel categories",
        "labels of two calls",
        [(["a", "b"], [A, B]), (["a", "b"], [A, A]), WITHOUT],
        (33.3, 0.0),
        (0.0, 0.0),
    ),
)
