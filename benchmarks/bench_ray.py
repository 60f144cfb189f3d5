"""Units over Ray beside units here: what a shard costs, and what one and two nodes of this machine gain.

usage: python benchmarks/bench_ray.py
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bench_gen import demo_pool

from sloop.engine.build import Components
from sloop.engine.cluster import Ray, RaySettings
from sloop.engine.executor import Executor, Local, Worker
from sloop.models.branch import Books
from sloop.models.usage import Meter
from sloop.records import Record, Score

EMPTY, BUSY, SAMPLES = 2_000, 150, 6_000
BURN = 0.02
"""CPU seconds of a busy unit."""


def nothing_to_compare() -> dict[str, Any]:
    return {}


async def unit(task: float, worker: Worker, number: int) -> Sequence[Record]:
    began = time.thread_time()
    while time.thread_time() - began < task:
        pass
    return [Score(name=str(number), value=1.0, n=1)]


def units(executor: Executor, count: int, seconds: float) -> None:
    given = [(f"u{number}", number) for number in range(count)]
    assert len(list(executor.run(given, unit, task=seconds, folder=Path.cwd(), width=1))) == count


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def over_ray(workers: int, shard: int) -> Ray:
    made = RaySettings(kind="ray", workers=workers, address=None, shard=shard, cpus=1, gpus=0)
    return Ray(Components(), made, Books(Meter()), environment={}, facts=nothing_to_compare)


def measure(name: str, executor: Executor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        demo_pool(200, Path(folder) / "warm", executor)
        units(executor, 20, BURN)
        for what, count, work in (
            ("empty units", EMPTY, lambda: units(executor, EMPTY, 0.0)),
            ("units of 20 CPU ms", BUSY, lambda: units(executor, BUSY, BURN)),
            ("gen, samples", SAMPLES, lambda: demo_pool(SAMPLES, Path(folder) / "gen", executor)),
        ):
            wall, cpu = timed(work)
            each, here = 1000 * wall / count, 1000 * cpu / count
            print(f"{name:24} {what:20} {each:7.2f} ms each by the clock, {here:6.2f} CPU ms here")


def main() -> None:
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    measure("here", Local(Components()))
    cluster = Cluster()
    try:
        for nodes in (1, 2):
            cluster.add_node(num_cpus=1, object_store_memory=80 << 20, include_dashboard=False)
            if nodes == 1:
                ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
            for shard in (1, 64):
                with closing(over_ray(nodes, shard)) as executor:
                    measure(f"ray, {nodes} nodes, shard={shard}", executor)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
