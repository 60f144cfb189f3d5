"""Memory that was freed: the C library keeps it for what comes next, which a process that trains and answers by turns
never asks for in the same pieces.
"""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give freed memory back to the system, where the C library can (glibc); it takes milliseconds.

    A training of SmolLM2 whose tensors take 0.6 GiB between steps held 2.5 GiB after 12 steps, and 5 GiB after three
    rounds of a loop.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
