"""Dirty data: what each kind makes of a set, that ids and a seed decide, that the truth stays known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import questions

from sloop.cli import conf_folder
from sloop.engine.stage import Made, Place, run_stage
from sloop.measures.audit import audit_dataset
from sloop.records import Sample, Truth, UserError
from sloop.simulation.corruption import Corruption, older
from sloop.simulation.mistakes import MISTAKES
from sloop.stages.accept import TRUTH
from sloop.stages.corrupt import Corrupt
from sloop.stages.gen import TRAIN
from sloop.stages.train import is_strange
from sloop.store import Dataset, read_rows, write_rows

CONF = conf_folder() / "corruption"
CLEAN = yaml.safe_load((CONF / "clean.yaml").read_text())


def settings(name: str, **changes: Any) -> Corruption:
    given = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    mistakes = {**CLEAN["mistakes"], **given.pop("mistakes", {})}
    given.pop("defaults", None)
    return Corruption.model_validate({**CLEAN, **given, "mistakes": mistakes, **changes})


def corrupt(folder: Path, chosen: Corruption, data: Dataset | None = None, **changes: Any) -> Made[Any]:
    return run_stage(Corrupt(data=data or Dataset(questions()), settings=chosen, seed=0, **changes), Place(folder))


def before_and_after(made: Made[Any]) -> list[tuple[Sample, Truth]]:
    truths = {truth.sample_id: truth for truth in read_rows(made.folder / TRUTH, Truth)}
    return [(sample, truths[sample.id]) for sample in made.dataset(TRAIN)]


def test_half_of_the_calls_are_wrong_and_the_truth_stands_apart(tmp_path: Path) -> None:
    made = corrupt(tmp_path, settings("wrong_calls"))
    calls = [(sample, truth) for sample, truth in before_and_after(made) if truth.label.calls]
    spoilt = [truth.noise for sample, truth in calls if truth.noise]
    assert 0.35 < len(spoilt) / len(calls) < 0.65
    assert set(spoilt) == {"wrong_tool", "dropped_argument", "altered_value"}
    assert made.summary.kinds == dict(sorted(Counter(spoilt).items()))
    for sample, truth in before_and_after(made):
        assert (sample.label == truth.label) == (truth.noise is None)
        assert truth.label.calls or truth.noise is None, "a label without calls stays"
    (noise,) = (score for score in audit_dataset(made.dataset(TRAIN), [made.folder / TRUTH]) if not score.slice)
    assert noise.value == len(spoilt) / len(made.dataset(TRAIN))


def test_label_noise_is_all_five_mistakes(tmp_path: Path) -> None:
    made = corrupt(tmp_path, settings("label_noise", wrong=1.0))
    assert set(made.summary.kinds) == set(MISTAKES)


def test_drifted_labels_call_what_is_not_on_offer_with_the_same_values(tmp_path: Path) -> None:
    made = corrupt(tmp_path, settings("schema_drift"))
    calls = [(sample, truth) for sample, truth in before_and_after(made) if truth.label.calls]
    drifted = [(sample, truth) for sample, truth in calls if truth.noise == "older_schema"]
    assert 0.8 < len(drifted) / len(calls) < 1.0
    for sample, truth in drifted:
        assert is_strange(sample)
        assert sample.label is not None
        for old, new in zip(sample.label.calls, truth.label.calls, strict=True):
            assert old == older(new, [tool.name for tool in sample.tools])
            assert list(old.arguments.values()) == list(new.arguments.values())
            assert not old.arguments.keys() & new.arguments.keys()


def test_a_wrong_label_that_has_drifted_as_well_is_counted_as_both(tmp_path: Path) -> None:
    made = corrupt(tmp_path, settings("wrong_calls", wrong=1.0, drifted=1.0))
    spoilt = [truth.noise for _, truth in before_and_after(made) if truth.label.calls]
    assert {f"{name} and older_schema" for name in ("wrong_tool", "dropped_argument", "altered_value")} <= set(spoilt)
    assert made.summary.kinds == dict(sorted(Counter(filter(None, spoilt)).items()))


def test_few_samples_are_kept(tmp_path: Path) -> None:
    made = corrupt(tmp_path, settings("scarce"))
    asked = Dataset(questions())
    assert len(made.dataset(TRAIN)) == made.summary.samples == 5
    assert made.summary.not_kept == len(asked) - 5
    assert set(made.dataset(TRAIN).ids()) <= set(asked.ids())


def test_another_domain_takes_the_place_of_most_samples_as_long_as_it_lasts(tmp_path: Path) -> None:
    other = [sample.model_copy(update={"messages": sample.messages * 2}) for sample in Dataset(questions())]
    write_rows(tmp_path / "other.jsonl", other)
    made = corrupt(tmp_path / "made", settings("wrong_domain"), foreign=Dataset(tmp_path / "other.jsonl"))
    foreign = set(made.dataset(TRAIN).ids()) & {sample.id for sample in other}
    assert len(made.dataset(TRAIN)) == len(other)
    assert len(foreign) == made.summary.kinds["foreign"]
    assert 0.7 < len(foreign) / len(other) < 0.9


def test_what_becomes_of_a_sample_does_not_depend_on_the_others(tmp_path: Path) -> None:
    chosen = settings("wrong_calls", drifted=0.3)
    whole = {sample.id: sample for sample in corrupt(tmp_path / "whole", chosen).dataset(TRAIN)}
    half = list(Dataset(questions()))[::2]
    write_rows(tmp_path / "half.jsonl", half)
    part = corrupt(tmp_path / "part", chosen, Dataset(tmp_path / "half.jsonl")).dataset(TRAIN)
    assert [sample.label for sample in part] == [whole[sample.id].label for sample in part]


def test_mistakes_of_no_kind_are_refused() -> None:
    with pytest.raises(UserError, match=r"corruption\.wrong=0\.5"):
        Corrupt(
            data=Dataset(questions()), settings=settings("wrong_calls", mistakes=dict.fromkeys(MISTAKES, 0.0)), seed=0
        )
    with pytest.raises(ValueError, match="no_such is no mistake"):
        settings("clean", mistakes={"no_such": 1.0})
