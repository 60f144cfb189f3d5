"""Contamination: CPU time by size of the training set, and what runs of different lengths find and miss.

usage: python benchmarks/bench_overlap.py [sizes ...]

For each length of run: the requests long enough to have one; found at ``share`` 0.5 among training data that hold each
request with one or two words changed at random; and found between sets that have nothing to do with each other (with
BFCL's Python categories, where ``bfcl-eval`` is installed: pip install --no-deps bfcl-eval==2026.3.23).
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from bench_gen import demo_pool

from sloop.benchmarks.base import SampleBenchmark
from sloop.benchmarks.bfcl import CATEGORIES
from sloop.calls.wording import request_tokens
from sloop.engine.build import build
from sloop.measures.overlap import Contamination, OverlapSettings
from sloop.records import Message, Sample

SIZES = (1_000, 10_000, 100_000)
LENGTHS = (4, 5, 6, 8, 10, 13)
SETTINGS = OverlapSettings(words=6, share=0.5, examples=10)


def held(bench: Sequence[Sample], train: Sequence[Sample], words: int) -> tuple[int, int]:
    """Samples of the benchmark that are found, and those with a request too short for a run."""
    made = Contamination("bench", "", bench, SETTINGS.model_copy(update={"words": words}))
    made.add(train)
    found = made.overlap()
    return found.counts[""]["near"], found.short


def changed(sample: Sample, words: int, rng: Random) -> Sample:
    """The request alone, with some of its words changed."""
    tokens = list(request_tokens(sample.request))
    for place in rng.sample(range(len(tokens)), min(words, len(tokens))):
        tokens[place] = f"changed{rng.getrandbits(40)}"
    return Sample(tools=(), messages=(Message(role="user", content=" ".join(tokens)),))


def findings(name: str, bench: Sequence[Sample], others: dict[str, Sequence[Sample]]) -> None:
    rng = Random(0)
    trains = {f"{k} changed": [changed(sample, k, rng) for sample in bench] for k in (1, 2)} | others
    for words in LENGTHS:
        counts = {what: held(bench, train, words) for what, train in trains.items()}
        short = next(iter(counts.values()))[1]
        shares = ", ".join(f"{what} {near / len(bench):.1%}" for what, (near, _) in counts.items())
        print(f"{name}, runs of {words:>2}: long enough {1 - short / len(bench):.1%}; found: {shares}")


def main() -> None:
    bench = SampleBenchmark(name="sloop_bench", path="sloop_bench/v1.jsonl.gz")
    with tempfile.TemporaryDirectory() as folder:
        for size in [int(word) for word in sys.argv[1:]] or SIZES:
            data = demo_pool(size, Path(folder) / str(size)).dataset("train.jsonl")
            began = time.process_time()
            read = sum(1 for _ in data)
            reading = time.process_time() - began
            began = time.process_time()
            made = Contamination(bench.name, bench.data.sha256, bench.data, SETTINGS)
            index = time.process_time() - began
            began = time.process_time()
            made.add(data)
            found = made.overlap()
            seconds = time.process_time() - began
            print(f"{read:>7} training samples: {index:.2f} CPU s for the benchmark, then {seconds:.2f}, "
                  f"{seconds / read * 1e3:.2f} for 1,000, of which to read the file {reading:.2f}; "
                  f"near {found.counts['']['near']} of {found.samples}")  # fmt: skip
        pool = list(demo_pool(2_000, Path(folder) / "pool").dataset("train.jsonl"))
        sloop = list(bench.data)
        others: dict[str, Sequence[Sample]] = {}
        if importlib.util.find_spec("bfcl_eval"):
            spec = {
                "_target_": "sloop.benchmarks.bfcl.BfclBenchmark", "name": "bfcl", "path": None, "digests": None,
                "categories": [name for name in CATEGORIES if "java" not in name],
                "known_bad": [], "skip_known_bad": False, "cache_path": folder,
            }  # fmt: skip
            bfcl = list(build(spec).data)
            findings("bfcl", bfcl, {"among the demo's pool": pool, "among sloop_bench": sloop})
            others = {"among BFCL": bfcl}
        findings("sloop_bench", sloop, {"among the demo's pool": pool} | others)


if __name__ == "__main__":
    main()
