"""Probing: batches fixed beforehand, an answer to every sample."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from acme_tools import EchoTeacher, LookupStudent

from sloop.engine.stage import Place, run_stage
from sloop.records import Decode, Label, Prediction, UserError
from sloop.stages.gen import Gen, GenSettings
from sloop.stages.probe import PREDICTIONS, Probe
from sloop.stages.samplers import RandomSampler
from sloop.stages.train import Start, checkpoint_of
from sloop.store import Dataset, predictions_at, write_rows
from sloop.students.answering import plan_batches, prompt_size
from sloop.tools.sources import load_tools

TOOLS = load_tools(Path(__file__).parent / "plugin" / "acme_tools.json")


class Spy(LookupStudent):
    """Notes what it was asked; is killed at one batch, or fails at some."""

    def __init__(self, *, killed_at=None, fails_at=()) -> None:
        super().__init__(name="spy", skill=0.5)
        self.batches = []
        self.loads = 0
        self._plan = [killed_at, fails_at]  # a list, for a key covers plain attributes

    def load(self, checkpoint):
        self.loads += 1
        super().load(checkpoint)

    def predict(self, samples, decode):
        number = len(self.batches)
        if number == self._plan[0]:
            raise KeyboardInterrupt
        self.batches.append([s.id for s in samples])
        if number in self._plan[1]:
            raise RuntimeError("no memory")
        return super().predict(samples, decode)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Two datasets without a sample in common."""
    wanted = Gen(
        tools=TOOLS,
        teacher=EchoTeacher(error_rate=0.2),
        sampler=RandomSampler(),
        settings=GenSettings(kinds={"single": 0.7, "irrelevant": 0.3}, offered=(2, 4), contrast=0.5),
        num_samples=50,
        seed=1,
        train_split=0.7,
    )
    stage = run_stage(wanted, Place(tmp_path_factory.mktemp("pool")))
    return [stage.dataset("train.jsonl"), stage.dataset("dev.jsonl")]


def _probe(out, pool, student, batch_size=8, decode=None, report=None):
    first = checkpoint_of(run_stage(Start(student=student, data=pool[0], seed=1), Place(out.parent / "start")))
    stage = Probe(data=pool, student=student, checkpoint=first, decode=decode or Decode(), batch_size=batch_size)
    return run_stage(stage, Place(out, report=report))


def _ids(pool):
    return [i for data in pool for i in data.ids()]


def test_batches_are_ordered_by_prompt_size_and_hold_every_sample_once(pool):
    batches = list(plan_batches(chain.from_iterable(pool), 8).values())
    planned = [i for batch in batches for i in batch]
    sizes = {s.id: prompt_size(s) for data in pool for s in data}
    assert sorted(planned) == sorted(_ids(pool))
    assert planned == sorted(planned, key=lambda i: (sizes[i], i))
    assert [len(batch) for batch in batches] == [8] * 6 + [2]


def test_batches_do_not_depend_on_the_order_of_the_samples(tmp_path, pool):
    write_rows(tmp_path / "x.jsonl", list(pool[0])[::-1])
    assert plan_batches(chain(pool[1], Dataset(tmp_path / "x.jsonl")), 8) == plan_batches(chain.from_iterable(pool), 8)


def test_the_prompt_size_does_not_see_the_label(pool):
    sample = next(iter(pool[0]))
    assert prompt_size(sample.model_copy(update={"label": Label(content="x" * 99)})) == prompt_size(sample)


def test_there_is_an_answer_to_every_sample_of_every_dataset(tmp_path, pool):
    stage = _probe(tmp_path / "p", pool, Spy())
    assert sorted(predictions_at(stage.folder / PREDICTIONS).ids()) == sorted(_ids(pool))
    assert stage.summary.samples == 50


def test_the_student_is_asked_the_planned_batches_with_weights_loaded_once(tmp_path, pool):
    student = Spy()
    _probe(tmp_path / "p", pool, student)
    assert student.batches == list(plan_batches(chain.from_iterable(pool), 8).values())
    assert student.loads == 1


def test_answers_keep_probability_and_number_of_tokens(tmp_path, pool):
    answers = predictions_at(_probe(tmp_path / "p", pool, Spy()).folder / PREDICTIONS)
    assert all(isinstance(a, Prediction) and a.perplexity > 1 for a in answers)


def test_an_interrupted_probe_asks_only_what_is_owed_and_ends_with_the_same_bytes(tmp_path, pool):
    first = Spy(killed_at=3)
    with pytest.raises(KeyboardInterrupt):
        _probe(tmp_path / "a" / "p", pool, first)
    second, whole = Spy(), Spy()
    stages = [_probe(tmp_path / "a" / "p", pool, second), _probe(tmp_path / "b" / "p", pool, whole)]
    assert first.batches + second.batches == whole.batches
    assert stages[0].record == stages[1].record


def test_a_finished_probe_loads_no_weights(tmp_path, pool):
    _probe(tmp_path / "p", pool, Spy())
    student = Spy()
    _probe(tmp_path / "p", pool, student)
    assert (student.loads, student.batches) == (0, [])


@pytest.mark.parametrize("changes", [{"batch_size": 9}, {"decode": Decode(max_tokens=3)}])
def test_another_batch_size_or_length_is_another_probe(tmp_path, pool, changes):
    _probe(tmp_path / "p", pool, Spy())
    with pytest.raises(UserError, match=r"differing: (batch_size|decode)"):
        _probe(tmp_path / "p", pool, Spy(), **changes)


def test_progress_is_told_batch_by_batch(tmp_path, pool):
    told = []
    _probe(tmp_path / "p", pool, Spy(), report=lambda *words: told.append(words))
    assert told == [("probe", n, 7) for n in range(1, 8)]


def test_the_samples_of_a_batch_that_failed_have_model_errors_for_answers(tmp_path, pool):
    student = Spy(fails_at=(2,))
    stage = _probe(tmp_path / "p", pool, student)
    answers = predictions_at(stage.folder / PREDICTIONS)
    assert stage.summary.failed == {"answers": len(student.batches[2])}
    assert {a.sample_id for a in answers if a.error == "model"} == set(student.batches[2])
    assert len(answers) == 50


def test_a_student_that_fails_again_and_again_stops_the_probe(tmp_path, pool):
    with pytest.raises(UserError, match="2 of 7 units failed"):
        _probe(tmp_path / "p", pool, Spy(fails_at=(0, 3)))
