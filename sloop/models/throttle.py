"""How fast requests may leave: in flight, per minute, tokens per minute, and a pause when the server says too much."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from sloop.records import Record
from sloop.records.ranges import Batch, Pause, Seconds, Within

STORM_WINDOW, STORM = 16, 8
"""Replies looked back at, and how many 429s among them pause the whole client; fewer delay their own requests alone."""


Rate = Annotated[float, Within(0, 1e12, above=True)]
"""A minute."""


class Limits(Record):
    """How hard an endpoint may be pressed, and how long it is waited for."""

    concurrency: Batch
    requests_per_minute: Rate | None
    tokens_per_minute: Rate | None
    timeout: Seconds
    """Seconds for one try, from the request to the last byte of the reply."""
    retries: Annotated[int, Within(0, 1_000)]
    """Further tries after the first."""
    backoff: Pause
    """Seconds before the second try, doubled for every further one, where the server does not ask for a time."""
    max_wait: Seconds
    """Longest Retry-After, in seconds, that is waited for; a longer one ends the run."""

    def part(self, of: int) -> Limits:
        """What one of so many may do, so that all together keep within these; one request at a time in any case."""
        rates = {name: getattr(self, name) for name in ("requests_per_minute", "tokens_per_minute")}
        shared = {name: rate / of for name, rate in rates.items() if rate is not None}
        return self.model_copy(update={"concurrency": max(1, self.concurrency // of), **shared})


class Pace:
    """An even flow: amounts leave at ``per_minute`` on average, one after another, without bursts."""

    def __init__(self, per_minute: float | None) -> None:
        """Take the rate; None: no limit."""
        self.seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._free_at = -math.inf

    def reserve(self, now: float, amount: float) -> float:
        """Book ``amount``; returns the time (same clock as ``now``, seconds) at which it may leave."""
        start = max(now, self._free_at)
        self._free_at = start + amount * self.seconds_each
        return start

    def correct(self, surplus: float) -> None:
        """Give back what was booked and not used (negative: what was used beyond it)."""
        self._free_at -= surplus * self.seconds_each


class Throttle:
    """Decides when a request leaves. Belongs to one event loop."""

    def __init__(self, *, concurrency: int, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """Take the limits; None: no limit."""
        self.allowed: float = concurrency
        """In flight at most; halved by a storm, and won back by one for every ``allowed`` replies."""
        self.resume_at = -math.inf
        """Nothing leaves before this time of the event loop."""
        self._concurrency = concurrency
        self._requests = Pace(requests_per_minute)
        self._tokens = Pace(tokens_per_minute)
        self._flying = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._limited: deque[bool] = deque(maxlen=STORM_WINDOW)

    @asynccontextmanager
    async def slot(self, tokens: float) -> AsyncIterator[None]:
        """Wait for a place in flight and for the pace; ``tokens`` is an estimate of what the request costs."""
        while self._flying >= max(1, int(self.allowed)):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                self._wake()
                raise
        self._flying += 1
        try:
            now = asyncio.get_running_loop().time()
            await self._until(max(self._requests.reserve(now, 1), self._tokens.reserve(now, tokens)))
            yield
        finally:
            self._flying -= 1
            self._wake()

    async def _until(self, start: float) -> None:
        loop = asyncio.get_running_loop()
        while (wait := max(start, self.resume_at) - loop.time()) > 0:
            await asyncio.sleep(wait)

    def used(self, estimated: float, counted: float) -> None:
        """Correct the token pace by what the server counted."""
        self._tokens.correct(estimated - counted)

    def answered(self) -> None:
        """A reply came that was no 429."""
        self._limited.append(False)
        if self.allowed < self._concurrency:
            self.allowed = min(self._concurrency, self.allowed + 1 / self.allowed)
            self._wake()

    def limited(self, wait: float) -> bool:
        """A 429 came that asks for ``wait`` seconds; returns whether it makes a storm, which pauses the client."""
        self._limited.append(True)
        if sum(self._limited) < STORM:
            return False
        now = asyncio.get_running_loop().time()
        if now >= self.resume_at:  # the rest of the same wave tells nothing new
            self.allowed = max(1.0, self.allowed / 2)
        self.resume_at = max(self.resume_at, now + wait)
        return True

    def _wake(self) -> None:
        """Let in as many as there is room for; who was cancelled meanwhile is passed over."""
        room = max(1, int(self.allowed)) - self._flying
        while room > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                room -= 1
