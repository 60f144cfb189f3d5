"""Ray clusters of several nodes on this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
STORE = 80 << 20
"""Bytes of shared memory for each."""


def _free() -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in AGENTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def ray_nodes(count: int) -> Iterator[Any]:
    """A cluster of nodes with two CPUs each, to which this process is connected.

    Where the ports of a node's helpers are left to Ray, it gives up on helpers that take 15 seconds to begin, as they
    do on a machine that is busy.
    """
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    cluster = Cluster()
    try:
        for _ in range(count):
            ports = dict(zip(AGENTS, _free(), strict=True))
            cluster.add_node(num_cpus=2, object_store_memory=STORE, include_dashboard=False, **ports)
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
