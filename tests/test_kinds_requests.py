"""Every kind of dialogue goes out as its kind says."""

from __future__ import annotations

import pytest
from kinds import Kind
from kinds.requests import KINDS

from sloop.models.base import Sampling
from sloop.models.preflight import WEATHER
from sloop.models.wire import request_body
from sloop.records import Message


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_dialogue_goes_out_as_its_kind_says(kind: Kind) -> None:
    messages, in_text = kind.given
    sampling = Sampling(temperature=0.0, max_tokens=9, tool_choice="none", in_text=in_text)
    body = request_body("m", [Message.model_validate(message) for message in messages], [WEATHER], sampling)
    assert {name: body.get(name) for name in kind.comes} == kind.comes
