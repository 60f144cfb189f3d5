"""What requests cost, by role, round and model; and the budget that ends a run before it costs more.

Every request is a line of the run's usage file as soon as it is answered, so that what was spent before a ``kill -9``
still counts when the run is resumed. Dollars are worked out from the tokens, never kept: a price that was missing or
wrong can be mended later.
"""

from __future__ import annotations

import functools
import operator
import re
import threading
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from sloop.models.base import ModelError, Usage
from sloop.records import OutOfBudget, Record, UserError
from sloop.records.ranges import Within
from sloop.store import Lines, is_file
from sloop.store.files import named

USAGE_FILE = Path("sidecar") / "usage.jsonl"
"""In a run's folder; no digest covers it."""
MILLION = 1_000_000
_DATED = re.compile(r"-20\d\d-?\d\d-?\d\d$")


Dollars = Annotated[float, Within(0, 1e9)]
Budget = Annotated[int, Within(0, 10**15)]
"""Of tokens or requests."""


class Price(Record):
    """Dollars per million tokens."""

    prompt: Dollars
    cached: Dollars
    """Of the prompt's tokens: those that the server had met before."""
    completion: Dollars


class Spending(Record):
    """Section ``spending``: the most that a run may cost, all roles together; None: no limit."""

    dollars: Dollars | None
    tokens: Budget | None
    """Of prompts and answers together."""
    requests: Budget | None


UNLIMITED = Spending(dollars=None, tokens=None, requests=None)


class Spent(Record):
    """What some requests cost: a sum of lines of the usage file, or one line without its times (`Request.times`)."""

    role: str
    round: int = 0
    """0: before the first round, or in a stage used alone."""
    model: str
    requests: int = 0
    tries: int = 0
    """How often those requests were sent."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    uncounted: int = 0
    """Replies whose tokens the server did not count."""
    cache_hits: int = 0
    """Replies that were kept from before and cost nothing."""

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Spent:
        """What a line says, but for its times."""
        return cls.model_validate({name: value for name, value in line.items() if name in cls.model_fields})

    def __add__(self, other: Spent) -> Spent:
        return self.model_copy(update={name: getattr(self, name) + getattr(other, name) for name in COUNTS})


class Latency(Record):
    """How long replies took, in seconds: percentiles over the requests of one role in one round."""

    role: str
    round: int
    requests: int
    """That were answered and measured; the preflight's are not."""
    p50: float
    """From send to whole reply, of the try that had one."""
    p90: float
    p99: float
    waited_p50: float
    """From the first send to the whole reply: failed tries, and the waits after them, included."""
    waited_p90: float
    waited_p99: float


PERCENTILES = (50, 90, 99)
Key = tuple[str, int, str]
"""Role, round, model."""
COUNTS = ("requests", "tries", "prompt_tokens", "completion_tokens", "cached_tokens", "uncounted", "cache_hits")


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The price under the model's name, or under its name without a date at the end."""
    return prices.get(model) or prices.get(_DATED.sub("", model))


def dollars(spent: Spent, prices: Mapping[str, Price]) -> float | None:
    """What it cost; None where that is not known: no price, or tokens that were not counted. Nothing asked costs 0."""
    if not spent.requests:
        return 0.0
    price = price_of(spent.model, prices)
    if price is None or spent.uncounted:
        return None
    new = max(0, spent.prompt_tokens - spent.cached_tokens)  # some servers count the cached ones apart
    cost = new * price.prompt + spent.cached_tokens * price.cached + spent.completion_tokens * price.completion
    return cost / MILLION


def total_dollars(rows: Sequence[Spent], prices: Mapping[str, Price]) -> float | None:
    """The sum; None where a part of it is not known."""
    parts = [dollars(row, prices) for row in rows]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def read_usage(path: Path) -> list[Spent]:
    """The sums of a usage file by role, round and model, in this order; none where there is no file."""
    return list(_read(path)[0])


def read_latencies(path: Path) -> list[Latency]:
    """The percentiles of a usage file by role and round, in this order; none where there is no file."""
    return list(_read(path)[1])


def _read(path: Path) -> tuple[tuple[Spent, ...], tuple[Latency, ...]]:
    if not is_file(path):
        return (), ()
    found = path.stat()
    return _sums(path, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _sums(path: Path, size: int, changed: int) -> tuple[tuple[Spent, ...], tuple[Latency, ...]]:
    """Both of a file as it was when it had this size and time; plain numbers, as there may be a million lines."""
    totals: dict[Key, dict[str, int]] = {}
    times: dict[tuple[str, int], tuple[array[float], array[float]]] = {}
    for offset, row in Lines(path).read():
        try:
            _take(row, totals, times)
        except (AttributeError, LookupError, TypeError) as error:
            raise UserError(
                f"{named(path)}, byte {offset}: not a line that says what a request cost, so that nobody can tell what "
                "was spent. Take that line out, or give the file as it was."
            ) from error
    rows = ((*key, totals[key]) for key in sorted(totals))
    spent = tuple(Spent(role=role, round=number, model=model, **sums) for role, number, model, sums in rows)
    return spent, tuple(_percentiles(*key, *times[key]) for key in sorted(times))


def _take(
    row: Any, totals: dict[Key, dict[str, int]], times: dict[tuple[str, int], tuple[array[float], array[float]]]
) -> None:
    """Add a line to the sums and times; raises where it is none."""
    role, number, model = row["role"], row.get("round", 0), row["model"]
    if not (isinstance(role, str) and isinstance(number, int) and isinstance(model, str)):
        raise TypeError(row)
    sums = totals.setdefault((role, number, model), dict.fromkeys(COUNTS, 0))
    for name, value in row.items():
        if name in sums:
            sums[name] += operator.index(value)
    if (latency := row.get("latency")) is not None:
        answered, waited = times.setdefault((role, number), (array("d"), array("d")))
        answered.append(latency)
        waited.append(row.get("waited", latency))


def _percentiles(role: str, number: int, answered: array[float], waited: array[float]) -> Latency:
    import numpy

    found = {
        f"{prefix}p{percent}": float(value)
        for prefix, seconds in (("", answered), ("waited_", waited))
        for percent, value in zip(PERCENTILES, numpy.percentile(seconds, PERCENTILES), strict=True)
    }
    return Latency(role=role, round=number, requests=len(answered), **found)


def add(totals: dict[Key, Spent], row: Spent) -> None:
    """Add a row to the sum of its kind."""
    key = row.role, row.round, row.model
    totals[key] = totals[key] + row if key in totals else row


def _line(row: Spent) -> dict[str, Any]:
    return row.model_dump(exclude_defaults=True)


@dataclass
class Request:
    """One request on its way."""

    tries: int = 0
    usage: Usage | None = None
    first: float = 0.0
    """When it was first sent, by the monotonic clock in seconds."""
    last: float = 0.0
    """When it was last sent."""
    answered: float | None = None
    """When its whole reply was there."""

    def sent(self) -> None:
        """Count a try that begins now."""
        self.tries += 1
        self.last = time.monotonic()
        if self.tries == 1:
            self.first = self.last

    def spent(self, usage: Usage | None) -> None:
        """Add what a try cost, of one that failed as well."""
        if usage:
            self.usage = self.usage + usage if self.usage else usage

    def replied(self, usage: Usage | None) -> None:
        """Note that the whole reply is there."""
        self.spent(usage)
        self.answered = time.monotonic()

    def times(self) -> dict[str, float]:
        """What the request's line says of time, in seconds to the microsecond; nothing where there was no reply.

        ``latency``: from send to whole reply, of the try that had one. ``waited``, where there were several tries: from
        the first send to the whole reply.
        """
        if self.answered is None:
            return {}
        latency = {"latency": round(self.answered - self.last, 6)}
        return latency if self.tries == 1 else {**latency, "waited": round(self.answered - self.first, 6)}


class Meter:
    """Counts what a run's endpoints are asked, keeps it on disk, and stops the run at its budget.

    Endpoints on several threads may share it. Until something was spent beyond what it holds back, it writes nothing.
    """

    def __init__(
        self,
        path: Path | None = None,
        limits: Spending = UNLIMITED,
        prices: Mapping[str, Price] = MappingProxyType({}),
    ) -> None:
        """Take up the count where the file ends.

        Args:
            path: usage file of the run; None: nothing is written.
            limits: the most that may be spent, with what the file says.
            prices: by model's name.
        """
        self.limits = limits
        self.prices = prices
        self.round = 0
        """That what is asked from now on belongs to."""
        self.holding = False
        """Whether lines wait in memory: what was asked before the run had a folder."""
        self._lines = Lines(path) if path else None
        self._totals: dict[Key, Spent] = {}
        self._waiting: list[dict[str, Any]] = []
        self._hits: dict[Key, Spent] = {}
        self._flying = 0
        self._lock = threading.RLock()
        for row in read_usage(path) if path else ():
            add(self._totals, row)

    @property
    def spent(self) -> list[Spent]:
        """Sums by role, round and model."""
        with self._lock:
            return [self._totals[key] for key in sorted(self._totals)]

    def account(self, role: str, model: str) -> Account:
        """What one endpoint counts by."""
        return Account(self, role, model)

    def check(self, *, begins: bool, model: str | None = None) -> None:
        """Fail where the budget is spent.

        Args:
            begins: whether a further request would begin; one that has begun is held to tokens and dollars alone.
            model: that would be asked.

        Raises:
            OutOfBudget: as much was spent as may be, or what is limited is not counted by the endpoint.
            UserError: dollars are limited, and a model has no price.
        """
        limits = self.limits
        if limits == UNLIMITED:
            return
        with self._lock:
            rows, flying = list(self._totals.values()), self._flying
        if limits.dollars is not None:
            for name in filter(None, [model, *(row.model for row in rows if row.requests)]):
                self._check_price(name, limits.dollars)
        blind = [row.role for row in rows if row.uncounted]
        cost = total_dollars(rows, self.prices)
        used = {
            "dollars": cost or 0.0,
            "tokens": sum(row.prompt_tokens + row.completion_tokens for row in rows),
            "requests": sum(row.requests for row in rows) + flying,
        }
        for name, amount in used.items():
            most = getattr(limits, name)
            if most is None or (name == "requests" and not begins):
                continue
            if blind and name != "requests":
                raise OutOfBudget(
                    f"spending.{name}={most:g}: the endpoint of the {blind[0]} does not say how many tokens a reply "
                    "took. Limit spending.requests instead. What was finished is kept."
                )
            if amount >= most:
                money = f", {cost:.4g} dollars" if cost is not None else ""
                raise OutOfBudget(
                    f"spending.{name}={most:g} is spent: {used['requests']} requests, {used['tokens']} tokens{money}. "
                    f"What was finished is kept. Go on with the same command and more, such as "
                    f"spending.{name}={2 * most or 1:g}"
                )

    def _check_price(self, model: str, most: float) -> None:
        if price_of(model, self.prices) is None:
            raise UserError(
                f"spending.dollars={most:g}: no price of the model {model!r} is known. Give one in dollars per million "
                f"tokens, such as '+prices={{{model}:{{prompt:1,cached:1,completion:2}}}}', or limit spending.tokens "
                "or spending.requests instead."
            )

    @contextmanager
    def request(self, role: str, model: str) -> Iterator[Request]:
        """Count one request, from before its first try to its reply or failure.

        Raises:
            OutOfBudget: see `check`.
        """
        with self._lock:
            self.check(begins=True, model=model)
            self._flying += 1
        request, failed = Request(), True
        try:
            yield request
            failed = False
        except ModelError as error:
            if error.spent_nothing:
                request.tries = 0
            raise
        finally:
            with self._lock:
                self._flying -= 1
            if request.tries:
                usage = request.usage
                counted = usage.model_dump() if usage else {"uncounted": 0 if failed else 1}
                row = Spent(role=role, round=self.round, model=model, requests=1, tries=request.tries, **counted)
                self._count(row, {} if self.holding else request.times())

    def hit(self, role: str, model: str) -> None:
        """Count a reply that was kept from before; on disk with the next request, or with `flush`."""
        row = Spent(role=role, round=self.round, model=model, cache_hits=1)
        with self._lock:
            add(self._totals, row)
            add(self._hits, row)

    def enter(self, lines: Sequence[dict[str, Any]]) -> None:
        """Add lines that were counted elsewhere."""
        with self._lock:
            for line in lines:
                add(self._totals, Spent.of(line))
            self._waiting += lines
            self._write()

    def flush(self) -> None:
        """Write what waits in memory."""
        with self._lock:
            self._write()

    def close(self) -> None:
        """Close the file."""
        if self._lines:
            self._lines.close()

    def _count(self, row: Spent, times: dict[str, float]) -> None:
        with self._lock:
            add(self._totals, row)
            self._waiting.append(_line(row) | times)
            if not self.holding:
                self._write()

    def _taken(self) -> list[dict[str, Any]]:
        """What waits in memory; it waits no more."""
        lines = [*map(_line, self._hits.values()), *self._waiting]
        self._hits, self._waiting = {}, []
        return lines

    def _write(self) -> None:
        lines = self._taken()
        for line in lines if self._lines else ():
            assert self._lines is not None
            self._lines.append(line)


@dataclass(frozen=True)
class Account:
    """One endpoint's part of a `Meter`."""

    meter: Meter
    role: str
    model: str

    def check(self) -> None:
        """See `Meter.check`."""
        self.meter.check(begins=False)

    @contextmanager
    def request(self) -> Iterator[Request]:
        """See `Meter.request`."""
        with self.meter.request(self.role, self.model) as request:
            yield request

    def hit(self) -> None:
        """See `Meter.hit`."""
        self.meter.hit(self.role, self.model)
