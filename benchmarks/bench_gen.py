"""gen at 1k, 10k and 100k samples: CPU time a sample and peak memory, each in a process of its own.

usage: python benchmarks/bench_gen.py [sizes ...]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sloop.engine.executor import Executor
    from sloop.engine.stage import Made
    from sloop.stages.gen import GenSummary

SIZES = (1_000, 10_000, 100_000)
GOAL = "peak memory of the largest at most 1.2x that of the smallest"


def demo_pool(size: int, folder: Path, executor: Executor | None = None) -> Made[GenSummary]:
    """Generate samples as the demo does, all of them in ``train.jsonl``."""
    from sloop.engine.stage import Place, run_stage
    from sloop.simulation.noisy import NoisyTeacher
    from sloop.simulation.template import TemplateTeacher
    from sloop.stages.gen import Gen, GenSettings
    from sloop.stages.samplers import RandomSampler
    from sloop.tools.sources import load_tools

    teacher = TemplateTeacher(
        templates="everyday", values="train", phrases="train", random_values=0.3, optional_arguments=0.35,
        spelled_values=0.2,
    )  # fmt: skip
    noisy = NoisyTeacher(
        teacher=teacher, label_noise=0.2, wrong_tool=1, dropped_argument=1, altered_value=2, missing_call=1,
        spurious_call=0.5, refusal="None of my tools can do that.",
    )  # fmt: skip
    kinds = {"single": 0.66, "parallel": 0.16, "irrelevant": 0.18}
    stage = Gen(
        tools=load_tools("everyday", "train"), teacher=noisy, sampler=RandomSampler(),
        settings=GenSettings(kinds=kinds, offered=(3, 5), contrast=0.7), num_samples=size, seed=0,
        train_split=1.0,
    )  # fmt: skip
    return run_stage(stage, Place(folder, executor=executor))


def one(size: int) -> None:
    """Generate in this process and print the figures as JSON."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        made = demo_pool(size, Path(folder) / "gen").summary.samples
    cpu = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"samples": made, "ms_per_sample": cpu / made * 1000, "peak_mib": peak}))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]))
        return
    sizes = [int(word) for word in sys.argv[1:]] or SIZES
    rows = []
    for size in sizes:
        command = [sys.executable, __file__, "--one", str(size)]
        rows.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        print(f"{rows[-1]['samples']:>7} samples: {rows[-1]['ms_per_sample']:.2f} CPU ms a sample, "
              f"peak {rows[-1]['peak_mib']:.0f} MiB")  # fmt: skip
    print(f"peak memory, largest / smallest: {rows[-1]['peak_mib'] / rows[0]['peak_mib']:.2f} (goal: {GOAL})")


if __name__ == "__main__":
    main()
