"""The recipes of ``scripts/``, run for real at toy size: real weights, real MLflow, a benchmark of twelve samples."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from sloop.benchmarks.base import SampleBenchmark
from sloop.store import write_rows

ROOT = Path(__file__).parents[1]
TOY = (
    "experiment=smoke", "benchmark=jsonl", "loop.budget=24", "loop.first_steps=2", "steps=2", "decode.max_tokens=12",
)  # fmt: skip


def run_script(name: str, folder: Path, *arguments: str, **variables: str) -> str:
    environment = {**os.environ, "SLOOP": f"{sys.executable} -m sloop", "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / name), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_sweep_and_the_benchmarking_of_its_checkpoint(tmp_path: Path) -> None:
    frozen = SampleBenchmark(name="frozen", path="sloop_bench/dev.jsonl.gz")
    bench = tmp_path / "bench.jsonl"
    write_rows(bench, islice(frozen.data, 12))
    toy = (*TOY, f"benchmark.path={bench}")
    shown = run_script(
        "sweep.sh", tmp_path, *toy, STUDY="toy", SEEDS="0", STUDENTS="tiny", VARIANTS="full,static", JOBS="1"
    )
    assert "tiny, 1 seeds" in shown
    checkpoints = sorted((tmp_path / "outputs" / "toy").glob("tiny-*/round_2/train/checkpoint"))
    assert len(checkpoints) == 2
    shown = run_script(
        "benchmark_checkpoint.sh", tmp_path, str(checkpoints[0]), "benchmark=jsonl", f"benchmark.path={bench}",
        "decode.max_tokens=12",
    )  # fmt: skip
    assert "call_accuracy" in shown
