"""Training tokens a second, padding and memory of one pretrained checkpoint by settings of `trainer=sft`.

usage: python benchmarks/bench_train.py FOLDER [samples [threads [batch]]]

Each row is a process of its own: one pass over the same samples of sloop_dev as the checkpoint's template shows them,
from the word about memory before the first step to the loss of the last. "before" is what
every checkpoint was trained with until now.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from sloop.benchmarks.base import SampleBenchmark
from sloop.store import Dataset, checkpoint_at, write_rows
from sloop.students.local import load_tokenizer
from sloop.trainers.batches import batches, examples, micro_batches
from sloop.trainers.lora import LoraSettings
from sloop.trainers.sft import SFT

WHOLE = 10**9
ROWS: dict[str, dict[str, Any]] = {
    "before": {"optimizer": "muon", "learning_rate": 0.001, "micro_tokens": WHOLE},
    "new": {},
    "new, micro_tokens=2048": {"micro_tokens": 2048},
    "new, freeze_embeddings": {"freeze_embeddings": True},
    "new, lora.rank=16": {"rank": 16},
    "new, checkpointing": {"checkpointing": True},
}


def main() -> None:
    folder = Path(sys.argv[1])
    count, threads, batch = (int(word) for word in (*sys.argv[2:], *("16", "2", "8")[len(sys.argv) - 2 :]))
    print(f"{'settings':24} {'tokens/s':>9} {'a CPU s':>9} {'padding':>8} {'GiB peak':>9} {'estimated':>9}")
    for name, changes in ROWS.items():
        with multiprocessing.get_context("spawn").Pool(1) as process:
            figures = process.apply(row, (folder, count, threads, batch, changes))
        print(f"{name:24} {figures[0]:9.1f} {figures[1]:9.1f} {figures[2]:8.1%} {figures[3]:9.2f} {figures[4]:9.2f}")


def row(folder: Path, count: int, threads: int, batch: int, changes: dict[str, Any]) -> list[float]:
    """Tokens a second and a CPU second, the share of padding, the peak of memory and its estimate in GiB."""
    settings = yaml.safe_load(Path("conf/trainer/sft.yaml").read_text())
    del settings["_target_"]
    settings |= {"threads": threads, "batch_size": batch, **changes}
    settings["lora"] = LoraSettings(**settings["lora"] | {"rank": settings.pop("rank", 0)})
    trainer = SFT(**settings)
    marks: list[tuple[int, float, float, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as place:
        data = Dataset(Path(place) / "data.jsonl")
        asked = SampleBenchmark(name="sloop_dev", path="sloop_bench/dev.jsonl.gz").data
        write_rows(data.path, islice((s for s in asked if s.label), count))

        def progress(done: int, _: int, values: dict[str, float]) -> None:
            if values:
                marks.append((done, time.perf_counter(), time.process_time(), values))

        out = Path(place) / "out"
        trainer.train(checkpoint_at(folder), data, None, steps=count // batch, seed=0, out=out, progress=progress)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
        rows, _ = examples(load_tokenizer(folder), data, 10**6)
    lengths = [row.length for row in rows]
    most = trainer.in_force(folder).micro_tokens
    plan = islice(batches(lengths, size=batch, in_tokens=False, seed=0), count // batch)
    parts = [part for step in plan for part in micro_batches(step, lengths, most)]
    tokens = sum(lengths[index] for part in parts for index in part)
    padded = sum(len(part) * max(lengths[index] for index in part) for part in parts)
    (_, wall, cpu, told), (_, wall_end, cpu_end, _) = marks
    return [tokens / (wall_end - wall), tokens / (cpu_end - cpu), 1 - tokens / padded, peak, told["memory_gib"]]


if __name__ == "__main__":
    main()
