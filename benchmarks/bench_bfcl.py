"""Our comparator for BFCL beside the official one: agreement on fresh cases, and CPU time on the same rows.

usage: SLOOP_ORACLE=FOLDER python benchmarks/bench_bfcl.py [cases]

Needs the official checker (``pip install --no-deps bfcl-eval==2026.3.23``) and, for the times, the folder with
``oracle_dev.jsonl.gz``; without it the times are those of the fresh cases.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

from bfcl_cases import Case, cases, official

from sloop.calls.match import bfcl

CASES = 100_000
REPEATS = 7


def ours(case: Case) -> tuple[bool, str | None]:
    """Our verdict on a case."""
    found = bfcl(case["functions"], case["calls"], case["possible_answer"], case["category"], case["underscore_to_dot"])
    return found.valid, found.error_type


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else CASES
    theirs = official()
    fresh = list(islice(cases(Random(0)), count))
    verdicts: Counter[str] = Counter()
    wrong = []
    for case in fresh:
        expected = theirs(case)
        verdicts[expected[1] or "valid"] += 1
        if ours(case) != expected:
            wrong.append((case, expected, ours(case)))
    print(f"{len(fresh)} fresh cases, {len(wrong)} disagreements; official verdicts:")
    for verdict, number in verdicts.most_common():
        print(f"  {number:>7} {verdict}")
    for case, expected, found in wrong[:5]:
        print(f"official {expected}, ours {found}: {json.dumps(case, default=str)}")
    rows = fresh
    if folder := os.environ.get("SLOOP_ORACLE"):
        with gzip.open(Path(folder) / "oracle_dev.jsonl.gz", "rt") as file:
            rows = [json.loads(line) for line in file]
    ratios = []
    for _ in range(REPEATS):
        seconds = []
        for check in (theirs, ours):
            began = time.process_time()
            for case in rows:
                check(case)
            seconds.append(time.process_time() - began)
        ratios.append(seconds[0] / seconds[1])
    print(f"{len(rows)} rows: {statistics.median(ratios):.2f}x the official checker's speed "
          f"({min(ratios):.2f} to {max(ratios):.2f}, CPU time, side by side, {REPEATS} times)")  # fmt: skip


if __name__ == "__main__":
    main()
