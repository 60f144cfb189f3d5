"""What tracking costs: CPU time of projecting a run to a new MLflow database, beside the run's own.

usage: python benchmarks/bench_tracking.py [KEY=VALUE ...]
       (runs the loop of the demo, or what these overrides make of it, once without tracking, in a process of its own)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sloop.runs.track import connect
from sloop.show.pages import page_of
from sloop.store import read_json, write_json


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a process."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = ["loop", "experiment=demo", "tracking.enabled=false", f"output_dir={run}", *sys.argv[1:]]
        loop = cpu_seconds([sys.executable, "-m", "sloop", *words])
        print(f"the loop without tracking: {loop:.0f} CPU s")
        record = read_json(run / "run.json")
        for what in ("first run of a study (imports MLflow, makes the database)", "next run of it"):
            began = time.process_time()
            connect(None, Path(folder) / "mlruns", "bench", page_of).project(run)
            seconds = time.process_time() - began
            print(f"{what}: {seconds:.2f} CPU s, {seconds / loop:.1%} of the loop (goal < 3%)")
            record["id"] += "-next"
            record.pop("mlflow", None)
            write_json(run / "run.json", record)


if __name__ == "__main__":
    main()
