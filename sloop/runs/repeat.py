"""A bundle's run made again: the configuration that may be run, on what, and how alike the two runs are.

A bundle may be anybody's. Its configuration runs nothing but sloop's own components, reads and writes nothing outside
the folder it is repeated in, and asks no address: kept replies answer in a model's place (`runnable`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from sloop.engine.build import MOVED
from sloop.measures.metrics import METRICS
from sloop.measures.stats import Comparison, compare_paired, holm
from sloop.records import Grade, Machine, UserError, trial_id
from sloop.runs.bundle import REPLIES, Bundle, foreign
from sloop.runs.cite import ARITHMETIC
from sloop.runs.differences import FLOATS, StagePair
from sloop.runs.files import holds
from sloop.runs.public import SECRET_NAMES
from sloop.runs.read import Run
from sloop.stages.evaluate import GRADES
from sloop.store import read_rows

BUNDLE, AGAIN = "bundle", "run"
"""Folders, in that of the repetition, of the unpacked bundle and of the run made again."""
CACHE = f"{BUNDLE}/{REPLIES}"
KEPT: dict[str, Any] = {
    "output_dir": AGAIN, "preview": 0, "preflight": False, "retry_failed": False,
    "executor": {"kind": "local", "workers": 8},
    "tracking": {"enabled": False, "uri": None, "failures": 0, "questions": 0}, "cite": {"require_clean": False},
    "paths": {
        "outputs": "outputs", "mlruns": "mlruns", "cache": CACHE, "models": "outputs/.cache/models",
    },
}  # fmt: skip
"""Of a configuration: what says where and how a run is kept, in the folder of the repetition."""
LESSER = {
    "DEFAULT": {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
"""By torch's instruction set: the variables that hold a processor with more of them to it."""
HARMLESS = (
    "sloop.benchmarks.", "sloop.judges.", "sloop.models.endpoint.", "sloop.simulation.", "sloop.stages.",
    "sloop.students.", "sloop.teachers.", "sloop.trainers.",
)  # fmt: skip
"""Beginnings of classes of sloop's that start no process and import nothing that a setting names; sources of tools, and
whatever speaks to a program, are not among them."""
IMPORTING = ("sloop.trainers.teacher_mode.",)
"""Beginnings of those among them that do import, and call, what a setting names."""
JUDGED = ("call_accuracy", "tool_accuracy", "no_call_accuracy", "false_refusal_rate")
"""Metrics by which two evaluations are told apart: each says right or wrong of one question, whatever was answered."""
LEVEL = 0.05

Likeness = Literal["same bytes", "same within the interval", "other bytes", "different"]
"""Of a stage. Other bytes are those that floating point, or stages before it, explain and no test can judge."""


class Stage(NamedTuple):
    """How alike a stage of the two runs is."""

    place: str
    likeness: Likeness
    why: str


# --- the configuration --------------------------------------------------------------------------------------------


def runnable(bundle: Bundle, given: Mapping[str, str], *, trust: bool) -> dict[str, Any]:
    """The configuration of a bundle's run, for a folder that holds the bundle under `BUNDLE`.

    Args:
        bundle: checked.
        given: by key: files of the reader's own, for those that the bundle does not hold.
        trust: run what it names of others' code, files and addresses.

    Raises:
        UserError: it names what is no part of sloop, leads out of the folder, or would ask an address, without
            ``trust``; or a file that it names is missing. Names every such key.
    """
    manifest = bundle.manifest
    config: dict[str, Any] = deepcopy(manifest.run.config)
    strange = [f"{key}={value} is no component of sloop's" for key, value in foreign(config)]
    for key, section in sections(config):
        if (target := str(section.get("_target_", ""))).startswith("sloop.") and not _is_harmless(target):
            strange.append(f"{key}._target_={target} may run what its settings name")
    config |= deepcopy(KEPT)
    replies = REPLIES in manifest.files
    for key, section in sections(config):
        if "base_url" in section:
            if not replies:
                strange.append(f"{key}.base_url={section['base_url']} would be asked, as the bundle holds no replies")
            section |= {"cache": "read_only" if replies else "use", "cache_path": CACHE}
        elif key != "paths":
            section |= {name: f"outputs/.cache/{name}" for name in ("cache_path", "models") if section.get(name)}
    config["cache"] = "read_only" if replies else "off"
    missing = [one.key for one in manifest.inputs if not one.file and one.key not in given]
    for key, path in {**{one.key: f"{BUNDLE}/{one.file}" for one in manifest.inputs if one.file}, **given}.items():
        _put(config, key, path)
    own = set(given.values())
    strange += [f"{key}={value} leads out of the folder" for key, value in leading_out(config) if value not in own]
    if strange and not trust:
        raise UserError(
            f"this bundle's configuration is not run as it stands: {'; '.join(strange)}. Where you know who made it, "
            "and want what it names used: --trust"
        )
    if missing:
        raise UserError(
            f"the bundle does not hold what {', '.join(missing)} named: give yours, for each: --input {missing[0]}=PATH"
        )
    return config


def _is_harmless(target: str) -> bool:
    target = MOVED.get(target, target)
    return target.startswith(HARMLESS) and not target.startswith(IMPORTING)


def sections(config: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every section of a configuration, by its key in dots."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from sections(value, f"{key}.{name}" if key else str(name))
        if key:
            yield key, config  # type: ignore[misc]
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from sections(value, f"{key}[{index}]")


def leading_out(config: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Texts of a configuration that lead out of the folder it is run in: (key, text)."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            if name != "base_url":
                yield from leading_out(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, list | tuple):
        for index, value in enumerate(config):
            yield from leading_out(value, f"{key}[{index}]")
    elif isinstance(config, str):
        parts = PurePosixPath(config.replace("\\", "/")).parts
        elsewhere = config.startswith(("/", "~", "\\", "hf:")) or re.match(r"[A-Za-z]:[\\/]", config)
        if elsewhere or "://" in config or ".." in parts:
            yield key, config


def _put(config: dict[str, Any], key: str, value: str) -> None:
    *above, last = key.split(".")
    section: Any = config
    for name in above:
        section = section.get(name) if isinstance(section, dict) else None
    if last.startswith("_") or not isinstance(section, dict) or not isinstance(section.get(last), str | None):
        raise UserError(f"{key}: this key of the configuration names no file.")
    section[last] = value


def environment(bundle: Bundle, here: Machine, *, trust: bool) -> dict[str, str]:
    """The environment in which the run is made again: the reader's, without keys, and what the sums were made with.

    What the reader sets of `ARITHMETIC` stands. A processor with more instructions than that of the run is held to
    those of the run, as far as torch, MKL and oneDNN can be (`LESSER`).

    Args:
        bundle: checked.
        here: this machine.
        trust: leave the reader's keys in it, and let models be fetched.
    """
    run = bundle.manifest.run
    made = {name: value for name, value in os.environ.items() if trust or not SECRET_NAMES.search(name)}
    before = run.machine.arithmetic
    more = {"avx2", "avx512f"} & (set(here.features) - set(run.machine.features))
    pinned = LESSER.get(before.capability, {}) if before and more else {}
    recorded = {name: value for name, value in run.environment.items() if name in ARITHMETIC}
    for name, value in {**pinned, **recorded}.items():
        if re.fullmatch(r"[\w.,:-]{1,64}", value):
            made.setdefault(name, value)
    return made if trust else {**made, "HF_HUB_OFFLINE": "1"}


# --- how alike ----------------------------------------------------------------------------------------------------


def likeness(pairs: list[StagePair], first: Run, again: Run) -> list[Stage]:
    """How alike every stage of two runs is, in order.

    What is not computed in floating point has the same bytes, or is different, unless it was made of answers and
    weights that have others. Evaluations are compared question by question (`compare_paired`), on every metric of
    `JUDGED`: different where a p-value, adjusted for their number in all evaluations (Holm), is below `LEVEL`.
    """
    tested: dict[str, Comparison] = {}
    broken: dict[str, str] = {}
    for pair in pairs:
        if pair.name == "evaluate" and pair.first and pair.second and pair.files:
            try:
                tested |= {f"{pair.place} {name}": found for name, found in _compared(pair.place, first, again)}
            except UserError as error:
                broken[pair.place] = str(error)
    adjusted = holm({key: 1.0 if found.p_value is None else found.p_value for key, found in tested.items()})
    alike: list[Stage] = []
    moved = False
    for pair in pairs:
        if pair.first is None or pair.second is None:
            alike.append(
                Stage(pair.place, "different", f"{'made again' if pair.second else 'the bundle'} alone has it")
            )
            continue
        if pair.is_same:
            alike.append(Stage(pair.place, "same bytes", f"{len(pair.first.files)} files"))
            continue
        told = ", ".join(_apart(pair, first, again))
        if pair.place in broken:
            alike.append(Stage(pair.place, "different", broken[pair.place]))
        elif pair.name == "evaluate":
            alike.append(_judged(pair.place, told, tested, adjusted))
        elif pair.name in FLOATS or (moved and pair.name == "optimize"):
            why = "made of answers that are others" if pair.name not in FLOATS else "floating point"
            alike.append(Stage(pair.place, "other bytes", f"{told}; {why}"))
        else:
            alike.append(Stage(pair.place, "different", f"{told}; nothing in it is computed in floating point"))
        moved = moved or pair.name in FLOATS
    return alike


def verdict(stages: list[Stage]) -> Likeness:
    """Of a whole run: other bytes alone make nothing different that the evaluations do not show."""
    found = {stage.likeness for stage in stages}
    if "different" in found:
        return "different"
    return "same bytes" if found == {"same bytes"} else "same within the interval"


def _judged(place: str, told: str, tested: Mapping[str, Comparison], adjusted: Mapping[str, float]) -> Stage:
    mine = {key: adjusted[key] for key in tested if key.startswith(f"{place} ")}
    if not mine:
        return Stage(place, "different", f"{told}; no question has an answer in both runs, so that none is compared")
    key = min(mine, key=lambda key: (mine[key], -abs(tested[key].delta)))
    found = tested[key]
    alike: Likeness = "different" if mine[key] < LEVEL else "same within the interval"
    seen = "" if found.detectable is None else f", shown from {found.detectable * 100:.1f}"
    why = (
        f"{told}; {key.removeprefix(place).strip()} {found.b * 100:.1f} then {found.a * 100:.1f}, "
        f"{found.delta * 100:+.1f} [{found.low * 100:+.1f}, {found.high * 100:+.1f}], McNemar exact p "
        f"{found.p_value:.2g} (Holm {mine[key]:.2g}), n {found.n}{seen}"
    )
    return Stage(place, alike, why)


def _compared(place: str, first: Run, again: Run) -> Iterator[tuple[str, Comparison]]:
    """The paired comparison of an evaluation, made again minus before, on every metric of `JUDGED` that it has."""
    before, after = (_grades(run, place) for run in (first, again))
    clusters = {key: grade.cluster for key, grade in before.items()}
    for name in JUDGED:
        now, then = ({key: _right(name, grade) for key, grade in side.items()} for side in (after, before))
        if now.keys() != then.keys() or any(now[key] is not None and then[key] is not None for key in now):
            yield name, compare_paired(now, then, clusters)


def _grades(run: Run, place: str) -> dict[str, Grade]:
    path = run.folder / place / GRADES
    if not holds(run.folder, path):
        raise UserError(f"{path} is missing, so that its answers cannot be compared.")
    return {trial_id(grade.sample_id, grade.trial): grade for grade in read_rows(path, Grade)}


def _right(metric: str, grade: Grade) -> bool | None:
    right, of = METRICS[metric](grade)
    return bool(right) if of else None


def _apart(pair: StagePair, first: Run, again: Run) -> Iterator[str]:
    """The files of a stage that differ, with how many of their rows do."""
    for name in pair.files:
        paths = [run.folder / pair.place / name for run in (first, again)]
        if not name.endswith(".jsonl") or not all(map(holds, (first.folder, again.folder), paths)):
            yield name
            continue
        lines = [path.read_bytes().splitlines() for path in paths]
        yield f"{name} {sum(one != other for one, other in zip_longest(*lines))} of {max(map(len, lines))} rows"
