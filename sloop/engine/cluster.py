"""Units on a Ray cluster, one that is there or one started here.

A worker process (`sloop.engine.hand.Hand`, a Ray actor) builds components, opens files and loads weights once, and
works on the shards of units that it is sent. The driver sends what all units share once, journals and folds as ever.
Of a shard that was lost with its node nothing is journalled: it is sent again, to another. Ray itself does nothing
over, as it would have to know which units came back.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import AfterValidator

from sloop.engine.build import Components
from sloop.engine.executor import Result, Worker, units_in_flight
from sloop.engine.hand import Branch, Failed, Hand, Job, Outcome
from sloop.records import Checkpoint, Record, UserError
from sloop.records.ranges import Batch, Within, refused
from sloop.store import Rows

Task = TypeVar("Task")
Unit = TypeVar("Unit")

TRIES = 3
"""How often a shard is sent whose worker is lost each time, and a worker is started that never begins."""
LONG_ENOUGH = 0.25
"""Seconds of work in a shard, from which sending it costs next to nothing."""
QUEUED = 2
"""Shards that a worker has at a time where its units only compute: one to work on, one to go on with."""
PATIENCE = 600.0
"""Seconds to wait for a first worker: a cluster that grows on demand takes minutes."""
PARTING = 5.0
"""Seconds to wait for what workers have to say at the end."""
OBJECT_STORE = 100 << 20
"""Bytes of shared memory where Ray is started here; what all units share goes through it."""


def _address(text: str) -> str:
    if not re.fullmatch(r"auto|(ray://)?[\w.\[\]:-]{1,300}:\d{1,5}", text, re.ASCII):
        raise refused("give the address of a Ray cluster: auto (this machine's), HOST:6379 or ray://HOST:10001")
    return text


class RaySettings(Record):
    """Section ``executor`` of kind ``ray``; ``conf/executor/ray.yaml`` says what each key means."""

    kind: Literal["ray"]
    workers: Batch | None
    address: Annotated[str, AfterValidator(_address)] | None
    shard: Batch
    cpus: Annotated[float, Within(0, 1_024, above=True)]
    gpus: Annotated[float, Within(0, 64)]


class Books(Protocol):
    """Counts what the whole run spends, where it is driven."""

    def branch(self, workers: int) -> Callable[[], Branch]:
        """What makes one of so many branches; it is sent."""
        ...

    def standing(self) -> Any:
        """What was spent so far; it is sent."""
        ...

    def enter(self, drained: Sequence[Any]) -> None:
        """Add what a branch counted."""
        ...


# --- where the run is driven ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Hand:
    """A worker as the driver knows it."""

    actor: Any
    node: str = ""
    shards: int = 0
    """That it has now."""


@dataclasses.dataclass
class _Shard:
    units: list[tuple[str, Any]]
    hand: _Hand | None = None
    tries: int = 0


@dataclasses.dataclass
class _Sent:
    """A job that workers may have been sent."""

    number: int
    task: Any
    """Kept, so that no other gets its id."""
    reference: Any
    size: int = 1
    """Units in a shard: doubled until one takes long enough."""


class Ray:
    """Runs units on a Ray cluster (`sloop.engine.executor.Executor`); nothing is started before the first unit."""

    def __init__(
        self,
        components: Components,
        settings: RaySettings,
        books: Books,
        *,
        environment: Mapping[str, str],
        facts: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Take what there is.

        Args:
            components: those of this process, which plans and folds.
            settings: see `RaySettings`.
            books: what counts the run's spending.
            environment: variables that workers get, keys among them: handed to them alone, and never to the cluster.
            facts: a function of a module: what results depend on that a node may have otherwise.
        """
        self.components = components
        self._settings = settings
        self._books = books
        self._environment = dict(environment)
        self._facts = facts
        self._count = 0
        """Workers wanted; 0: not begun."""
        self._hands: list[_Hand] = []
        self._joining: dict[Any, _Hand] = {}
        self._failed_joins = 0
        self._started = False
        """Whether this process is connected for this executor alone."""
        self._sent: dict[tuple[Path, Any, int], _Sent] = {}
        self._numbers = count()

    def width(self, *parts: object) -> int:
        """As many as a part that waits for a network asks for; what only computes is spread over the workers."""
        return units_in_flight(1, *parts)

    def run(
        self,
        units: Iterable[tuple[str, Unit]],
        work: Callable[[Task, Worker, Unit], Awaitable[Sequence[Record]]],
        *,
        task: Task,
        folder: Path,
        width: int,
    ) -> Iterator[Result]:
        """Run the units; see `sloop.engine.executor.Executor`.

        Raises:
            UserError: there is no cluster or no room in it, a node has other code or misses a file, or units were lost
                with their workers again and again.
        """
        import ray

        waiting = iter(units)
        if (first := next(waiting, None)) is None:
            return
        self._begin()
        sent = self._job(work, task, folder)
        again = deque([_Shard([first])])
        flying: dict[Any, _Shard] = {}
        try:
            while True:
                each = max(QUEUED, math.ceil(width / len(self._hands))) if self._hands else 0
                while hand := min((h for h in self._hands if h.shards < each), key=lambda h: h.shards, default=None):
                    shard = again.popleft() if again else _Shard(list(islice(waiting, sent.size)))
                    if not shard.units:
                        break
                    flying[self._send(sent, shard, hand)] = shard
                if not flying and not again and self._hands:
                    return
                for reference in self._ready(flying):
                    shard = flying.pop(reference)
                    outcome = self._outcome(reference, shard)
                    if outcome is None:
                        again.append(shard)
                        continue
                    # Those that wait for a network go one by one: a budget is passed by what is on its way
                    if width <= 1 and len(shard.units) == sent.size and outcome.seconds < LONG_ENOUGH:
                        sent.size = min(self._settings.shard, 2 * sent.size)
                    for key, result in outcome.results:
                        yield key, result.error() if isinstance(result, Failed) else result
        finally:
            for reference in flying if self._count else ():
                ray.cancel(reference)

    def leave(self, folder: Path) -> None:
        """Let go; see `sloop.engine.executor.Executor`."""
        gone = [name for name in self._sent if name[0] == folder]
        numbers = [self._sent.pop(name).number for name in gone]
        for hand in self._hands if numbers else ():
            hand.actor.leave.remote(folder, numbers)

    def close(self) -> None:
        """End the workers, and Ray where it was started here."""
        if not self._count:
            return
        import ray

        ends = [hand.actor.close.remote() for hand in self._hands]
        for end in ray.wait(ends, num_returns=len(ends), timeout=PARTING)[0] if ends else ():
            with suppress(ray.exceptions.RayError):
                self._books.enter(ray.get(end))
        for hand in [*self._hands, *self._joining.values()]:
            ray.kill(hand.actor)
        self._hands, self._joining, self._sent, self._count = [], {}, {}, 0
        if self._started:
            ray.shutdown()

    # --- workers

    def _begin(self) -> None:
        """Connect and start the workers, unless that is done."""
        if self._count:
            return
        import ray

        if not ray.is_initialized():  # as it is in a process that Ray has started, for a sweep
            self._connect()
        self._count = self._settings.workers or self._room()
        for _ in range(self._count):
            self._start()

    def _connect(self) -> None:
        # Ray tells its makers how it is used; its workers' output is theirs, and kept in its folder of the session.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        terminated = signal.getsignal(signal.SIGTERM)
        self._started = True
        self._init()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)  # Ray's own handler would end the process on the spot

    def _init(self) -> None:
        import ray

        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        address, workers = self._settings.address, self._settings.workers
        if address is None:
            cpus = math.ceil(workers * self._settings.cpus) if workers else len(os.sched_getaffinity(0))
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
            return
        try:
            ray.init(address, **quiet)
        except ConnectionError as error:
            raise UserError(
                f"executor.address={address}: no Ray cluster answers there ({str(error).splitlines()[0]}). Start one "
                "with: ray start --head. If one runs there, it may want the token of its ~/.ray/auth_token: set "
                "RAY_AUTH_MODE=token. Or leave the address out, to use this machine alone."
            ) from error
        except ValueError as error:  # no address is left that Ray cannot read (`_address`): its client is missing
            raise UserError(
                f"executor.address={address}: Ray reaches a cluster so by its client, which is not installed: "
                "pip install 'ray[client]'. On a machine of the cluster itself: auto, or HOST:6379."
            ) from error

    def _room(self) -> int:
        """How many workers the cluster's nodes have room for."""
        import ray

        wanted = {"CPU": self._settings.cpus, "GPU": self._settings.gpus}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(
            int(min(node.get(name, 0.0) // amount for name, amount in wanted.items() if amount)) for node in nodes
        )
        if not room:
            there = "; ".join(", ".join(f"{node.get(name, 0):g} {name}s" for name in wanted) for node in nodes)
            raise UserError(
                f"executor.cpus={self._settings.cpus:g}, executor.gpus={self._settings.gpus:g}: no node has so many "
                f"(they have {there}). Ask for fewer, or name a number of workers to wait for: executor.workers=4"
            )
        return room

    def _start(self) -> None:
        """Have another worker started, on any node."""
        import ray

        actor = ray.remote(
            num_cpus=self._settings.cpus, num_gpus=self._settings.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )(Hand).remote()
        joined = actor.join.remote(Path.cwd(), self._environment, self._facts, self._books.branch(self._count))
        self._joining[joined] = _Hand(actor)

    def _welcome(self, reference: Any) -> None:
        """Take in a worker that has begun, or find out why it has not."""
        import ray

        hand = self._joining.pop(reference)
        try:
            joined = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._failed_joins += 1
            if self._failed_joins >= TRIES or isinstance(error, ray.exceptions.RayTaskError):
                raise UserError(f"executor=ray: a worker could not begin. {_last_line(error)}") from error
            self._start()
            return
        if isinstance(joined, UserError):
            raise joined
        hand.node, there = joined
        here = self._facts()
        if other := [f"{name} {there.get(name)}, here {value}" for name, value in here.items() if there[name] != value]:
            raise UserError(
                f"executor=ray: results on the node {hand.node} would be others: it has {'; '.join(other)}. Install "
                "there what is installed here."
            )
        self._failed_joins = 0
        self._hands.append(hand)

    def _lose(self, hand: _Hand) -> None:
        """Have another worker in the place of one that is lost, once for all of its shards."""
        import ray

        if hand in self._hands:
            self._hands.remove(hand)
            ray.kill(hand.actor)  # it may be there still, and out of reach
            self._start()

    # --- shards

    def _job(self, work: Any, task: Any, folder: Path) -> _Sent:
        import ray

        name = folder, work, id(task)
        if name not in self._sent:
            read = [folder, *(path for path in _paths(task) if path.exists())]
            reference = ray.put(Job(work, task, folder.absolute(), [path.absolute() for path in read]))
            self._sent[name] = _Sent(next(self._numbers), task, reference)
        return self._sent[name]

    def _send(self, sent: _Sent, shard: _Shard, hand: _Hand) -> Any:
        shard.hand = hand
        hand.shards += 1
        return hand.actor.work.remote(sent.number, [sent.reference], self._books.standing(), shard.units)

    def _ready(self, flying: Mapping[Any, _Shard]) -> list[Any]:
        """Wait until shards are back or workers have begun; returns the shards."""
        import ray

        waited = [*flying, *self._joining]
        ready, _ = ray.wait(waited, num_returns=1, timeout=PATIENCE)
        if not ready and not self._hands:
            raise UserError(
                f"executor=ray: the cluster had no room for a worker of {self._settings.cpus:g} CPUs and "
                f"{self._settings.gpus:g} GPUs within {PATIENCE:g} s. What was finished is kept. See: ray status"
            )
        for reference in self._joining.keys() & set(ready):
            self._welcome(reference)
        return [reference for reference in ready if reference in flying]

    def _outcome(self, reference: Any, shard: _Shard) -> Outcome | None:
        """What a shard came back as; None: it was lost with its worker, and is to be sent again."""
        import ray

        hand = shard.hand
        assert hand is not None
        hand.shards -= 1
        try:
            outcome: Outcome | UserError = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise UserError(f"executor=ray: the node {hand.node} cannot do this. {_last_line(error)}") from error
        except ray.exceptions.RayError as error:
            self._lose(hand)
            shard.tries += 1
            if shard.tries == TRIES:
                first, last = shard.units[0][0], shard.units[-1][0]
                raise UserError(
                    f"executor=ray: the units {first} to {last} were lost with their worker {TRIES} times, the last on "
                    f"the node {hand.node}: {_last_line(error)} What was finished is kept. Has it the memory for them?"
                ) from error
            return None
        if isinstance(outcome, UserError):
            raise outcome
        self._books.enter(outcome.drained)
        return outcome


def _paths(task: Any) -> Iterator[Path]:
    """Files and checkpoints among what a task holds."""
    parts = [getattr(task, f.name) for f in dataclasses.fields(task)] if dataclasses.is_dataclass(task) else [task]
    while parts:
        part = parts.pop()
        if isinstance(part, list | tuple):
            parts.extend(part)
        elif isinstance(part, Checkpoint | Rows):
            yield Path(part.path)
        elif isinstance(part, Path):
            yield part


def _last_line(error: Exception) -> str:
    """Of an error of Ray's, which quotes whole tracebacks."""
    return str(error).strip().splitlines()[-1].strip()
