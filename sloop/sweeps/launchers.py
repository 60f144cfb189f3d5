"""Launching jobs until all of them are over, whatever becomes of one: what Hydra's plugins lack of that."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher

POLL_SECONDS = 0.5
OURS = ("submitit_folder", "max_num_timeout", "n_jobs")
"""Settings of a submitit launcher that are none of its jobs' parameters."""
SHARED = (
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout",
)  # fmt: skip
"""Parameters that submitit has for every kind of cluster; others are told with the cluster's name before them."""


def launch(launcher: Launcher, rows: Sequence[list[str]], first: int) -> None:
    """Launch a job for each list of overrides, and wait for all.

    Args:
        launcher: Hydra's plugin.
        rows: overrides of each job.
        first: number of the first job.

    Raises:
        Exception: whatever the launcher's library raises, once none of its jobs runs any more.
    """
    if getattr(launcher, "_EXECUTOR", None) in ("local", "slurm"):
        _submit(launcher, rows, first)
        return
    try:
        launcher.launch(rows, initial_job_idx=first)
    finally:
        if "hydra_plugins.hydra_ray_launcher._core" in sys.modules:  # else jobs of a launch that failed would go on
            import ray

            ray.shutdown()


def _submit(launcher: Any, rows: Sequence[list[str]], first: int) -> None:
    """Submit by submitit. The plugin gives up at the first job that was killed, and leaves the others to themselves."""
    import submitit

    cluster, given = launcher._EXECUTOR, launcher.params
    executor = submitit.AutoExecutor(
        folder=given["submitit_folder"],
        cluster=cluster,
        **({"slurm_max_num_timeout": given["max_num_timeout"]} if cluster == "slurm" else {}),
    )
    parameters = {name: value for name, value in given.items() if name not in OURS}
    executor.update_parameters(
        **{name if name in SHARED else f"{cluster}_{name}": value for name, value in parameters.items()}
    )
    state = Singleton.get_state()
    waiting = deque((row, "hydra.sweep.dir", first + at, f"job_{first + at}", state) for at, row in enumerate(rows))
    jobs: list[Any] = []
    try:
        if cluster == "slurm":  # one array: the cluster says how many run at a time
            jobs = executor.map_array(launcher, *zip(*waiting, strict=True))
            waiting.clear()
        while waiting or jobs:
            while waiting and len(jobs) < (given.get("n_jobs") or 1):
                jobs.append(executor.submit(launcher, *waiting.popleft()))
            time.sleep(POLL_SECONDS)
            jobs = [job for job in jobs if not job.done()]
    finally:
        for job in jobs:
            job.cancel(check=False)
