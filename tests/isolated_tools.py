"""Functions of a user's that run in a process of their own."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from sloop.tools.contract import Argument, SimpleTool, tool


def add(a: int, b: int = 2) -> int:
    """Adds two numbers.

    Args:
        a: the first.
        b: the second.
    """
    sys.stdout.write("this is no result")
    return a + b


def read(path: str) -> str:
    """Reads any path, as a careless function does."""
    return Path(path).read_text()


def variable(name: str) -> str:
    """Tells an environment variable."""
    return os.environ.get(name, "none")


def fail() -> str:
    """Raises."""
    raise ValueError("no such project")


def die() -> str:
    """Ends by a signal."""
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def take(size: int) -> str:
    """Takes memory."""
    return str(len(bytearray(size)))


def wait(seconds: float) -> str:
    """Waits."""
    time.sleep(seconds)
    return "done"


def talk(size: int) -> str:
    """Says much."""
    return "x" * size


@tool(mutates=True)
async def later(word: str) -> dict[str, str]:
    """Says a word, later."""
    return {"word": word}


flat = SimpleTool("Says it twice.", [Argument("word", "string")], lambda word: word * 2)
no_tool = 3
NAMED = {"sum": add, "twice": flat}
