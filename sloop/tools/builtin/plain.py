"""Tools that reach nothing: a calculator, made-up weather, a search over texts that come with them."""

from __future__ import annotations

import ast
import hashlib
import math
import operator
import re
import sqlite3
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from sloop.records import UserError
from sloop.store import read_json

LONGEST = 500
"""Characters of an expression or of a question."""
_MOST_BITS = 1024
"""Of a whole number: 308 digits, about what a float holds."""
_PASSAGES = Path(__file__).with_name("passages.json")
_SKIES = ("clear", "partly cloudy", "overcast", "light rain", "heavy rain", "thunderstorms", "snow showers", "fog")


def _bounded(work: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers that refuses anything else and any result that is too large."""

    def done(*given: Any) -> Any:
        if not all(isinstance(each, int | float) for each in given):
            raise ValueError("only numbers can be calculated with")
        result = work(*given)
        if isinstance(result, complex):
            raise ValueError("the result is no real number")
        if isinstance(result, float) and not math.isfinite(result):
            raise ValueError("the result is too large, or no number")
        if isinstance(result, int) and result.bit_length() > _MOST_BITS:
            raise ValueError(f"a whole number of more than {_MOST_BITS} bits is too large")
        return result

    return done


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and base.bit_length() * abs(exponent) > 2 * _MOST_BITS:
        raise ValueError(f"{base} to the power of {exponent} is too large")
    return base**exponent


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "max": max,
    "min": min,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_NODES = (ast.Expr, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Name, ast.Call)


class Calculator:
    """Arithmetic, by `simpleeval` cut down to numbers."""

    def __init__(self) -> None:
        """Load the library.

        Raises:
            UserError: it is not installed.
        """
        try:
            from simpleeval import SimpleEval
        except ModuleNotFoundError as error:
            raise UserError('the calculator needs simpleeval, which is missing: pip install "sloop[tools]"') from error
        self._evaluator = SimpleEval(
            operators={kind: _bounded(work) for kind, work in _OPERATORS.items()},
            functions={name: _bounded(work) for name, work in _FUNCTIONS.items()},
            names={"pi": math.pi, "e": math.e},
        )
        self._evaluator.nodes = {kind: self._evaluator.nodes[kind] for kind in _NODES}

    def description(self) -> str:
        """What it calculates."""
        return f"Calculates an arithmetic expression: + - * / // % **, {', '.join(_FUNCTIONS)}, pi and e."

    def arguments(self) -> dict[str, Any]:
        """An expression."""
        told = {"type": "string", "description": "Such as 2 * (3 + 4) or sqrt(2)"}
        return {"type": "object", "properties": {"expression": told}, "required": ["expression"]}

    def call(self, args: Mapping[str, Any], /) -> str:
        """The number.

        Raises:
            ValueError: it is no expression of numbers, or too large.
        """
        text = args["expression"]
        if len(text) > LONGEST:
            raise ValueError(f"the expression has {len(text)} characters; {LONGEST} are allowed")
        from simpleeval import InvalidExpression

        try:
            parsed = ast.parse(text.strip(), mode="eval").body
            result = _bounded(lambda value: value)(self._evaluator.eval(text, previously_parsed=parsed))
        except (InvalidExpression, SyntaxError, ArithmeticError, TypeError) as error:
            raise ValueError(f"{text!r} cannot be calculated: {error}") from error
        except (RecursionError, MemoryError) as error:
            raise ValueError("the expression is nested too deep") from error
        return str(result)


class Weather:
    """Weather that is made up of the city's name and the date, the same for the same."""

    def description(self) -> str:
        """What it tells."""
        return "Tells the weather of a city on a day. It is made up, the same for the same city and day."

    def arguments(self) -> dict[str, Any]:
        """A city, and a date."""
        told = {
            "city": {"type": "string", "minLength": 1, "maxLength": 100},
            "date": {"type": "string", "description": "YYYY-MM-DD"},
        }
        return {"type": "object", "properties": told, "required": list(told)}

    def call(self, args: Mapping[str, Any], /) -> dict[str, Any]:
        """Sky and temperature, and that they are made up.

        Raises:
            ValueError: it is no date.
        """
        day = date.fromisoformat(args["date"])
        city = " ".join(args["city"].split())
        digest = hashlib.sha256(f"{city.casefold()}\n{day}".encode()).digest()
        warmth = round(12 - 12 * math.cos(math.tau * day.timetuple().tm_yday / 366) + digest[1] % 11 - 5)
        told = {"sky": _SKIES[digest[0] % len(_SKIES)], "temperature": warmth, "unit": "celsius"}
        return {"city": city, "date": str(day), **told, "note": "made up, no forecast"}


class Search:
    """Full-text search over passages, ranked by BM25 as SQLite's FTS5 has it."""

    def __init__(self, *, passages: str | Path = _PASSAGES, most: int = 3) -> None:
        """Index the passages, a JSON file of texts by title; a search finds ``most`` of them.

        Raises:
            UserError: there is no such file, or it holds something else.
        """
        given = read_json(Path(passages))
        if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
            raise UserError(
                f'{passages}: passages are a JSON object of texts by title, such as {{"Tea": "Tea is ..."}}.'
            )
        self.most = most
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        self._index.execute("CREATE VIRTUAL TABLE passages USING fts5(title, text, tokenize='porter unicode61')")
        self._index.executemany("INSERT INTO passages VALUES (?, ?)", given.items())

    def description(self) -> str:
        """What it searches."""
        return f"Searches a small collection of texts, and returns the {self.most} that fit best."

    def arguments(self) -> dict[str, Any]:
        """A question."""
        return {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}

    def call(self, args: Mapping[str, Any], /) -> list[dict[str, str]]:
        """The best passages, best first; none that shares no word with the question."""
        words = dict.fromkeys(re.findall(r"\w+", args["query"][:LONGEST]))
        if not words:
            return []
        asked = " OR ".join(f'"{word}"' for word in words)  # quoted: no syntax of FTS5 is read in it
        found = self._index.execute(
            "SELECT title, text FROM passages WHERE passages MATCH ? ORDER BY rank, title LIMIT ?", (asked, self.most)
        )
        return [{"title": title, "text": text} for title, text in found]
