"""CPU time of ``sloop --help`` over bare Python, medians of paired runs.

usage: python benchmarks/bench_cli.py [runs]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys


def cpu_ms(command: list[str]) -> float:
    """User and system time of one run, in milliseconds."""
    before = os.times()
    subprocess.run(command, capture_output=True, check=True)
    after = os.times()
    return 1000 * (after.children_user + after.children_system - before.children_user - before.children_system)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    help_command = [sys.executable, "-m", "sloop", "--help"]
    bare, helped = [], []
    for _ in range(runs):
        bare.append(cpu_ms([sys.executable, "-c", "pass"]))
        helped.append(cpu_ms(help_command))
    extra = statistics.median(h - b for h, b in zip(helped, bare, strict=True))
    print(f"bare Python {statistics.median(bare):.0f} ms, sloop --help {statistics.median(helped):.0f} ms, "
          f"difference {extra:.0f} ms CPU (median of {runs} pairs; goal < 50)")  # fmt: skip


if __name__ == "__main__":
    main()
