"""Calls in the pieces of a stream, as servers number, name and repeat them."""

from __future__ import annotations

from typing import Any

from kinds import Kind

TITLE = "Calls in a stream"
ABOUT = "The `tool_calls` of one chunk after another, and the calls that they make."


def _delta(
    index: int | None = 0, id: str | None = None, name: str | None = None, arguments: Any = ""
) -> dict[str, Any]:
    return {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}


BARI, ROME = ("depot", '{"town": "Bari"}'), ("depot", '{"town": "Rome"}')
NOW = ("now", "{}")

KINDS = [
    Kind(
        "one call in pieces",
        "openai/openai-openapi#88",
        "id and name once",
        "one call",
        [_delta(0, "a", "depot"), _delta(0, None, None, '{"town"'), _delta(0, None, None, ': "Bari"}')],
        [BARI],
    ),
    Kind(
        "a name that is repeated",
        "mcowger/plexus#722",
        "id and name with every piece",
        "one call",
        [_delta(0, "a", "depot", '{"town"'), _delta(0, "a", "depot", ': "Bari"}')],
        [BARI],
    ),
    Kind(
        "a name that is repeated without an id",
        "mcowger/plexus#722",
        "the name with every piece",
        "one call",
        [_delta(0, None, "depot", '{"town"'), _delta(0, None, "depot", ': "Bari"}')],
        [BARI],
    ),
    Kind(
        "another id with every piece",
        "0xPlaygrounds/rig#1510",
        "new ids, no name",
        "one call",
        [_delta(0, "a", "depot", ""), _delta(0, "b", "", '{"town"'), _delta(0, "c", None, ': "Bari"}')],
        [BARI],
    ),
    Kind(
        "another id from the second piece on",
        "poolsideai/pool#9",
        "two ids, one name",
        "one call",
        [_delta(0, "a", "depot", ""), _delta(0, "b", None, '{"town": "Bari"}'), _delta(0, "b", None, "")],
        [BARI],
    ),
    Kind(
        "another id and the name with every piece",
        "0xPlaygrounds/rig#1510",
        "new ids, the name repeated",
        "one call",
        [
            _delta(0, "a", "depot", '{"town"'),
            _delta(0, "b", "depot", ': "Bari"}'),
            _delta(0, "c", "depot", ""),
        ],
        [BARI],
    ),
    Kind(
        "a name in pieces",
        "openai/openai-python#3241",
        "`de`, `pot`",
        "one call",
        [_delta(0, "a", "de"), _delta(0, None, "pot", '{"town": "Bari"}')],
        [BARI],
    ),
    Kind(
        "a name that grows",
        "openai/openai-python#3241",
        "`de`, `depot`",
        "one call",
        [_delta(0, "a", "de"), _delta(0, "a", "depot", '{"town": "Bari"}')],
        [BARI],
    ),
    Kind(
        "calls that all have the index 0",
        "NousResearch/hermes-agent#62940",
        "whole calls, index 0",
        "two calls",
        [_delta(0, "a", *BARI), _delta(0, "b", *ROME)],
        [BARI, ROME],
    ),
    Kind(
        "calls that all have the index 0 and no id",
        "su-kaka/gcli2api#406",
        "whole calls, index 0",
        "two calls",
        [_delta(0, None, *BARI), _delta(0, None, *ROME)],
        [BARI, ROME],
    ),
    Kind(
        "calls without an index",
        "QuantumNous/new-api#672",
        "no index",
        "two calls",
        [_delta(None, "a", *BARI), _delta(None, "b", *NOW)],
        [BARI, NOW],
    ),
    Kind(
        "pieces of calls that all have the index 0",
        "apache/maka#1995",
        "two ids and names, index 0",
        "two calls",
        [_delta(0, "a", "depot"), _delta(0, None, None, BARI[1]), _delta(0, "b", "now"), _delta(0, None, None, "{}")],
        [BARI, NOW],
    ),
    Kind(
        "pieces of calls of one name that all have the index 0",
        "apache/maka#1995",
        "two ids, one name, index 0",
        "two calls",
        [_delta(0, "a", "depot"), _delta(0, None, None, BARI[1]), _delta(0, "b", "depot"), _delta(0, "", "", ROME[1])],
        [BARI, ROME],
    ),
    Kind(
        "pieces of calls of one name without ids that all have the index 0",
        "su-kaka/gcli2api#406",
        "one name twice, index 0",
        "two calls",
        [_delta(0, None, "depot"), _delta(0, "", "", BARI[1]), _delta(0, None, "depot"), _delta(0, "", "", ROME[1])],
        [BARI, ROME],
    ),
    Kind(
        "another id and the name with every piece, and one at the end",
        "0xPlaygrounds/rig#1510",
        "new ids, the name repeated after the whole arguments, twice",
        "one call",
        [_delta(0, "a", *BARI), _delta(0, "b", "depot"), _delta(0, "c", "depot", " ")],
        [BARI],
    ),
    Kind(
        "an index that begins at 1",
        "mudler/LocalAI#9722",
        "indices 1 and 2",
        "two calls",
        [_delta(1, "a", *BARI), _delta(2, "b", *NOW)],
        [BARI, NOW],
    ),
    Kind(
        "arguments that come parsed",
        "isair/jarvis#560",
        "an object",
        "one call",
        [_delta(0, "a", "depot", {"town": "Bari"})],
        [BARI],
    ),
    Kind(
        "arguments that are null",
        "pydantic/pydantic-ai#1802",
        "`null` with every piece",
        "a call without arguments",
        [_delta(0, "a", "now", None), _delta(0, None, None, None)],
        [("now", "")],
    ),
    Kind(
        "null within the arguments",
        "pydantic/pydantic-ai#1802",
        "a piece that says `null`",
        "one call",
        [_delta(0, "a", "depot", '{"town": '), _delta(0, None, None, "null"), _delta(0, None, None, "}")],
        [("depot", '{"town": null}')],
    ),
]
