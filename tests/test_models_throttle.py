"""The pace, and what makes a storm; what they do to real requests is in test_models_openai_api."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.models.throttle import STORM_WINDOW, Pace, Throttle


@given(
    st.floats(1, 10_000),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 500)), min_size=1, max_size=30),
)
@settings(deadline=None, max_examples=60)
def test_whatever_leaves_before_a_time_fits_into_the_rate(
    per_minute: float, bookings: list[tuple[float, float]]
) -> None:
    pace, now, sent, first = Pace(per_minute), 0.0, 0.0, None
    for pause, amount in bookings:
        now += pause
        start = pace.reserve(now, amount)
        first = start if first is None else first
        assert start >= now
        assert sent <= (start - first) * per_minute / 60 + 1e-6 * (1 + sent)
        sent += amount


def test_without_a_limit_nothing_waits() -> None:
    pace = Pace(None)
    assert [pace.reserve(5.0, 1e9) for _ in range(3)] == [5.0] * 3


def test_what_was_booked_and_not_used_is_given_back() -> None:
    pace = Pace(60)
    pace.reserve(0.0, 100)
    pace.correct(90)
    assert pace.reserve(0.0, 1) == pytest.approx(10.0)


def told(*replies: bool) -> Throttle:
    """A throttle that has seen replies, True for a 429."""
    throttle = Throttle(concurrency=16, requests_per_minute=None, tokens_per_minute=None)

    async def tell() -> None:
        for limited in replies:
            if limited:
                throttle.limited(10.0)
            else:
                throttle.answered()

    asyncio.run(tell())
    return throttle


def test_a_429_now_and_then_pauses_nobody_else() -> None:
    throttle = told(*([True, *[False] * 4] * 8))
    assert throttle.resume_at < 0
    assert throttle.allowed == 16


def test_a_storm_pauses_everybody_and_one_wave_of_it_halves_what_is_in_flight_once() -> None:
    throttle = told(*[True] * 12)
    assert throttle.resume_at > 0
    assert throttle.allowed == 8


def test_after_a_storm_the_old_number_is_won_back() -> None:
    assert told(*[True] * 12, *[False] * (STORM_WINDOW * 16)).allowed == 16


def test_a_request_that_is_given_up_leaves_its_place_to_the_next() -> None:
    async def run() -> list[str]:
        throttle = Throttle(concurrency=1, requests_per_minute=None, tokens_per_minute=None)
        done: list[str] = []

        async def ask(name: str) -> None:
            async with throttle.slot(1):
                await asyncio.sleep(0)
                done.append(name)

        tasks = {name: asyncio.create_task(ask(name)) for name in "abcd"}
        await asyncio.sleep(0)
        tasks["b"].cancel()
        await asyncio.wait(tasks.values())
        return done

    assert asyncio.run(run()) == ["a", "c", "d"]
