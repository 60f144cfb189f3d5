"""Make the frozen held-out sets ``v1`` (for reports) and ``dev`` (to tune on), and the tasks that v2 adds to each.

The sets are frozen: run this to see that it still gives the same bytes (``--check``), not to change them. What a slice
holds out comes from the packaged data's own split: the test part of values, phrasings and tools belongs to v1, the dev
part to dev; training uses the train part alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sloop.benchmarks.environment import drawn
from sloop.engine.stage import Place, run_stage
from sloop.records import Sample, Task, Tool
from sloop.simulation.dialogues import kinds_by_domain
from sloop.simulation.template import TemplateTeacher
from sloop.stages.gen import TRAIN, Gen, GenSettings
from sloop.stages.samplers import RandomSampler
from sloop.store import write_rows
from sloop.tools.sources import load_tools

FOLDER = Path(__file__).parent / "data" / "sloop_bench"
CALLS = {"single": 0.8, "parallel": 0.2}
SIZES = {"v1": 250, "dev": 150}
"""Samples in a slice."""
SEEDS = {"v1": 990_001, "dev": 880_001}
DOMAINS = ("files", "bookings")
TASKS = {"v2_tasks": ("test", 140, 990_100), "dev_tasks": ("dev", 70, 880_100)}
"""By file: part, number of tasks, seed."""


def slices(part: str) -> dict[str, tuple[dict[str, float], str, str, str]]:
    """By slice: kinds, part of values, part of phrasings, split of the tools."""
    return {
        "seen": (CALLS, "train", "train", "train"),
        "unseen_values": (CALLS, part, "train", "train"),
        "unseen_phrases": (CALLS, "train", part, "train"),
        "unseen_tools": (CALLS, part, part, part),
        "missing_tool": ({"irrelevant": 1.0}, "train", "train", "train"),
        "no_call": ({"incomplete": 0.7, "chat": 0.3}, "train", part, "train"),
    }


def make(part: str, size: int, seed: int, out: Path) -> list[Sample]:
    """All slices of one set, no request twice, in the order of `slices`."""
    samples: list[Sample] = []
    seen: set[str] = set()
    everything = load_tools("everyday", None)
    for number, (name, (kinds, values, phrases, split)) in enumerate(slices(part).items()):
        wanted = load_tools("everyday", split)
        # Few tools are held out: tools known from training stand beside them.
        tools: tuple[Tool, ...] = wanted if split == "train" else (*wanted, *load_tools("everyday", "train"))
        teacher = TemplateTeacher(
            templates="everyday", values=values, phrases=phrases, random_values=0.3, optional_arguments=0.35,
            spelled_values=0.2,
        )  # fmt: skip
        wanted_samples = Gen(
            tools=tools, teacher=teacher, sampler=Only({tool.name for tool in wanted}),
            settings=GenSettings(kinds=kinds, offered=(3, 5), contrast=0.0), num_samples=size * 3, seed=seed + number,
            train_split=1.0,
        )  # fmt: skip
        pool = run_stage(wanted_samples, Place(out / name)).dataset(TRAIN)
        kept = 0
        for sample in pool:
            if kept < size and sample.request not in seen:
                seen.add(sample.request)
                group = f"bench-{name}-{sample.id[:12]}"
                samples.append(
                    sample.model_copy(update={"slice": name, "group": group, "lineage": type(sample.lineage)()})
                )
                kept += 1
        if kept < size * 0.5:
            raise SystemExit(f"slice {name}: only {kept} distinct requests of {size}; {len(everything)} tools")
    return samples


class Only(RandomSampler):
    """Requests are about some of the tools alone."""

    def __init__(self, names: set[str]) -> None:
        self.names = sorted(names)

    def wanted(self, tools, rng):
        """Endless stream of those tools."""
        return super().wanted([tool for tool in tools if tool.name in self.names], rng)


def frozen(name: str, rows: Sequence[Sample | Task], *, write: bool) -> bool:
    """Whether the frozen file is what these rows make; it is written where asked for."""
    path = FOLDER / f"{name}.jsonl.gz"
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / path.name, rows)
        made = (Path(folder) / path.name).read_bytes()
    same = path.is_file() and path.read_bytes() == made
    print(name, len(rows), dict(Counter(row.slice for row in rows)), "same" if same else "differs")
    if write:
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made)
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the frozen files and write nothing")
    options = parser.parse_args()
    made: dict[str, Sequence[Sample | Task]] = {}
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            made[name] = make("test" if name == "v1" else "dev", size, SEEDS[name], Path(folder))
    for name, (part, number, seed) in TASKS.items():
        made[name] = list(drawn(kinds_by_domain(DOMAINS, (), "make_sloop_bench"), part, seed, number).values())
    failed = [name for name, rows in made.items() if not frozen(name, rows, write=not options.check)]
    sys.exit(1 if failed and options.check else 0)


if __name__ == "__main__":
    main()
