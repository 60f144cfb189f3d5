"""What an answer that is right in part is worth."""

from __future__ import annotations

import pytest
from models import NOTHING, TIMER, WEATHER, ask
from pydantic import ValidationError

from sloop.records import Label, ToolCall
from sloop.trainers.reward import Parts, Reward, parts_of

TOOLS = (WEATHER, TIMER, NOTHING)
ROME = ToolCall(name="get_weather", arguments={"city": "Rome", "days": 3})
TEA = ToolCall(name="set_timer", arguments={"minutes": 2})


def weather(**arguments: object) -> ToolCall:
    return ToolCall(name="get_weather", arguments=arguments)


@pytest.mark.parametrize(
    ("asked", "given", "parts"),
    [
        ((ROME,), (ROME,), (1, 1, 1, 1)),
        ((ROME,), (weather(city=" Rome ", days=3.0),), (1, 1, 1, 1)),
        ((ROME,), (weather(city="Oslo", days=3),), (0, 1, 1, 1 / 2)),
        ((ROME,), (weather(city="Rome"),), (0, 1, 1 / 2, 1 / 2)),
        ((ROME,), (weather(city="Rome", days=3, unit="C"),), (0, 1, 2 / 3, 2 / 3)),
        ((ROME,), (TEA,), (0, 0, 0, 0)),
        ((ROME,), (ROME, TEA), (0, 1 / 2, 2 / 3, 2 / 3)),
        ((ROME, TEA), (TEA, ROME), (1, 1, 1, 1)),
        ((ROME, weather(city="Oslo")), (weather(city="Oslo"), ROME), (1, 1, 1, 1)),
        ((ToolCall(name="ping", arguments={}),), (ToolCall(name="ping", arguments={}),), (1, 1, 1, 1)),
        ((), (), (1, 1, 1, 1)),
        ((), (ROME,), (0, 0, 0, 0)),
        ((ROME,), (), (0, 0, 0, 0)),
        ((ROME,), None, (0, 0, 0, 0)),
        ((), None, (0, 0, 0, 0)),
    ],
)
def test_what_of_an_answer_is_right(
    asked: tuple[ToolCall, ...], given: tuple[ToolCall, ...] | None, parts: tuple[float, ...]
) -> None:
    assert parts_of(TOOLS, given, Label(calls=asked, content="" if asked else "No.")) == pytest.approx(Parts(*parts))


def test_the_reward_is_the_weighted_mean_of_the_parts() -> None:
    sample = ask("weather in Rome", ROME)
    almost = (weather(city="Oslo", days=3),)
    assert Reward(exact=1, names=0, keys=0, values=0).of(sample, almost) == 0
    assert Reward(exact=2, names=1, keys=0, values=1).of(sample, almost) == pytest.approx((1 + 0.5) / 4)
    assert Reward(exact=2, names=1, keys=0, values=1).of(sample, (ROME,)) == 1


def test_a_reward_that_counts_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one weight above 0"):
        Reward(exact=0, names=0, keys=0, values=0)
