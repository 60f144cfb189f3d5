"""Teachers that fail by design: one kills its process, once; one breaks until it is mended by a file beside it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

from acme_tools import EchoTeacher

from sloop.records import Dialogue, Order, Rejected


class FatalTeacher(EchoTeacher):
    """The first that writes anything ends its process, as the system does for want of memory."""

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        if not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().write(order, rng)


class BrokenTeacher(EchoTeacher):
    """Cannot write until somebody has made the file ``mended``."""

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        if not Path("mended").exists():
            raise RuntimeError("the pen is broken")
        return await super().write(order, rng)


class SlowTeacher(EchoTeacher):
    """Says that it has begun, and waits to be interrupted, or until somebody has made the file ``mended``."""

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        import asyncio

        Path("begun").touch()
        until = asyncio.get_running_loop().time() + 600
        while not Path("mended").exists() and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.1)
        return await super().write(order, rng)
