"""`sloop eval answers=FOLDER` beside the official evaluators on the same answers, malformed ones included.

usage: python benchmarks/bench_official.py [entries of each benchmark]

BFCL: the single-turn entries of v4 in three modes, by its own runner, every Java and JavaScript entry with every kind
of answer, and format sensitivity, its prompts included; needs the official wheel (``pip install --no-deps
bfcl-eval==2026.3.23``) and ``sloop[bfcl]``. ACEBench: the ``normal_*`` and ``special_*`` rows, by the ``eval_main.py``
of a clone of github.com/chenchen0103/ACEBench; needs
``SLOOP_ACEBENCH=CLONE/data_all/data_en``. What is not there is left out.
Verdicts are compared entry by entry, accuracies and means to the last digit that is printed officially.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml
from format_cases import ways
from official_cases import WORDS, answers, kinds
from official_runners import MODES, Verdict, acebench_verdicts, bfcl_each, bfcl_prompts, bfcl_verdicts

from sloop.cli import conf_folder
from sloop.engine.build import build
from sloop.records import Grade, Prediction, Score
from sloop.store import read_rows

PRINTED = {
    "official_normal": "normal_summary", "official_special": "special_summary", "official_atom": "atom",
    "official_single_turn": "single_turn", "official_multi_turn": "multiple_turn",
}  # fmt: skip
"""Columns of ACEBench's table by sloop's names of them."""
SHOWN = 5


class Found(NamedTuple):
    """What `sloop eval` says of a set of answers."""

    verdicts: dict[str, Verdict]
    """By entry."""
    strict: set[str]
    """Entries whose answer is right to sloop's own metrics."""
    scores: dict[tuple[str, str], float]
    """By name and category."""


def made(name: str, cache: Path, **settings: Any) -> Any:
    """A benchmark as its configuration says."""
    spec = yaml.safe_load((conf_folder() / "benchmark" / f"{name}.yaml").read_text())
    spec = {key: value for key, value in spec.items() if key not in ("limit", "limit_seed")}
    return build({**spec, "cache_path": str(cache), **settings}, "benchmark")


def entries_of(benchmark: Any) -> dict[str, Any]:
    """The official entries, by sloop's id of the sample."""
    found: dict[str, Any] = benchmark._read.entries
    return found


def ours(work: Path, name: str, *words: str) -> Found:
    """`sloop eval` on the answers in ``work/results``."""
    command = ["eval", f"answers={work / 'results'}", f"benchmark={name}", *words, f"output_dir={work / 'run'}"]
    command += ["tracking.enabled=false", f"paths.outputs={work / 'outputs'}"]
    subprocess.run([Path(sys.executable).with_name("sloop"), *command], check=True, stdout=subprocess.DEVNULL)
    named = (word.removeprefix("benchmark.").split("=", 1) for word in words)
    settings = {key: yaml.safe_load(value) for key, value in named}
    entries = entries_of(made(name, work / "cache", **settings))
    grades = [grade for grade in read_rows(work / "run" / "grades.jsonl", Grade) if grade.official is not None]
    named = {entries[grade.sample_id]["id"]: grade for grade in grades}
    return Found(
        {one: (bool(grade.official), grade.reason) for one, grade in named.items()},
        {one for one, grade in named.items() if grade.correct},
        {(s.name, s.slice): s.value for s in read_rows(work / "run" / "scores.jsonl", Score) if s.value is not None},
    )


def compare(
    form: str,
    given: dict[str, tuple[str, Any]],
    theirs: dict[str, Verdict],
    found: Found,
    figures: dict[str, tuple[str, str]],
) -> int:
    """Print what differs; how much does.

    Args:
        form: of the answers.
        given: kind and answer by entry.
        theirs: the official verdicts.
        found: sloop's.
        figures: accuracies and means as they are printed officially, and sloop's.
    """
    wrong = [one for one in theirs if found.verdicts.get(one, (None,))[0] != theirs[one][0]]
    named = [one for one in theirs if not theirs[one][0] and one not in wrong and theirs[one] != found.verdicts[one]]
    apart = sum(theirs[one][0] != (one in found.strict) for one in theirs)
    right = sum(verdict for verdict, _ in theirs.values())
    count = len({kind for kind, _ in given.values()})
    print(
        f"{form}: {len(theirs)} answers of {count} kinds, {right} right officially, {len(found.strict)} by "
        f"the strict reading\n  another verdict by the strict reading: {apart}; verdicts that differ: {len(wrong)}; "
        f"official errors that have another name: {len(named)}"
    )
    for one in wrong[:SHOWN]:
        print(f"  {one}, {given[one][0]}: {theirs[one]}, ours {found.verdicts.get(one)}: {given[one][1]!r:.300}")
    for (official, mine), number in Counter((theirs[one][1], found.verdicts[one][1]) for one in named).items():
        print(f"  {number} times {official}, ours {mine}")
    off = {name: pair for name, pair in figures.items() if pair[0] != pair[1]}
    print(f"  {len(figures)} accuracies and means, {len(off)} differ {off or ''}")
    return len(wrong) + len(off)


def bfcl(mode: str, work: Path, limit: int) -> int:
    """BFCL in one mode; how many verdicts and figures differ."""
    benchmark = made("bfcl", work / "cache", reading=mode)
    entries, samples = entries_of(benchmark), list(benchmark.data)
    category, right = {}, {}
    for sample in samples[:: max(1, len(samples) // limit)]:
        entry = entries[sample.id]
        own = (
            {}
            if mode == "fc"
            else {function["name"].replace(".", "_"): function["name"] for function in entry["function"]}
        )
        some = sample.tools[0].name if sample.tools else "f"
        calls = [(call.name, call.arguments) for call in sample.label.calls] or [(some, {"x": 1})]
        right[entry["id"]] = [(own.get(name, name), arguments) for name, arguments in calls]
        category[entry["id"]] = sample.slice
    given: dict[str, tuple[str, Any]] = {}
    for java in (False, True):
        some = {one: calls for one, calls in right.items() if ("java" in category[one]) == java}
        given |= answers(kinds(f"{mode} java" if java else mode), some, Random(mode))
    folder = work / "results" / mode.replace("_", "")
    folder.mkdir(parents=True)
    for name in dict.fromkeys(category.values()):
        lines = [json.dumps({"id": one, "result": given[one][1]}) for one in given if category[one] == name]
        (folder / f"BFCL_v4_{name}_result.json").write_text("\n".join(lines) + "\n")
    theirs, columns = _elsewhere(bfcl_verdicts, mode, work / "results", work / "score")
    found = ours(work, "bfcl", f"benchmark.reading={mode}")
    mine = {
        **{name: found.scores["official_accuracy", name] for name in category.values()},
        "Non-Live Simple": found.scores["official_non_live_simple", ""],
        "Non-Live Overall": found.scores["official_non_live", ""],
        "Live Overall": found.scores["official_live", ""],
        "Irrelevance": found.scores["official_irrelevance", ""],
    }
    official = {
        **columns,
        "Non-Live Simple": columns["data_non_live/Simple AST"],
        "Non-Live Overall": columns["data_non_live/Non-Live Overall Acc"],
        "Live Overall": columns["data_live/Live Overall Acc"],
        "Irrelevance": columns["data_overall/Irrelevance Detection"],
    }
    return compare(mode, given, theirs, found, {name: (official[name], f"{value:.2%}") for name, value in mine.items()})


def bfcl_languages(mode: str, work: Path) -> int:
    """Every Java and JavaScript entry, answered in every kind; how many verdicts and names of errors differ."""
    benchmark = made("bfcl", work / "cache", reading=mode, categories=["simple_java", "simple_javascript"])
    entries, rows, found, names = entries_of(benchmark), [], [], []
    for sample in benchmark.data:
        entry = entries[sample.id]
        (shown,) = sample.label.calls
        own = shown.name if mode == "fc" else entry["function"][0]["name"]
        for name, make in kinds(f"{mode} java"):
            result = make([(own, dict(shown.arguments))])
            if result is None:  # to sloop no answer of others, unless a file of results holds it
                continue
            grade = benchmark.grade(sample, Prediction(sample_id=sample.id, raw=result))
            rows.append((sample.slice, entry, result))
            found.append((bool(grade.official), grade.reason))
            names.append(name)
    theirs = _elsewhere(bfcl_each, mode, rows)
    differ = [
        k for k, verdict in enumerate(theirs) if verdict[0] != found[k][0] or not (verdict[0] or verdict == found[k])
    ]
    print(
        f"{mode}: {len(rows)} answers of {len(set(names))} kinds to {len(entries)} Java and JavaScript entries, "
        f"{sum(valid for valid, _ in theirs)} right officially, verdicts or names of errors that differ: {len(differ)}"
    )
    for k in differ[:SHOWN]:
        print(f"  {rows[k][1]['id']}, {names[k]}: {theirs[k]}, ours {found[k]}: {rows[k][2]!r:.300}")
    wrong = [rows[k][1]["id"] for k, name in enumerate(names) if name == "right" and not theirs[k][0]]
    print(f"  labels that are wrong officially: {len(wrong)} {wrong}")
    for error, number in Counter(error for _, error in theirs).most_common():
        print(f"  {number:>7} {error}")
    return len(differ)


def bfcl_formats(work: Path) -> int:
    """Format sensitivity, every prompt answered in the form that it asks for; how many verdicts and figures differ."""
    benchmark = made("bfcl", work / "cache", categories=["format_sensitivity"])
    entries = entries_of(benchmark)
    theirs_asked = _elsewhere(bfcl_prompts)
    right: dict[str, dict[str, list[Any]]] = {}
    other = 0
    for sample in benchmark.data:
        entry = entries[sample.id]
        other += theirs_asked[entry["id"]] != [[message.role, message.content] for message in sample.messages]
        own = {function["name"].replace(".", "_"): function["name"] for function in entry["function"]}
        calls = [(own.get(call.name, call.name), call.arguments) for call in sample.label.calls]
        right.setdefault(entry["variant"].reading.removeprefix("prompting "), {})[entry["id"]] = calls
    print(f"format_sensitivity: of {len(entries)} prompts {other} differ")
    given: dict[str, tuple[str, Any]] = {}
    for form, some in right.items():
        given |= answers(ways(form), some, Random(form))
    (work / "results" / "prompting").mkdir(parents=True)
    lines = [json.dumps({"id": one, "result": given[one][1]}) for one in (e["id"] for e in entries.values())]
    (work / "results" / "prompting" / "BFCL_v4_format_sensitivity_result.json").write_text("\n".join(lines) + "\n")
    theirs, columns = _elsewhere(bfcl_verdicts, "prompting", work / "results", work / "score")
    found = ours(work, "bfcl", "benchmark.categories=[format_sensitivity]", "benchmark.reading=prompting")
    figures = {
        entry["variant"].official: f"{found.scores['official_accuracy', entry['variant'].slice]:.2%}"
        for entry in entries.values()
    }
    figures["format_sensitivity"] = f"{found.scores['official_accuracy', '']:.2%}"
    for name, score in (("accuracy_max_delta", "official_format_max_delta"), ("accuracy_std", "official_format_std")):
        figures[f"format_sensitivity/{name}"] = str(round(found.scores[score, ""] * 100, 2))
    return other + compare(
        "format_sensitivity", given, theirs, found, {n: (columns[n], mine) for n, mine in figures.items()}
    )


def acebench(data: Path, work: Path) -> int:
    """ACEBench; how many verdicts and figures differ."""
    benchmark = made("acebench", work / "cache", path=str(data))
    entries, samples = entries_of(benchmark), list(benchmark.data)
    right, words = {}, {}
    for sample in samples:
        entry = entries[sample.id]
        own = {function["name"].replace(".", "_"): function["name"] for function in entry["function"]}
        right[entry["id"]] = [(own.get(call.name, call.name), call.arguments) for call in sample.label.calls]
        words[entry["id"]] = sample.label.content
    rng = Random(0)
    given = answers(kinds("acebench"), right, rng)
    given |= {one: ("words", rng.choice(WORDS)(text)) for one, text in words.items() if text}
    rows: dict[str, list[tuple[str, Any]]] = {}
    for sample in samples:
        rows.setdefault(sample.slice, []).append((one := entries[sample.id]["id"], given[one][1]))
    (work / "results").mkdir()
    for name, results in rows.items():
        lines = [json.dumps({"id": one, "result": result}) for one, result in results]
        (work / "results" / f"data_{name}_result.json").write_text("\n".join(lines) + "\n")
    (work / "official").mkdir()
    theirs, columns = _elsewhere(acebench_verdicts, data.parents[1], work / "official", rows)
    found = ours(work, "acebench", f"benchmark.path={data}")
    mine = {PRINTED.get(name, name): value for (name, part), value in found.scores.items() if not part}
    for name in rows:
        mine[f"{name}/accuracy"] = found.scores["official_accuracy", name]
        if (process := found.scores.get(("official_process_accuracy", name))) is not None:
            mine[f"{name}/process_accuracy"] = process
    figures = {name: (columns[name], str(round(value, 3))) for name, value in mine.items() if name in columns}
    return compare("acebench", given, theirs, found, figures)


def _elsewhere(function: Any, *given: Any) -> Any:
    """In a process of its own, as the official evaluators change the process that they run in."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *given).result()


def main() -> None:
    limit = int(sys.argv[1]) if sys.argv[1:] else 10**9
    differ = 0
    with tempfile.TemporaryDirectory() as folder:
        if importlib.util.find_spec("bfcl_eval"):
            for mode in MODES:
                (Path(folder) / mode).mkdir()
                differ += bfcl(mode, Path(folder) / mode, limit)
                differ += bfcl_languages(mode, Path(folder) / mode)
            (Path(folder) / "formats").mkdir()
            differ += bfcl_formats(Path(folder) / "formats")
        else:
            print("BFCL is left out: pip install --no-deps bfcl-eval==2026.3.23")
        if "SLOOP_ACEBENCH" in os.environ:
            (Path(folder) / "acebench").mkdir()
            differ += acebench(Path(os.environ["SLOOP_ACEBENCH"]), Path(folder) / "acebench")
        else:
            print("ACEBench is left out: set SLOOP_ACEBENCH=CLONE/data_all/data_en")
    sys.exit(differ > 0)


if __name__ == "__main__":
    main()
