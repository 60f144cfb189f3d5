from sloop.accept import request_key
from sloop.evaluate.overlap import MAX_EXAMPLES, forbidden_requests, overlaps
from sloop.types import Kind, Message, Sample, Tool

CLOCK = Tool(name="clock", parameters={"type": "object", "properties": {}})


def ask(text: str, *tools: Tool, kind: Kind | None = "single") -> Sample:
    return Sample(tools=tools, messages=(Message(role="user", content=text),), kind=kind)


def test_disjoint_sets_share_nothing() -> None:
    found = overlaps([ask("What time is it?")], [ask("Weather in Rome?"), ask("Add 5 and 3.")])
    assert (found.train, found.bench, found.num_shared) == (1, 2, 0)
    assert (found.ids, found.requests, found.examples) == ((), {}, ())


def test_the_same_sample_is_shared_by_id() -> None:
    found = overlaps([ask("What time is it?")], [ask("What time is it?")])
    assert found.ids == (ask("What time is it?").id,)
    assert found.num_shared == 1


def test_a_request_is_shared_whatever_its_case_spacing_punctuation_and_tools() -> None:
    found = overlaps([ask("what time  is it", CLOCK)], [ask("What time is it?")])
    assert found.ids == ()
    assert (found.num_shared, found.requests, found.examples) == (1, {"single": 1}, ("what time  is it",))


def test_another_value_is_another_request() -> None:
    assert overlaps([ask("Add 5 and 3.")], [ask("Add 5 and 4.")]).num_shared == 0


def test_shared_requests_are_counted_by_kind_and_small_talk_is_not_exempt() -> None:
    train = [ask("Hello!", kind="chat"), ask("hello", CLOCK, kind="chat"), ask("HELLO", kind=None), ask("Bye")]
    found = overlaps(train, [ask("hello")])
    assert found.requests == {"chat": 2, "unknown": 1}
    assert found.num_shared == 3


def test_samples_without_a_request_are_told_apart_by_id_alone() -> None:
    silent = Sample(tools=(), messages=(Message(role="system", content="Be brief."),))
    other = Sample(tools=(), messages=(Message(role="system", content="Be kind."),))
    assert overlaps([other], [silent]).num_shared == 0
    assert overlaps([silent], [silent]).num_shared == 1


def test_examples_are_few() -> None:
    rows = [ask(f"Number {k}") for k in range(MAX_EXAMPLES + 5)]
    assert len(overlaps(rows, rows).examples) == MAX_EXAMPLES


def test_forbidden_requests_are_what_overlaps_looks_for() -> None:
    bench = [ask("What time is it?"), ask("")]
    forbidden = forbidden_requests(bench)
    assert forbidden == {request_key("what time is it")}
    clean = [row for row in (ask("WHAT TIME IS IT"), ask("Bye")) if request_key(row.request) not in forbidden]
    assert overlaps(clean, bench).num_shared == 0
