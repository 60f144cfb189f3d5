"""Generating a dataset: plans, bytes, the door, the split."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from acme_tools import EchoTeacher
from hypothesis import given, settings
from hypothesis import strategies as st

from sloop.calls.wording import request_key
from sloop.engine.build import Components, build
from sloop.engine.executor import Local
from sloop.engine.identity import unit_rng
from sloop.engine.stage import Place, run_stage
from sloop.records import Dialogue, Message, Rejected, Sample, Truth, UserError
from sloop.records.ranges import checked
from sloop.stages.gen import Gen, GenSettings, in_train, plan_orders, preview
from sloop.stages.samplers import CoverageSampler, RandomSampler
from sloop.store import Dataset, read_rows
from sloop.tools.sources import load_tools

TOOLS = load_tools(Path(__file__).parent / "plugin" / "acme_tools.json")
KINDS = {"single": 0.4, "parallel": 0.1, "irrelevant": 0.3, "incomplete": 0.1, "chat": 0.1}
SETTINGS = GenSettings(kinds=KINDS, offered=(2, 4), contrast=0.7)
FILES = ("train.jsonl", "dev.jsonl", "truth.jsonl", "rejected.jsonl", "card.md", "stage.json")


class DullTeacher:
    """Knows three requests."""

    def __init__(self) -> None:
        self.written = 0

    async def write(self, order, rng):
        self.written += 1
        said = rng.choice(["one", "two", "three"])
        messages = (Message(role="user", content=said), Message(role="assistant", content="no"))
        return Dialogue(tools=TOOLS[:1], messages=messages)


class RefusingTeacher:
    """Writes nothing."""

    async def write(self, order, rng):
        return Rejected(key=order.key, reason="cannot_express")


class TwoDecisionTeacher:
    """Writes dialogues of two decisions."""

    async def write(self, order, rng):
        said = [("user", f"{order.key} hello"), ("assistant", "yes?"), ("user", "bye"), ("assistant", "bye")]
        return Dialogue(tools=order.tools, messages=tuple(Message(role=r, content=c) for r, c in said))


def _gen(
    out, *, num_samples=60, seed=1, teacher=None, settings=SETTINGS, train_split=1.0, tools=TOOLS, workers=1, **more
):
    stage = Gen(
        tools=tools,
        teacher=teacher or EchoTeacher(error_rate=0.2),
        sampler=RandomSampler(),
        settings=settings,
        num_samples=num_samples,
        seed=seed,
        train_split=train_split,
        **more,
    )
    return run_stage(stage, Place(out, executor=Local(Components(), workers)))


def _plan(count, seed=0, settings=SETTINGS, tools=TOOLS):
    return list(islice(plan_orders(tools, RandomSampler(), settings, Random(seed), "r0-"), count))


def _bytes(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def _all(stage):
    return [s for name in ("train.jsonl", "dev.jsonl") for s in read_rows(stage.folder / name, Sample)]


# --- samplers -----------------------------------------------------------------------------------------------------


def test_a_coverage_sampler_visits_every_tool_about_as_often():
    visits = Counter(tool.name for tool in islice(CoverageSampler(decay=0.1).wanted(TOOLS, Random(0)), 600))
    assert max(visits.values()) - min(visits.values()) <= 6
    assert len(visits) == len(TOOLS)


@pytest.mark.parametrize("decay", [0, -1, 1.5])
def test_a_decay_outside_0_to_1_is_named(decay):
    with pytest.raises(UserError, match=rf"sampler\.decay={decay}"):
        build({"_target_": "sloop.stages.samplers.CoverageSampler", "decay": decay}, "sampler")


@pytest.mark.parametrize("sampler", [RandomSampler(), CoverageSampler(decay=0.5)])
def test_a_sampler_repeats_itself_under_the_same_generator(sampler):
    first, second = (list(islice(sampler.wanted(TOOLS, Random(3)), 50)) for _ in range(2))
    assert first == second


def test_a_coverage_sampler_goes_on_when_weights_have_become_tiny():
    assert len(list(islice(CoverageSampler(decay=1e-5).wanted(TOOLS[:2], Random(0)), 2000))) == 2000


# --- plans --------------------------------------------------------------------------------------------------------


def test_units_have_keys_of_their_own():
    units = _plan(200)
    keys = [order.key for _, orders in units for order in orders]
    assert len({key for key, _ in units}) == 200
    assert len(set(keys)) == len(keys)


def test_no_order_offers_a_tool_twice_or_more_tools_than_asked_for():
    for _, orders in _plan(300):
        for order in orders:
            names = [tool.name for tool in order.tools]
            assert len(set(names)) == len(names)
            assert 1 <= len(names) <= 4


def test_the_wanted_tools_are_on_offer_unless_the_request_is_irrelevant():
    for _, orders in _plan(300):
        for order in orders:
            offered = {tool.name for tool in order.tools}
            wanted = {tool.name for tool in order.wanted}
            assert not wanted & offered if order.kind == "irrelevant" else wanted <= offered


def test_kinds_come_in_their_shares():
    kinds = Counter(orders[-1].kind for _, orders in _plan(3000))
    assert {kind: round(count / 3000, 1) for kind, count in kinds.items()} == pytest.approx(KINDS, abs=0.1)


def test_a_tool_that_needs_nothing_is_never_asked_for_incompletely():
    tools = [tool.model_copy(update={"parameters": {"type": "object", "properties": {}}}) for tool in TOOLS]
    only = GenSettings(kinds={"incomplete": 1}, offered=(2, 3), contrast=0)
    assert {order.kind for _, orders in _plan(20, settings=only, tools=tools) for order in orders} == {"single"}


def test_one_tool_alone_makes_no_irrelevant_request():
    only = GenSettings(kinds={"irrelevant": 1}, offered=(1, 3), contrast=0.5)
    orders = [order for _, unit in _plan(20, settings=only, tools=TOOLS[:1]) for order in unit]
    assert all(order.kind == "single" and order.tools for order in orders)


def test_every_unit_has_a_generator_of_its_own():
    draws = {unit_rng(*what).random() for what in [(0, "gen", 0, "a"), (1, "gen", 0, "a"), (0, "x", 0, "a")]}
    assert len(draws) == 3
    assert unit_rng(0, "gen", 0, "a").random() in draws


# --- bytes --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    assert _bytes(_gen(tmp_path / "a").folder) == _bytes(_gen(tmp_path / "b").folder)


def test_another_seed_gives_another_dataset(tmp_path):
    first, second = (_gen(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert not {s.id for s in _all(first)} & {s.id for s in _all(second)}


def test_one_worker_and_eight_give_the_same_bytes(tmp_path):
    assert _bytes(_gen(tmp_path / "a").folder) == _bytes(_gen(tmp_path / "b", workers=8).folder)


def test_another_round_gives_other_samples(tmp_path):
    first, second = (_gen(tmp_path / str(number), round=number) for number in (0, 1))
    assert not {s.id for s in _all(first)} & {s.id for s in _all(second)}


def test_an_interrupted_gen_ends_with_the_same_bytes(tmp_path):
    teacher = EchoTeacher(error_rate=0.2)
    written = []

    async def dying(order, rng):
        written.append(order)
        if len(written) == 25:
            raise KeyboardInterrupt
        return await EchoTeacher.write(teacher, order, rng)

    teacher.write = dying
    with pytest.raises(KeyboardInterrupt):
        _gen(tmp_path / "a", teacher=teacher)
    assert (tmp_path / "a" / "journal.jsonl").stat().st_size > 0
    assert _bytes(_gen(tmp_path / "a").folder) == _bytes(_gen(tmp_path / "b").folder)


# --- samples ------------------------------------------------------------------------------------------------------


def test_a_dataset_has_the_size_asked_for_and_unique_ids(tmp_path):
    stage = _gen(tmp_path)
    samples = _all(stage)
    assert len({s.id for s in samples}) == len(samples) == stage.summary.samples == 60
    assert stage.summary.shortfall == 0
    assert stage.summary.kinds == Counter(s.kind for s in samples)


def test_a_contrast_pair_shares_group_and_request_but_not_the_tool(tmp_path):
    samples = {s.id: s for s in _all(_gen(tmp_path, num_samples=120))}
    pairs = [(samples[s.lineage.parents[0]], s) for s in samples.values() if s.lineage.axis == "contrast"]
    assert len(pairs) > 10
    for seed, contrast in pairs:
        assert seed.group == contrast.group
        assert seed.messages == contrast.messages
        wanted = seed.request.split("use ")[1].split()[0]
        assert seed.tool(wanted) is not None
        assert contrast.tool(wanted) is None
        assert contrast.label.calls == ()


def test_every_sample_tells_where_it_comes_from(tmp_path):
    for sample in _all(_gen(tmp_path, round=3, source="fresh")):
        lineage = sample.lineage
        assert (lineage.stage, lineage.round, lineage.teacher, sample.source) == ("gen", 3, "EchoTeacher", "fresh")
        assert lineage.unit.startswith("r3-")


def test_the_truth_is_written_of_the_admitted_samples_alone(tmp_path):
    stage = _gen(tmp_path)
    truths = list(read_rows(stage.folder / "truth.jsonl", Truth))
    assert [t.sample_id for t in truths] == [s.id for s in _all(stage)]
    wrong = {t.sample_id for t in truths if t.noise}
    labels = {t.sample_id: t.label for t in truths}
    assert wrong == {s.id for s in _all(stage) if s.label != labels[s.id]} != set()


def test_a_request_of_the_benchmark_is_refused_and_counted(tmp_path):
    before = _all(_gen(tmp_path / "a"))
    forbidden = frozenset(request_key(s.request) for s in before[:5])
    stage = _gen(tmp_path / "b", forbidden=forbidden)
    assert not {request_key(s.request) for s in _all(stage)} & forbidden
    rejected = list(read_rows(stage.folder / "rejected.jsonl", Rejected))
    assert stage.summary.rejected == Counter(row.reason for row in rejected)
    assert stage.summary.rejected["in_benchmark"] >= 5
    assert stage.summary.samples == 60


def test_a_sample_beyond_the_number_asked_for_is_counted(tmp_path):
    stage = _gen(tmp_path)
    beyond = [row for row in read_rows(stage.folder / "rejected.jsonl", Rejected) if row.reason == "not_needed"]
    assert stage.summary.rejected == {"not_needed": len(beyond)} != {"not_needed": 0}
    journalled = stage.summary.samples + len(beyond)  # every order gave one: a contrast pair is two
    assert journalled == stage.summary.orders + sum(row.key.endswith("-contrast") for row in beyond) + sum(
        sample.lineage.axis == "contrast" for sample in _all(stage)
    )


def test_repeated_samples_are_refused_and_the_shortfall_is_reported(tmp_path):
    stage = _gen(tmp_path, teacher=DullTeacher())
    assert stage.summary.samples == 3
    assert stage.summary.shortfall == 57
    assert stage.summary.rejected["duplicate"] > 57


class PolicyTeacher(EchoTeacher):
    """Has two orders refused for good: one of the first, and the one that takes its place."""

    async def write(self, order, rng):
        if order.key in ("r0-0000003", "r0-0000060"):
            raise ValueError("content policy")
        return await super().write(order, rng)


def test_an_order_that_fails_for_good_is_counted_and_another_takes_its_place(tmp_path):
    stage = _gen(tmp_path, teacher=PolicyTeacher(error_rate=0.0), settings=SETTINGS.model_copy(update={"contrast": 0}))
    assert stage.summary.samples == 60
    assert stage.summary.orders == 62
    assert stage.summary.rejected == {"failed:ValueError": 2}


def test_a_teacher_that_only_refuses_leaves_an_empty_dataset_that_says_so(tmp_path):
    stage = _gen(tmp_path, teacher=RefusingTeacher(), num_samples=5)
    assert (stage.summary.samples, stage.summary.shortfall) == (0, 5)
    assert set(stage.summary.rejected) >= {"cannot_express"}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_no_group_is_cut_by_the_split(tmp_path, share):
    stage = _gen(tmp_path, train_split=share, num_samples=100)
    train, dev = ({s.group for s in Dataset(tmp_path / name)} for name in ("train.jsonl", "dev.jsonl"))
    assert not train & dev
    assert stage.summary.samples == 100
    assert (bool(train), bool(dev)) == (share > 0, share < 1)


def test_the_decisions_of_one_dialogue_stay_together(tmp_path):
    only = GenSettings(kinds={"chat": 1}, offered=(2, 2), contrast=0)
    stage = _gen(tmp_path, teacher=TwoDecisionTeacher(), settings=only, train_split=0.5)
    groups = Counter(s.group for s in _all(stage))
    assert set(groups.values()) == {2}


@settings(deadline=None, max_examples=100)
@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_group_that_is_in_train_stays_there_when_the_share_grows(group, one, other):
    low, high = sorted((one, other))
    assert not (in_train(group, low) and not in_train(group, high))


# --- preview and mistakes -----------------------------------------------------------------------------------------


def test_a_preview_shows_the_first_samples_that_gen_writes(tmp_path):
    shown = _preview(EchoTeacher(error_rate=0.2), 12)
    assert shown == _all(_gen(tmp_path))[:12]


class PickyTeacher(DullTeacher):
    """Refuses every other order and knows a dozen requests."""

    async def write(self, order, rng):
        self.written += 1
        if self.written % 2:
            return Rejected(key=order.key, reason="cannot_express")
        said = f"request {rng.randrange(12)}"
        messages = (Message(role="user", content=said), Message(role="assistant", content="no"))
        return Dialogue(tools=TOOLS[:1], messages=messages)


def _preview(teacher, num_samples):
    stage = Gen(
        tools=TOOLS,
        teacher=teacher,
        sampler=RandomSampler(),
        settings=SETTINGS,
        num_samples=num_samples,
        seed=1,
        train_split=1.0,
    )
    return asyncio.run(preview(stage, Components()))


def test_a_preview_shows_no_sample_that_gen_leaves_out_and_as_many_as_asked_for(tmp_path):
    shown = _preview(PickyTeacher(), 8)
    assert [type(record) for record in shown] == [Sample] * 8
    assert shown == _all(_gen(tmp_path, teacher=PickyTeacher()))[:8]


def test_a_preview_that_falls_short_says_why():
    shown = _preview(DullTeacher(), 5)
    assert [getattr(record, "reason", None) for record in shown] == [None, None, None, "duplicate", "duplicate"]
    assert [record.reason for record in _preview(RefusingTeacher(), 2)] == ["cannot_express"] * 2


class FailingTeacher(EchoTeacher):
    """Raises at the last of so many orders, again and again."""

    def __init__(self, error, every=3):
        super().__init__(error_rate=0.0)
        self.error, self.every = error, every

    async def write(self, order, rng):
        if int(order.key[3:10]) % self.every == self.every - 1:
            raise self.error
        return await super().write(order, rng)


def test_an_order_that_fails_is_rejected_in_a_preview_as_in_gen_and_a_mistake_ends_it():
    assert [type(record) for record in _preview(FailingTeacher(ValueError("once")), 6)] == [Sample] * 6
    first, second = _preview(FailingTeacher(ValueError("cannot read it"), every=1), 2)
    assert (first.reason, first.detail, first.key) == ("failed:ValueError", "cannot read it", "r0-0000000")
    assert second.key == "r0-0000001"
    with pytest.raises(UserError, match="no key"):
        _preview(FailingTeacher(UserError("no key")), 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": {"sngle": 1}}, r"gen\.kinds\.sngle"),
        ({"kinds": {"single": -1}}, r"gen\.kinds\.single=-1"),
        ({"kinds": {"single": 0}}, r"gen\.kinds="),
        ({"kinds": {}}, r"gen\.kinds="),
        ({"offered": (3, 2)}, r"gen\.offered=\(3, 2\)"),
        ({"offered": (0, 2)}, r"gen\.offered\[0\]=0"),
        ({"contrast": 1.5}, r"gen\.contrast=1\.5"),
    ],
)
def test_settings_that_no_dataset_can_be_made_from_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        checked(GenSettings, SETTINGS.model_dump() | changes, "gen")


def test_no_tools_are_a_mistake(tmp_path):
    with pytest.raises(UserError, match="no tools"):
        _gen(tmp_path, tools=())
