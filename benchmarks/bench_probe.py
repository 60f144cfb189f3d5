"""Probe samples a second: batched against one by one, the same answers, the same process.

usage: python benchmarks/bench_probe.py [CHECKPOINT [samples]]
       (without a checkpoint: the one that the first run of `make demo` ended with)
"""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path

from sloop.benchmarks.base import SampleBenchmark
from sloop.records import Decode
from sloop.students.answering import prompt_size
from sloop.students.local import LocalStudent

SIZES = (1, 8, 64, 256)
DEMO = "outputs/demo/*/round_3/train/checkpoint"


def main() -> None:
    found = sys.argv[1:2] or sorted(map(str, Path().glob(DEMO)))
    if not found:
        raise SystemExit(f"no checkpoint given, and none at {DEMO}; run first: make demo")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    benchmark = SampleBenchmark(name="sloop_dev", path="sloop_bench/dev.jsonl.gz")
    samples = sorted(islice(benchmark.data, count), key=prompt_size)
    student = LocalStudent.at(found[0], threads=1)
    student.predict(samples[:8], Decode(max_tokens=110))
    texts: dict[int, list[str]] = {}
    speed: dict[int, float] = {}
    for size in SIZES:
        began = time.process_time()
        texts[size] = [
            answer.text
            for start in range(0, len(samples), size)
            for answer in student.predict(samples[start : start + size], Decode(max_tokens=110))
        ]
        speed[size] = len(samples) / (time.process_time() - began)
        same = sum(a == b for a, b in zip(texts[1], texts[size], strict=True))
        print(f"batch {size:>3}: {speed[size]:6.1f} samples per CPU second, {speed[size] / speed[1]:.1f}x one by one, "
              f"{same} of {len(samples)} answers equal to one by one")  # fmt: skip


if __name__ == "__main__":
    main()
