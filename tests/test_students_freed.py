"""Freed memory goes back to the system."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
from sloop.students.freed import give_back

def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

blocks = [bytearray(2000) for _ in range(100_000)]
last = blocks[-1]  # lies at the heap's end, so that nothing before it is given back of itself
del blocks
before = held()
give_back()
print(before - held())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc, the one that can give back")
def test_what_was_freed_before_something_kept_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100_000, "KiB of about 200,000"
