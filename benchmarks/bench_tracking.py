"""What tracking costs: CPU time of projecting a finished run to a new MLflow database, beside the run's own.

usage: python benchmarks/bench_tracking.py RUN_FOLDER RUN_CPU_SECONDS
       (the CPU seconds of the loop without tracking, such as user + sys of: time sloop loop tracking.enabled=false)
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from sloop.store import read_json, write_json


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(sys.argv[1], copy)
        record = {**read_json(copy / "run.json"), "sweep": None}
        record.pop("mlflow", None)
        write_json(copy / "run.json", record)
        times = []
        for what in ("first run of a study (imports, new database)", "next run of it"):
            began = time.process_time()
            from sloop.track import connect

            connect(None, Path(folder) / "mlruns", "bench").project(copy)
            times.append(time.process_time() - began)
            share = times[-1] / float(sys.argv[2])
            print(f"{what}: {times[-1]:.2f} CPU s, {share:.1%} of the loop (goal < 3%)")
            record["id"] += "-next"
            write_json(copy / "run.json", record)


if __name__ == "__main__":
    main()
