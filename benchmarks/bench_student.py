"""Seconds a sample of a pretrained student: sloop beside `model.generate` on the same batches, in one process.

usage: python benchmarks/bench_student.py CHECKPOINT [samples [batch size [max_tokens]]]

Takes samples of sloop_dev evenly, in the batches of an evaluation; where the checkpoint's chat template shows no tools,
with the full JSON of each, as Hermes does. Wall and CPU seconds: on a shared machine the latter say more.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from sloop.benchmarks.base import SampleBenchmark
from sloop.records import Sample
from sloop.students.answering import beginning, prompt_size
from sloop.students.decoding import generate
from sloop.students.local import LocalStudent
from sloop.students.tiny import chat_template

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
Answers = list[list[int]]


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    count, size, most = (int(given) for given in (*sys.argv[2:5], *("64", "64", "110")[len(sys.argv) - 2 :]))
    student = LocalStudent.at(sys.argv[1], answer_format="hermes", threads=THREADS, prefill_tokens=1024)
    model, tokenizer = student._loaded()
    if "tools" not in str(tokenizer.chat_template):
        tokenizer.chat_template = chat_template("schema")
    data = list(SampleBenchmark(name="sloop_dev", path="sloop_bench/dev.jsonl.gz").data)
    samples = data[:: max(1, len(data) // count)][:count]
    lengths = [len(student.prompt(sample).tokens) for sample in samples]
    print(f"{len(samples)} samples of {sum(lengths) / len(lengths):.0f} tokens, {THREADS} threads, batches of {size}, "
          f"answers of up to {most} tokens")  # fmt: skip

    def plain(prompts: list[list[int]]) -> Answers:
        longest = max(map(len, prompts))
        pad = tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            rows: Any = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=most, do_sample=False,
                eos_token_id=sorted(student.stops), pad_token_id=pad,
            )[:, longest:].tolist()  # fmt: skip
        return [row[: next((i + 1 for i, t in enumerate(row) if t in student.stops), most)] for row in rows]

    def ours(prefill_tokens: int | None) -> Callable[[list[list[int]]], Answers]:
        return lambda prompts: [
            written.tokens
            for written in generate(model, prompts, [most] * len(prompts), student.stops, prefill_tokens=prefill_tokens)
        ]

    ways: dict[str, tuple[Callable[[Sample], Any], Callable[[list[list[int]]], Answers]]] = {
        "all at once": (prompt_size, ours(None)),
        "model.generate": (prompt_size, plain),
        "shared, by size": (prompt_size, ours(1024)),
        "shared, alike": (beginning, ours(1024)),
    }
    found: dict[str, dict[str, list[int]]] = {}
    for name, (key, write) in ways.items():
        ordered = sorted(samples, key=lambda sample: (key(sample), sample.id))
        wall, cpu, found[name], slots, tokens = time.perf_counter(), time.process_time(), {}, 0, 0
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            prompts = [student.prompt(sample).tokens for sample in batch]
            slots, tokens = slots + len(batch) * max(map(len, prompts)), tokens + sum(map(len, prompts))
            found[name] |= zip((sample.id for sample in batch), write(prompts), strict=True)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        same = sum(found["all at once"][i] == answer for i, answer in found[name].items())
        written = sum(map(len, found[name].values())) / len(samples)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name:16} {wall / len(samples):6.2f} s, {cpu / len(samples):6.2f} CPU s a sample; padded to "
            f"{slots / tokens:.2f}; {written:.0f} tokens an answer; {same} of {len(samples)} answers as all at once; "
            f"peak so far {peak:.1f} GiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
