"""Every kind of call in a stream makes the calls that its kind says."""

from __future__ import annotations

import pytest
from kinds import Kind
from kinds.streams import KINDS

from sloop.models.streaming import fold, read_chunk


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_pieces_make_the_calls_that_their_kind_says(kind: Kind) -> None:
    chunks = [read_chunk({"choices": [{"delta": {"tool_calls": [delta]}}]}) for delta in kind.given]
    assert [(call.name, call.arguments) for call in fold(chunks).calls] == kind.comes
