"""How the units of a stage run: one after another, or many in flight on one event loop.

`Stage.map` hands over units and takes back results in any order; the journal and the fold make the bytes the same
whatever the order was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from sloop.records import Record

Unit = TypeVar("Unit")
Result = tuple[str, Sequence[Record] | Exception]


class Executor(Protocol):
    """Runs ``work`` on each keyed unit and yields (key, records or the exception), in any order."""

    def __call__(
        self, units: Iterable[tuple[str, Unit]], work: Callable[[Unit], Awaitable[Sequence[Record]]]
    ) -> Iterator[Result]:
        """Run the units."""
        ...


def concurrent(workers: int = 1) -> Executor:
    """At most ``workers`` units in flight on one event loop (1 = one after another).

    Units that wait for a network overlap; units that only compute gain nothing from more workers.
    """

    def run(units: Iterable[tuple[str, Unit]], work: Callable[[Unit], Awaitable[Sequence[Record]]]) -> Iterator[Result]:
        async def attempt(key: str, unit: Unit) -> Result:
            try:
                return key, await work(unit)
            except Exception as error:  # the per-unit boundary: the caller journals and counts it
                return key, error

        waiting = iter(units)
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            flying: set[asyncio.Task[Result]] = set()
            try:
                while True:
                    while len(flying) < workers and (item := next(waiting, None)) is not None:
                        flying.add(loop.create_task(attempt(*item)))
                    if not flying:
                        return
                    done, flying = loop.run_until_complete(asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED))
                    for task in done:
                        yield task.result()
            finally:
                for task in flying:
                    if task.done() and not task.cancelled():
                        task.exception()  # an interrupt, already raised: looked at, or asyncio logs a traceback of it

    return run


@runtime_checkable
class Remote(Protocol):
    """A teacher or judge that waits for a network: many units of work are on their way at once."""

    @property
    def in_flight(self) -> int:
        """Units worth having on their way at a time, those included that wait for another try."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


def units_in_flight(workers: int, *parts: object) -> int:
    """How many units a stage with these parts has on their way: ``workers``, or what a remote part asks for."""
    return max([workers, *(part.in_flight for part in parts if isinstance(part, Remote))])
