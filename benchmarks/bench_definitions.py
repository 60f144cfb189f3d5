"""Definitions of tools as others publish them, read by ``tools.path=FILE``: how many load, and why others are refused.

usage: python benchmarks/bench_definitions.py [FILE|FOLDER]...

Without arguments: the files below the environment variable SLOOP_TOOLS, and, where the package bfcl_eval is installed,
its function documents and all its files of questions that have functions. ``*.meta.json.gz`` and files without any
definition are passed over; each refused definition is printed below the table with file, place, name, JSON pointer and
rule.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sloop.records import UserError
from sloop.tools.definitions import read_tool
from sloop.tools.sources import load_tools, rows_of

RULES = {
    r"a second tool is named": "another tool of that name",
    r"holds no value of its type": "an enum of another type",
    r"has no function name|is no object": "no definition",
    r"the type .* is not known": "an unknown type",
    r"the name .* is not allowed": "a name without letters",
}
"""By what the message says."""


def files() -> Iterator[tuple[Path, Path]]:
    """Each file, and the folder that it is told relative to."""
    given = [Path(word) for word in sys.argv[1:]]
    if not given:
        given = [Path(os.environ["SLOOP_TOOLS"])] if "SLOOP_TOOLS" in os.environ else []
        if spec := importlib.util.find_spec("bfcl_eval"):
            given.append(Path(str(spec.origin)).parent / "data")
    for path in given:
        inside = sorted(path.rglob("*.json")) + sorted(path.rglob("*.json.gz")) if path.is_dir() else [path]
        for file in inside:
            if ".meta." not in file.name and not {"possible_answer", "memory_prereq_conversation"} & set(file.parts):
                yield file, path if path.is_dir() else path.parent


def holds_any(path: Path) -> bool:
    """Whether one of the file's values is a definition, or nearly one: it has a name."""
    for place, row in rows_of(path):
        try:
            read_tool(row, place)
        except ValueError as error:
            if "has no function name" in str(error) or "is no object" in str(error):
                continue
        return True
    return False


def main() -> None:
    """Print the table, and what is refused."""
    total: Counter[str] = Counter()
    listed: list[str] = []
    print("| file | definitions | loaded | the same again | refused |\n| --- | --- | --- | --- | --- |")
    for file, above in files():
        try:
            if not holds_any(file):
                continue
            told: list[str] = []
            loaded = len(load_tools(file, keep_going=True, tell=told.append))
        except UserError as error:
            listed.append(str(error))
            continue
        rows = sum(1 for _ in rows_of(file))
        refused = [line.removeprefix("left out: ").replace(f"{above}/", "") for line in told if "left out: " in line]
        why = Counter(next((rule for said, rule in RULES.items() if re.search(said, line)), line) for line in refused)
        again = rows - loaded - len(refused)
        reasons = ", ".join(f"{count} {rule}" for rule, count in why.most_common()) or "none"
        print(f"| `{file.relative_to(above)}` | {rows} | {loaded} | {again} | {reasons} |", flush=True)
        total.update(files=1, rows=rows, loaded=loaded, again=again, refused=len(refused))
        listed += [line for line in refused if "a second tool is named" not in line]
    print(f"| {total['files']} files | {total['rows']} | {total['loaded']} | {total['again']} | {total['refused']} |\n")
    print("\n".join(listed))


if __name__ == "__main__":
    main()
