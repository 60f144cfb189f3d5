"""Components from plain data, and what stands for them in a stage's key."""

from __future__ import annotations

import acme_tools
import pytest

from sloop.engine.build import build
from sloop.records import Decode, UserError
from sloop.stages.samplers import CoverageSampler, RandomSampler

STUDENT = {"_target_": "acme_tools.LookupStudent", "name": "lookup", "skill": 0.5}


class Outer:
    """Holds another component, a list of them and plain data."""

    def __init__(self, *, inner: RandomSampler, others: list[CoverageSampler], plain: dict[str, int]) -> None:
        self.inner, self.others, self.plain = inner, others, plain


class Reader:
    """Reads a file."""

    def __init__(self, *, path: str, note: str) -> None:
        self.path, self.note = path, note


OUTER = {
    "_target_": f"{__name__}.Outer",
    "inner": {"_target_": "sloop.stages.samplers.RandomSampler"},
    "others": [{"_target_": "sloop.stages.samplers.CoverageSampler", "decay": 0.5}],
    "plain": {"a": 1},
}


def _changed(spec, **changes):
    return {**spec, **changes}


def test_a_strangers_class_is_built_by_its_dotted_path():
    student = build(STUDENT, "student")
    assert isinstance(student, acme_tools.LookupStudent)
    assert (student.name, student.skill) == ("lookup", 0.5)


def test_components_inside_components_are_built_first():
    outer = build(OUTER)
    assert isinstance(outer.inner, RandomSampler)
    assert [other.decay for other in outer.others] == [0.5]
    assert outer.plain == {"a": 1}


def test_plain_data_stays_as_it_is():
    assert build({"a": [1, None, "x"]}) == {"a": [1, None, "x"]}


def test_a_value_is_coerced_to_its_annotation():
    assert build(_changed(STUDENT, skill="0.25"), "student").skill == 0.25


def test_a_record_is_a_component_too():
    assert build({"_target_": "sloop.records.Decode", "max_tokens": 7}) == Decode(max_tokens=7)


def test_a_wrong_key_is_named_with_the_nearest_right_one():
    with pytest.raises(UserError, match=r"student\.skil: LookupStudent takes no such key\. Did you mean 'skill'\?"):
        build(_changed(STUDENT, skil=1), "student")


def test_a_wrong_key_of_a_record_is_named():
    with pytest.raises(UserError, match=r"decode\.max_token: Decode takes no such key\. Did you mean 'max_tokens'"):
        build({"_target_": "sloop.records.Decode", "max_token": 7}, "decode")


def test_a_class_that_takes_nothing_refuses_every_key():
    with pytest.raises(UserError, match=r"sampler\.decay"):
        build({"_target_": "sloop.stages.samplers.RandomSampler", "decay": 1}, "sampler")


def test_a_wrong_type_is_named_with_key_and_value():
    with pytest.raises(UserError, match=r"student\.skill='much'"):
        build(_changed(STUDENT, skill="much"), "student")


def test_a_missing_key_is_named_with_an_example():
    with pytest.raises(UserError, match=r"student\.skill is missing.*student\.skill=VALUE"):
        build({"_target_": "acme_tools.LookupStudent", "name": "x"}, "student")


def test_a_mistake_deep_inside_is_named_by_its_whole_path():
    broken = _changed(OUTER, others=[{"_target_": "sloop.stages.samplers.CoverageSampler"}])
    with pytest.raises(UserError, match=r"outer\.others\[0\]\.decay is missing"):
        build(broken, "outer")


def test_a_component_of_the_wrong_class_is_a_mistake_of_the_readers():
    with pytest.raises(UserError, match=r"outer\.inner\._target_=.*: this key takes a RandomSampler"):
        build(_changed(OUTER, inner={"_target_": "sloop.stages.samplers.CoverageSampler", "decay": 1}), "outer")


@pytest.mark.parametrize(
    "target", ["nowhere.Thing", "Thing", "", ".Thing", "sloop.stages.samplers.", "sloop..gen.RandomSampler"]
)
def test_an_unknown_target_is_named(target):
    with pytest.raises(UserError, match=r"student\._target_="):
        build({"_target_": target}, "student")


@pytest.mark.parametrize("target", [None, 7, ["sloop.stages.samplers.RandomSampler"]])
def test_a_target_that_is_no_text_is_a_mistake_of_the_readers(target):
    with pytest.raises(UserError, match=r"student\._target_="):
        build({"_target_": target}, "student")


def test_an_unknown_class_is_named_with_those_that_there_are():
    with pytest.raises(UserError, match=r"it has: .*RandomSampler"):
        build({"_target_": "sloop.stages.samplers.RandmSampler"}, "sampler")


def test_a_function_is_no_component():
    with pytest.raises(UserError, match="no class 'unit_rng'"):
        build({"_target_": "sloop.engine.identity.unit_rng"}, "sampler")


def test_a_mistake_found_by_the_constructor_is_told_in_its_own_words():
    with pytest.raises(UserError, match=r"^sampler\.decay=0\.0: give a factor from 0\.001 to 1"):
        build({"_target_": "sloop.stages.samplers.CoverageSampler", "decay": 0.0}, "sampler")
