import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TOKENIZER, ask, pool, spec, trainer

from sloop.records import Checkpoint, UserError
from sloop.store import Dataset, write_rows
from sloop.trainers.batches import IGNORED, WINDOW, batches, collate, examples
from sloop.trainers.muon import Muon, orthogonalise
from sloop.trainers.sft import schedule


def begin(folder: Path) -> tuple[Checkpoint, Dataset]:
    write_rows(folder / "pool.jsonl", pool())
    data = Dataset(folder / "pool.jsonl")
    return spec().make(data, seed=0, out=folder / "c0"), data


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_training_lowers_the_loss_and_tells_of_every_step(tmp_path: Path, optimizer: str) -> None:
    start, data = begin(tmp_path)
    told: list[tuple[int, int, float]] = []
    trainer(optimizer=optimizer).train(
        start,
        data,
        None,
        steps=35,
        seed=0,
        out=tmp_path / "c1",
        progress=lambda n, of, m: told.append((n, of, m.get("loss", 0))),
    )
    assert [step for step, _, _ in told] == [0, 10, 20, 30, 35]
    assert {of for _, of, _ in told} == {35}
    assert told[-1][2] < 0.8 * told[1][2]
    assert [file.name for file in (tmp_path / "c1" / "sidecar").iterdir()] == ["training.json"]


def test_the_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    one, two, other = (
        trainer().train(start, data, None, steps=6, seed=seed, out=tmp_path / name)
        for seed, name in ((3, "a"), (3, "b"), (4, "c"))
    )
    assert one.digest == two.digest != other.digest


CHILD = """
import sys
from pathlib import Path
from sloop.store import Dataset, checkpoint_at
from models import trainer
folder = Path(sys.argv[1])
trainer(save_every=4).train(
    checkpoint_at(folder / "c0"), Dataset(folder / "pool.jsonl"), None, steps=150, seed=0, out=folder / "killed"
)
"""


def test_a_killed_training_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], cwd=Path(__file__).parent)
    partial = tmp_path / "killed" / "sidecar" / "partial.pt"
    deadline = time.monotonic() + 60
    while not partial.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = torch.load(partial, weights_only=True)["step"]
    assert 0 < done < 150
    steps: list[int] = []
    arguments = {"steps": 150, "seed": 0}
    resumed = trainer(save_every=4).train(
        start, data, None, **arguments, out=tmp_path / "killed", progress=lambda n, *_: steps.append(n)
    )
    assert steps[1] > done
    whole = trainer(save_every=4).train(start, data, None, **arguments, out=tmp_path / "whole")
    assert resumed.digest == whole.digest


def test_partial_state_of_other_arguments_is_not_resumed(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    (tmp_path / "c1" / "sidecar").mkdir(parents=True)
    torch.save({"key": "another"}, tmp_path / "c1" / "sidecar" / "partial.pt")
    steps: list[int] = []
    trainer().train(start, data, None, steps=3, seed=0, out=tmp_path / "c1", progress=lambda n, *_: steps.append(n))
    assert steps == [0, 3]


def test_too_long_and_unlabelled_samples_are_left_out_and_counted() -> None:
    unlabelled = ask("hi").model_copy(update={"label": None})
    long = ask("x " * 200, content="No.")
    rows, left_out = examples(TOKENIZER, [pool()[0], unlabelled, long], 120)
    assert len(rows) == 1
    assert left_out == {"no label": 1, "too long": 1}


def test_data_of_which_nothing_can_be_learnt_is_the_users_mistake(tmp_path: Path) -> None:
    start, data = begin(tmp_path)
    with pytest.raises(UserError, match="max_length"):
        trainer(max_length=3).train(start, data, None, steps=1, seed=0, out=tmp_path / "c1")


def test_copies_repeat_an_example() -> None:
    rows, _ = examples(TOKENIZER, [pool()[0].model_copy(update={"copies": 3}), pool()[-1]], 256)
    assert len(rows) == 4
    assert rows[0] == rows[2] != rows[3]


def test_the_loss_lies_on_the_answer_alone() -> None:
    rows, _ = examples(TOKENIZER, [pool()[0], pool()[-1]], 256)
    ids, labels = collate(rows, 0)
    assert ids.shape == labels.shape == (2, max(row.length for row in rows))
    for row, line, wanted in zip(rows, ids, labels, strict=True):
        assert line[wanted != IGNORED].tolist() == row.answer
        assert TOKENIZER.decode(row.answer).endswith("<|im_end|>")


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_example_is_seen_equally_often(lengths: list[int], size: int, seed: int) -> None:
    steps = len(lengths) * WINDOW
    row = batches(lengths, size=size, in_tokens=False, seed=seed)
    seen = [index for batch in islice(row, steps) for index in batch]
    assert len(seen) == steps * size
    assert {seen.count(index) for index in range(len(lengths))} == {WINDOW * size}


def test_a_batch_holds_examples_of_like_length() -> None:
    lengths = list(range(1, 65))
    found = list(islice(batches(lengths, size=8, in_tokens=False, seed=1), WINDOW))
    assert sorted(min(batch) for batch in found) == list(range(0, 64, 8))
    assert all(max(batch) - min(batch) == 7 for batch in found)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rates = [schedule(step, 100, 10, 0.3) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:70] == [1.0] * 60
    assert rates[85] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(1 / 30)


def test_orthogonalise_drives_singular_values_towards_one() -> None:
    matrices = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_muon_takes_the_same_steps_as_pytorchs() -> None:
    def weights() -> list[torch.nn.Parameter]:
        draw = torch.Generator().manual_seed(0)
        return [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in ((8, 8), (20, 8), (8, 20), (8, 8))]

    ours, theirs = weights(), weights()
    optimizers = [
        Muon(ours, lr=0.01, weight_decay=0.1, momentum=0.95),
        torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for step in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(step))
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() < 0.01  # theirs iterates in bfloat16
