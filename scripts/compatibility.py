"""Write docs/compatibility.md: what servers, models and files give, and what each is read as (tests/kinds)."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
sys.path.insert(0, str(ROOT / "tests"))

from kinds import tables  # noqa: E402 - the tests are no package that is installed


def page() -> str:
    """The page, whole."""
    parts = [
        "# What real servers, models and files give, and what each is read as",
        "Made by `python scripts/compatibility.py` from the tables in `tests/kinds/`, every row of which is a test.",
    ]
    for table in tables():
        rows = [f"| {_cell(k.name)} | {_cell(k.looks)} | {_cell(k.read_as)} | {_cell(k.source)} |" for k in table.KINDS]
        parts += [f"## {table.TITLE}", table.ABOUT]
        parts.append("\n".join(["| kind | looks like | read as | source |", "| --- | --- | --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    """Text that neither ends its cell nor is markup."""
    spelled = text.replace("\n", "⏎").replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return spelled.replace("`", "'").replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
