"""Every training method from the same SFT checkpoints on the same samples: call accuracy, seconds, reward curves.

usage: python benchmarks/bench_trainers.py [--student FOLDER] [--seeds N] [--start STEPS] [--samples N] [--eval N]
                                           [--steps N] [--methods NAME,...] [--out FOLDER] [key=value ...]
       Without --student, ``tiny`` is made and trained for --start steps; key=value are settings of all trainers.
       What is there already in --out is not done again, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sloop.benchmarks.base import SampleBenchmark
from sloop.cli import conf_folder
from sloop.engine.build import build
from sloop.engine.stage import Place, run_stage
from sloop.measures.stats import compare_runs
from sloop.records import Checkpoint, Decode, Sample
from sloop.simulation.template import TemplateTeacher
from sloop.stages.gen import Gen, GenSettings
from sloop.stages.samplers import RandomSampler
from sloop.store import Dataset, checkpoint_at, read_json, write_json, write_rows
from sloop.students.answering import prompt_size
from sloop.students.local import LocalStudent
from sloop.tools.sources import load_tools

PARTIAL = ("reward.names=1", "reward.keys=1", "reward.values=1")
METHODS: dict[str, tuple[str, ...]] = {
    "sft": ("learning_rate=0.002", "warmup=5"),
    "grpo": ("learning_rate=5e-4", "batch_size=4", *PARTIAL),
    "dpo": ("learning_rate=1e-4",),
    "ppo": ("learning_rate=5e-4", *PARTIAL),
    "kto": ("learning_rate=1e-4",),
    "rloo": ("learning_rate=5e-4", "batch_size=4", *PARTIAL),
    "distill": ("learning_rate=5e-4",),
}
"""What differs from ``conf/trainer`` for a quarter of a million weights; the values there are for pretrained ones."""
MAX_ANSWER = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", help="folder of a checkpoint that every method starts from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--start", type=int, default=800, help="steps of SFT before, for tiny")
    parser.add_argument("--samples", type=int, default=300, help="that the methods train on, new to the checkpoint")
    parser.add_argument("--eval", type=int, default=300, help="of sloop_dev")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path, default=Path("outputs/bench_trainers"))
    parser.add_argument("settings", nargs="*")
    asked = parser.parse_args()
    names = ["start", *asked.methods.split(",")]
    right: dict[str, dict[tuple[int, str], bool]] = {name: {} for name in names}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    curves: dict[str, list[list[float]]] = {name: [] for name in names}
    for seed in range(asked.seeds):
        folder = asked.out / f"seed_{seed}"
        first, samples = pool(folder / "gen", 1_500, asked.samples, seed)
        start = checkpoint_at(Path(asked.student)) if asked.student else taught(folder, first, asked.start, seed)
        for name in names:
            words = (*METHODS.get(name, ()), *asked.settings)
            if name == "distill":  # a teacher that has been trained for twice as long
                words += (f"teacher={taught(folder / 'teacher', first, asked.start, seed, Path(start.path)).path}",)
            done = one(folder / name, name, words, start, samples, asked.steps, seed, asked.eval)
            right[name].update({(seed, sample_id): value for sample_id, value in done["right"].items()})
            seconds[name].append((done["wall"], done["cpu"]))
            curves[name].append(done["reward"])
            print(f"seed {seed} {name}: {done}"[:100], flush=True)
    report(right, seconds, curves, asked.seeds)


def pool(folder: Path, first: int, then: int, seed: int) -> tuple[Dataset, Dataset]:
    """Clean template samples: those that the checkpoint learns from, and those that the methods train on."""
    teacher = TemplateTeacher(
        templates="everyday", values="train", phrases="train", random_values=0.3, optional_arguments=0.35,
        spelled_values=0.2,
    )  # fmt: skip
    settings = GenSettings(kinds={"single": 0.66, "parallel": 0.16, "irrelevant": 0.18}, offered=(3, 5), contrast=0.7)
    stage = Gen(
        tools=load_tools("everyday", "train"), teacher=teacher, sampler=RandomSampler(), settings=settings,
        num_samples=first + then, seed=seed, train_split=1.0,
    )  # fmt: skip
    made = list(run_stage(stage, Place(folder / "stage")).dataset("train.jsonl"))
    write_rows(folder / "first.jsonl", made[:first])
    write_rows(folder / "then.jsonl", made[first:])
    return Dataset(folder / "first.jsonl"), Dataset(folder / "then.jsonl")


def taught(folder: Path, data: Dataset, steps: int, seed: int, start: Path | None = None) -> Checkpoint:
    """A tiny student trained by SFT, made once."""
    if not (folder / "taught" / "config.json").is_file():
        begun = checkpoint_at(start) if start else student("tiny").start(data, seed=seed, out=folder / "c0")
        trainer("sft", ("threads=1",)).train(begun, data, None, steps=steps, seed=seed, out=folder / "taught")
    return checkpoint_at(folder / "taught")


def composed(*words: str) -> Any:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return OmegaConf.to_container(compose("config", list(words)), resolve=True)


def trainer(name: str, words: tuple[str, ...]) -> Any:
    return build(composed(f"trainer={name}", *(f"trainer.{word}" for word in words))["trainer"], "trainer")


def student(name: str, *words: str) -> LocalStudent:
    made: LocalStudent = build(composed(f"student={name}", "student.threads=1", *words)["student"], "student")
    return made


def one(
    folder: Path,
    name: str,
    words: tuple[str, ...],
    start: Checkpoint,
    data: Dataset,
    steps: int,
    seed: int,
    evaluated: int,
) -> dict[str, Any]:
    """What one training gave: seconds, rewards by step, and which questions its checkpoint answers rightly."""
    found = folder / "found.json"
    if not found.is_file():
        reward: list[float] = []
        began = time.perf_counter(), time.process_time()
        made = start
        if name != "start":
            words = ("threads=1", *(() if name == "sft" else (f"max_answer={MAX_ANSWER}", "watched=0")), *words)
            made = trainer(name, words).train(
                start, data, None, steps=steps, seed=seed, out=folder / "checkpoint",
                progress=lambda done, _, told: reward.append(told["reward"]) if "reward" in told else None,
            )  # fmt: skip
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        write_json(found, {"wall": wall, "cpu": cpu, "reward": reward, "right": answered(made, evaluated)})
    return dict(read_json(found))


def answered(checkpoint: Checkpoint, count: int) -> dict[str, bool]:
    """By question of sloop_dev, whether the likeliest answer is right."""
    from sloop.calls.match.strict import strict

    asked: list[Sample] = list(islice(SampleBenchmark(name="sloop_dev", path="sloop_bench/dev.jsonl.gz").data, count))
    asked.sort(key=prompt_size)
    answering = student("checkpoint", f"student.path={checkpoint.path}")
    answering.load(checkpoint)
    right = {}
    for at in range(0, len(asked), 64):
        some = asked[at : at + 64]
        for sample, answer in zip(some, answering.predict(some, Decode(max_tokens=MAX_ANSWER)), strict=True):
            assert sample.label is not None
            calls = None if answer.error else answer.calls
            right[sample.id] = strict(sample.tools, calls, sample.label).valid
    return right


def report(
    right: dict[str, dict[tuple[int, str], bool]],
    seconds: dict[str, list[tuple[float, float]]],
    curves: dict[str, list[list[float]]],
    seeds: int,
) -> None:
    """The tables, as Markdown."""
    print("| method | call accuracy, by seed | mean | - start | 95% interval | wall s | CPU s |\n|" + "---|" * 7)
    for name, answers in right.items():
        by_seed = [[value for (at, _), value in answers.items() if at == seed] for seed in range(seeds)]
        shares = [100 * sum(values) / len(values) for values in by_seed]
        versus = "| | "
        if name != "start":
            both = [
                tuple(
                    {key: value for (at, key), value in side.items() if at == seed}
                    for side in (answers, right["start"])
                )
                for seed in range(seeds)
            ]
            found = compare_runs([(ours, start, None) for ours, start in both])
            versus = f"| {100 * found.delta:+.1f} | {100 * found.low:+.1f} to {100 * found.high:+.1f} "
        wall, cpu = (sum(part) / seeds for part in zip(*seconds[name], strict=True))
        print(f"| {name} | {', '.join(f'{share:.1f}' for share in shares)} | {sum(shares) / seeds:.1f} "
              f"{versus}| {wall:.0f} | {cpu:.0f} |")  # fmt: skip
    print("\n| method | reward in the first, second, third, last quarter of the steps |\n|---|---|")
    for name, rewards in curves.items():
        if all(rewards):
            quarters = [
                [sum(row[len(row) * q // 4 : len(row) * (q + 1) // 4]) / (len(row) // 4) for q in range(4)]
                for row in rewards
            ]
            print(f"| {name} | {', '.join(f'{sum(part) / seeds:.3f}' for part in zip(*quarters, strict=True))} |")


if __name__ == "__main__":
    main()
