"""How units run: every unit once, never more in flight than asked for, failures handed back."""

from __future__ import annotations

import asyncio
import gc

import pytest

from sloop.engine.build import Components
from sloop.engine.executor import Local, Worker, concurrent
from sloop.records import Rejected

UNITS = [(f"k{n}", n) for n in range(7)]


async def _echo(unit):
    await asyncio.sleep(0)
    return [Rejected(key=str(unit), reason="echo")]


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_every_unit_comes_back_once_with_its_own_result(workers):
    results = {key: records[0].key for key, records in concurrent(workers)(UNITS, _echo)}
    assert results == {key: str(unit) for key, unit in UNITS}


def test_one_worker_keeps_the_order_of_the_units():
    assert [key for key, _ in concurrent(1)(UNITS, _echo)] == [key for key, _ in UNITS]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_units_are_in_flight_than_workers(workers):
    flying = most = 0

    async def work(unit):
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        for _ in range(5):
            await asyncio.sleep(0)
        flying -= 1
        return []

    assert len(list(concurrent(workers)(UNITS, work))) == len(UNITS)
    assert most == workers


def test_units_that_wait_for_each_other_finish():
    first_is_waiting = asyncio.Event()

    async def work(unit):
        if unit == 0:
            await first_is_waiting.wait()
        first_is_waiting.set()
        return []

    assert {key for key, _ in concurrent(2)(UNITS[:2], work)} == {"k0", "k1"}


def test_an_exception_is_the_result_of_its_unit_alone():
    async def work(unit):
        if unit == 2:
            raise ValueError("two")
        return []

    results = dict(concurrent(2)(UNITS, work))
    assert isinstance(results.pop("k2"), ValueError)
    assert all(records == [] for records in results.values())


def test_units_are_taken_only_when_there_is_room_for_them():
    taken = []

    def units():
        for key, unit in UNITS:
            taken.append(key)
            yield key, unit

    results = concurrent(2)(units(), _echo)
    next(results)
    assert len(taken) <= 2
    results.close()


def test_no_units_give_no_results():
    assert list(concurrent(4)([], _echo)) == []


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_stops_everything_without_a_word(interrupt, caplog):
    async def work(unit):
        if unit == 2:
            raise interrupt
        return []

    with pytest.raises(interrupt):
        list(concurrent(2)(UNITS, work))
    gc.collect()
    assert not caplog.records


async def _open(task: list[str], worker: Worker, unit: int):
    worker.opened("file", lambda: task.append(f"opened for {unit}"))
    return []


def test_what_was_opened_serves_all_units_of_a_stage_and_is_let_go_with_it(tmp_path):
    with Components() as components:
        executor = Local(components)
        opened: list[str] = []
        for units in (UNITS[:2], UNITS[2:4]):
            list(executor.run(units, _open, task=opened, folder=tmp_path, width=1))
        assert opened == ["opened for 0"]
        executor.leave(tmp_path)
        list(executor.run(UNITS[4:], _open, task=opened, folder=tmp_path, width=1))
    assert opened == ["opened for 0", "opened for 4"]
