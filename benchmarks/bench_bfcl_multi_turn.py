"""`benchmark=bfcl_multi_turn` beside the official loop and runner of the wheel, entry by entry.

usage: python benchmarks/bench_bfcl_multi_turn.py [wrong answers of each mode] [fc] [qwen_fc] [prompting] [dialogues]

- The gold calls of all 800 entries, in one step a turn and call by call, and so many answers that are wrong or
  malformed in ways drawn by a seed, each as a model of each of the leaderboard's three handlers would give it: the
  verdicts and the names of the errors that differ, and the CPU time of both.
- What the official loop asks a model at every step, messages, tools and results of calls to the letter, beside what our
  episode asks one that answers the same: every entry with its gold calls, and with calls that are drawn.

Needs the official wheel: ``pip install --no-deps bfcl-eval==2026.3.23``.
"""

from __future__ import annotations

import copy
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from bench_official import _elsewhere, entries_of, made
from official_cases import Call, kinds
from official_runners import MODES, Verdict, bfcl_dialogues, bfcl_multi_turn_verdicts

from sloop.environments.base import difference
from sloop.records import Prediction, ToolCall

WRONG = 2000
STEPS = 20
SHOWN = 5
READS = ("get_", "list_", "display", "view_", "find", "ls", "pwd", "check_", "estimate_", "gallon_", "liter_")
Turns = list[list[list[Call]]]
"""By turn, by step."""


def turn_of(turns: Turns, rng: Random) -> int:
    """A turn with calls."""
    return rng.choice([number for number, steps in enumerate(turns) if steps])


def step_of(turns: Turns, rng: Random) -> list[Call]:
    """A step with calls."""
    return rng.choice(turns[turn_of(turns, rng)])


def dropped(turns: Turns, rng: Random, entry: Any) -> None:
    steps = turns[turn_of(turns, rng)]
    step = rng.choice(steps)
    step.pop(rng.randrange(len(step)))
    if not step:
        steps.remove(step)


def emptied(turns: Turns, rng: Random, entry: Any) -> None:
    turns[turn_of(turns, rng)].clear()


def silenced(turns: Turns, rng: Random, entry: Any) -> None:
    for steps in turns:
        steps.clear()


def swapped(turns: Turns, rng: Random, entry: Any) -> None:
    step = step_of(turns, rng)
    rng.shuffle(step)


def reversed_turns(turns: Turns, rng: Random, entry: Any) -> None:
    turns.reverse()


def earlier(turns: Turns, rng: Random, entry: Any) -> None:
    """All calls in the first turn that has some, as whoever guesses what comes."""
    steps = [step for turn in turns for step in turn]
    silenced(turns, rng, entry)
    turns[0].extend(steps)


def altered(turns: Turns, rng: Random, entry: Any) -> None:
    step = step_of(turns, rng)
    _, given = rng.choice(step)
    if given:
        key = rng.choice(list(given))
        value = given[key]
        other = {bool: lambda: not value, int: lambda: value + 1, float: lambda: value / 2, str: lambda: f"{value}x"}
        wrong: list[Any] = [None, [], {}, [value], str(value), "", -1, True, float("nan"), {"a": {"b": value}}]
        given[key] = other.get(type(value), lambda: None)() if rng.random() < 0.5 else rng.choice(wrong)


def renamed(turns: Turns, rng: Random, entry: Any) -> None:
    step = step_of(turns, rng)
    at = rng.randrange(len(step))
    name, given = step[at]
    names = ("made_up", f"{name}_x", name.upper(), f"GorillaFileSystem.{name}", "_load_scenario", "", "a b")
    step[at] = (rng.choice(names), given)


def pythons_own(turns: Turns, rng: Random, entry: Any) -> None:
    """A function of Python's own, which the official runner runs and ours does not know."""
    step_of(turns, rng).insert(
        0, rng.choice([("__import__", {"name": "os"}), ("len", {"obj": "a"}), ("dict", {"a": 1})])
    )


def other_argument(turns: Turns, rng: Random, entry: Any) -> None:
    step = step_of(turns, rng)
    at = rng.randrange(len(step))
    name, given = step[at]
    given = dict(given)
    if given and rng.random() < 0.5:
        given.pop(rng.choice(list(given)))
    else:
        given[rng.choice(("made_up", "a b", "class", "self", "", "1"))] = 1
    step[at] = (name, given)


def read_more(turns: Turns, rng: Random, entry: Any) -> None:
    names = [tool.name for tool in entry["tools"] if tool.name.startswith(READS) and not tool.required]
    if names:
        turns[rng.randrange(len(turns))].append([(rng.choice(names), {})])


def call_more(turns: Turns, rng: Random, entry: Any) -> None:
    """A gold call again, at some place: mostly one that changes something."""
    call = copy.deepcopy(rng.choice(step_of(turns, rng)))
    steps = turns[rng.randrange(len(turns))]
    steps.insert(rng.randint(0, len(steps)), [call])


def methods_in_texts(turns: Turns, rng: Random, entry: Any) -> None:
    """A text in which a method's name stands before a bracket, which the official rules change."""
    for name, given in step_of(turns, rng):
        for key, value in given.items():
            if isinstance(value, str):
                given[key] = f"{value} {rng.choice([name, 'other'])} (soon)"


def too_many(turns: Turns, rng: Random, entry: Any) -> None:
    """So many steps that the official loop ends: nothing comes after that turn."""
    at = turn_of(turns, rng)
    steps = turns[at]
    steps.extend([copy.deepcopy(steps[-1])] * (STEPS + 1 - len(steps)))
    del turns[at + 1 :]


def in_one_turn(turns: Turns, rng: Random, entry: Any) -> None:
    del turns[rng.randrange(len(turns)) :]


CHANGES: dict[str, Callable[[Turns, Random, Any], None]] = {
    "dropped call": dropped, "changed value": altered, "order": swapped, "turns reversed": reversed_turns,
    "all in the first turn": earlier, "extra read": read_more, "extra call": call_more, "empty turn": emptied,
    "unknown function": renamed, "other arguments": other_argument, "no calls": silenced, "Python's own": pythons_own,
    "methods in texts": methods_in_texts, "too many steps": too_many, "turns missing": in_one_turn,
}  # fmt: skip
DRAWN = (
    "dropped call", "order", "extra read", "extra call", "empty turn", "unknown function", "too many steps",
    "changed value",
)  # fmt: skip
"""Those that a dialogue is drawn by."""
NOT_TURNS: tuple[Any, ...] = ("Error during inference: timed out", "some words", {}, [], [[]], [None], 7, {"a": "{}"})
"""Results that are no list of turns of steps."""


def gold_turns(entry: Any, steps: bool) -> Turns:
    """The gold calls, each a step of its own or all of a turn in one."""
    named = [[(call.name, copy.deepcopy(call.arguments)) for call in calls] for calls in entry["calls"]]
    return [[[call] for call in calls] if steps else [calls] if calls else [] for calls in named]


def result_of(turns: Turns, write: Callable[[list[Call]], Any], words: bool) -> list[list[Any]]:
    """As the official loop records it: each turn ends with an answer that calls nothing, but one that was too long."""
    return [[write(step) for step in steps] + (["Done."] if words and len(steps) <= STEPS else []) for steps in turns]


def wrong_answers(mode: str, entries: list[Any], number: int) -> Iterable[tuple[str, Any, Any]]:
    """(kind, entry, result), as many as asked for, drawn by the mode's own seed."""
    rng, ways = Random(f"{mode} 0"), dict(kinds(mode))
    for _ in range(number):
        entry, kind = rng.choice(entries), rng.choice([*CHANGES, "malformed step", "no turns"])
        turns = gold_turns(entry, rng.random() < 0.5)
        if kind in CHANGES:
            for _ in range(rng.choice((1, 1, 2))):
                if any(turns):
                    CHANGES[kind](turns, rng, entry)
            result: Any = result_of(turns, ways["right"], rng.random() < 0.8)
        elif kind == "malformed step":
            result = result_of(turns, ways["right"], True)
            at, way = turn_of(turns, rng), rng.choice(list(ways))
            step = rng.randrange(len(turns[at]))
            result[at][step] = ways[way](copy.deepcopy(turns[at][step]))
            kind = f"malformed: {way}"
        else:
            result = rng.choice(NOT_TURNS)
        yield kind, entry, result


def ours(benchmark: Any, sample_id: str, result: Any) -> Verdict:
    """The verdict of our episode on a result."""
    (episode,) = benchmark.episodes([sample_id])
    failed = isinstance(result, str) and result.startswith("Error during inference")
    episode.tell(Prediction(sample_id=sample_id, raw=result, error="model" if failed else "format"))
    (grade,) = episode.grade()
    return bool(grade.official), None if grade.official else str(grade.reason).partition(": in turn")[0]


def verdicts(mode: str, benchmark: Any, number: int) -> int:
    """Gold and wrong answers in one mode; how many verdicts and names of errors differ."""
    entries = entries_of(benchmark)
    write = dict(kinds(mode))["right"]
    own = [
        (f"gold {steps}", entry, result_of(gold_turns(entry, steps), write, True))
        for steps in (False, True)
        for entry in entries.values()
    ]
    wrong = list(wrong_answers(mode, list(entries.values()), number))
    differ = 0
    ids = {entry["id"]: sample_id for sample_id, entry in entries.items()}
    for what, rows in (("gold", own), ("wrong or malformed", wrong)):
        shown = ("id", "initial_config", "involved_classes")
        given = [({key: entry[key] for key in shown}, entry["ground_truth"], result) for _, entry, result in rows]
        theirs, seconds = _elsewhere(bfcl_multi_turn_verdicts, mode, given)
        benchmark.close()
        began = _cpu()
        found = [ours(benchmark, ids[entry["id"]], result) for _, entry, result in rows]
        benchmark.close()
        own_seconds = _cpu() - began
        apart = [k for k, verdict in enumerate(theirs) if verdict[0] != found[k][0]]
        named = [k for k, verdict in enumerate(theirs) if verdict != found[k] and k not in apart]
        differ += len(apart) + len(named)
        print(
            f"{mode}, {what}: {len(rows)} answers of {len({kind for kind, _, _ in rows})} kinds, "
            f"{sum(valid for valid, _ in theirs)} right officially; verdicts that differ: {len(apart)}, names of "
            f"errors: {len(named)}; CPU ms an answer: official {1e3 * seconds / len(rows):.2f}, "
            f"ours {1e3 * own_seconds / len(rows):.2f}"
        )
        for error, times in Counter(str(error).partition(" ")[0] for _, error in theirs).most_common():
            print(f"  {times:>6} {error}")
        for k in (*apart, *named)[:SHOWN]:
            print(f"  {rows[k][1]['id']}, {rows[k][0]}: {theirs[k]}, ours {found[k]}: {json.dumps(rows[k][2])[:600]}")
    return differ


def scripts_of(entries: Iterable[Any], rng: Random, drawn: bool) -> dict[str, list[Any]]:
    """By entry, what a model answers at each step; more than any episode asks for."""
    found = {}
    for entry in entries:
        turns = gold_turns(entry, rng.random() < 0.5)
        for _ in range(2 * drawn):
            if any(turns):
                CHANGES[rng.choice(DRAWN)](turns, rng, entry)
        answers: list[Any] = [answer for steps in turns for answer in (*steps, "Done.")]
        as_json = json.dumps(answers + ["Done."] * 20)
        found[entry["id"]] = json.loads(as_json, parse_constant=lambda _: None)
    return found


def dialogues(benchmark: Any) -> int:
    """What is asked at every step; in how many entries it differs."""
    entries, differ = entries_of(benchmark), 0
    for what, drawn in (("gold calls", False), ("drawn calls", True)):
        asked, apart = 0, []
        for category in benchmark.categories:
            own = {sid: entry for sid, entry in entries.items() if entry["id"].startswith(f"{category}_")}
            scripts = scripts_of(own.values(), Random(f"{category} {what}"), drawn)
            theirs = _elsewhere(bfcl_dialogues, category, scripts)
            for sample_id, entry in own.items():
                (episode,), script, seen = benchmark.episodes([sample_id]), iter(scripts[entry["id"]]), []
                while (sample := episode.ask()) is not None:
                    messages = [[message.role, message.content] for message in sample.messages]
                    seen.append([messages, [tool.to_openai()["function"] for tool in sample.tools]])
                    said = next(script)
                    calls = [] if isinstance(said, str) else [ToolCall(name=n, arguments=given) for n, given in said]
                    words = said if isinstance(said, str) else ""
                    episode.tell(Prediction(sample_id=sample.id, content=words, calls=tuple(calls)))
                asked += len(seen)
                if found := difference(
                    json.loads(json.dumps(seen)), [json.loads(step) for step in theirs[entry["id"]]]
                ):
                    apart.append(f"{entry['id']}: {found[:600]}")
        print(f"dialogues, {what}: {len(entries)} entries, {asked} steps; entries in which one differs: {len(apart)}")
        for line in apart[:SHOWN]:
            print(f"  {line}")
        differ += len(apart)
    return differ


def _cpu() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    number = int(sys.argv[1]) if sys.argv[1:] else WRONG
    differ = 0
    for part in sys.argv[2:] or [*MODES, "dialogues"]:
        with tempfile.TemporaryDirectory() as folder:
            benchmark = made("bfcl_multi_turn", Path(folder), reading=part if part in MODES else None)
            _ = benchmark.data
            for sample_id, entry in entries_of(benchmark).items():
                (episode,) = benchmark.episodes([sample_id])
                entry["tools"] = episode._tools(len(entry["question"]))
            differ += verdicts(part, benchmark, number) if part in MODES else dialogues(benchmark)
            benchmark.close()
    sys.exit(differ > 0)


if __name__ == "__main__":
    main()
