"""A proxy on loopback that passes requests on, and fails some of them in all the ways that a network has."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web

FAULTS = ("429", "500", "drop", "truncate", "garbage", "delay", "drop-after")
"""drop: before the request is passed on; drop-after: when it has been answered; truncate: half of the answer."""


class FaultProxy:
    """Which requests fail is drawn from their content and from how often they came: the same in every run."""

    def __init__(self, target: str, share: float) -> None:
        self.target = target
        self.share = share
        self.url = ""
        self.faults: Counter[str] = Counter()
        self.passed = 0
        self._times: Counter[bytes] = Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        times, self._times[body] = self._times[body], self._times[body] + 1
        number = int.from_bytes(hashlib.sha256(body + bytes([times])).digest()[:4], "big")
        fault = FAULTS[number % len(FAULTS)] if number / 2**32 < self.share else None
        assert request.transport is not None
        if fault:
            self.faults[fault] += 1
        match fault:
            case "429":
                return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0"})
            case "500":
                return web.Response(status=500, text="<html>oops</html>", content_type="text/html")
            case "drop":
                request.transport.close()
                return web.Response()
            case "delay":
                await asyncio.sleep(0.05)
        url = self.target + request.path_qs.removeprefix("/v1")
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, data=body, headers=headers) as answer,
        ):
            text, kind, status = await answer.read(), answer.content_type, answer.status
        self.passed += 1
        if fault == "drop-after":
            request.transport.close()
            return web.Response()
        if fault == "truncate":
            response = web.StreamResponse(headers={"Content-Length": str(len(text)), "Content-Type": kind})
            await response.prepare(request)
            await response.write(text[: len(text) // 2])
            request.transport.close()
            return response
        return web.Response(body=text[:-9] if fault == "garbage" else text, status=status, content_type=kind)


@contextmanager
def faulty(target: str, share: float) -> Iterator[FaultProxy]:
    """A proxy in front of a base URL, on a thread of its own, until the block ends."""
    proxy, loop, ready = FaultProxy(target, share), asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
