"""BFCL's multi-turn entries: the loop and the verdicts are the official ones, and what a model writes is never run."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grading import scores_of, spec_of
from running import sloop

from sloop.benchmarks.base import Benchmark
from sloop.benchmarks.bfcl_multi_turn import CATEGORIES, NEEDLESS, BfclMultiTurnBenchmark
from sloop.engine.build import build
from sloop.environments.bfcl import wheel
from sloop.records import Grade, Prediction, Sample, Score, ToolCall, UserError
from sloop.rollout import Episode, replay, rollout
from sloop.store import read_rows

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("bfcl_eval", "mpmath"))),
    reason="runs the official classes: pip install --no-deps bfcl-eval==2026.3.23 && pip install mpmath",
)
FIRST = 4
"""Entries of each category."""
Write = Callable[[Sample], Prediction]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first official entries of each category."""
    made, official = tmp_path_factory.mktemp("multi_turn"), wheel() / "data"
    (made / "possible_answer").mkdir()
    (made / "multi_turn_func_doc").symlink_to(official / "multi_turn_func_doc")
    for category in CATEGORIES:
        for name in (f"BFCL_v4_{category}.json", f"possible_answer/BFCL_v4_{category}.json"):
            lines = (official / name).read_text().splitlines()[:FIRST]
            (made / name).write_text("\n".join(lines) + "\n")
    return made


@pytest.fixture(scope="module")
def benchmark(folder: Path) -> Iterator[BfclMultiTurnBenchmark]:
    found = bench(folder)
    yield found
    found.close()


def bench(folder: Path | None, **changes: Any) -> BfclMultiTurnBenchmark:
    own: dict[str, Any] = {"cache_path": "cache"}
    if folder:
        own = {"path": str(folder), "digests": None, "cache_path": str(folder / "cache")}
    found = build({**spec_of("bfcl_multi_turn"), **own, **changes}, "benchmark")
    assert isinstance(found, BfclMultiTurnBenchmark)
    return found


def gold(sample: Sample) -> Prediction:
    assert sample.label is not None
    calls = sample.label.calls
    return Prediction(sample_id=sample.id, calls=calls, content="" if calls else "Done.")


def silent(sample: Sample) -> Prediction:
    return Prediction(sample_id=sample.id, content="I would rather not.")


def eager(sample: Sample) -> Prediction:
    """Reads where nothing is to be called, and is right everywhere else."""
    right, wanted = gold(sample), sample.messages[-1].role == "user"
    names = [tool.name for tool in sample.tools if not tool.required]
    return right.model_copy(update={"calls": right.calls or wanted * (ToolCall(name=names[0], arguments={}),)})


def restless(sample: Sample) -> Prediction:
    return Prediction(sample_id=sample.id, calls=(ToolCall(name="no_such_function", arguments={"x": 1}),))


def played(benchmark: BfclMultiTurnBenchmark, entry: str, write: Write) -> tuple[list[Sample], Grade]:
    """What was asked, and the grade."""
    episode = opened(benchmark, entry)
    steps = replay(episode, write)
    (grade,) = episode.grade()
    return [step.asked for step in steps], grade


def opened(benchmark: BfclMultiTurnBenchmark, entry: str) -> Episode:
    (known,) = (sample_id for sample_id, found in benchmark._read.entries.items() if found["id"] == entry)
    return next(benchmark.episodes([known]))


def recorded(benchmark: BfclMultiTurnBenchmark, entry: str, result: Any) -> Grade:
    return played(benchmark, entry, lambda sample: Prediction(sample_id=sample.id, raw=result, error="format"))[1]


def as_recorded(benchmark: BfclMultiTurnBenchmark, entry: str) -> list[Any]:
    """The gold calls as a file of results of a model with native calls has them."""
    (found,) = (found for found in benchmark._read.entries.values() if found["id"] == entry)
    turns = [[{call.name: json.dumps(call.arguments)} for call in calls] for calls in found["calls"]]
    return [[calls, "Done."] if calls else ["I cannot."] for calls in turns]


def test_it_is_a_benchmark(benchmark: BfclMultiTurnBenchmark) -> None:
    assert isinstance(benchmark, Benchmark)
    assert len(benchmark.data) == FIRST * len(CATEGORIES)


def test_gold_calls_are_right_and_silence_is_not(benchmark: BfclMultiTurnBenchmark) -> None:
    found = scores_of(benchmark, gold)
    for category in ("", *CATEGORIES):
        assert found["official_accuracy", category].value == 1.0
        assert found["call_accuracy", category].value == 1.0
    assert found["official_multi_turn", ""].value == 1.0
    assert found[NEEDLESS, ""].value == 0.0
    assert scores_of(benchmark, silent)["official_accuracy", ""].value == 0.0


def test_a_call_where_none_is_wanted_is_forgiven_officially_and_counted(benchmark: BfclMultiTurnBenchmark) -> None:
    found = scores_of(benchmark, eager)
    part = "multi_turn_miss_func"
    assert found["official_accuracy", part].value == 1.0
    assert (found["call_accuracy", part].value, found[NEEDLESS, part].value) == (0.0, 1.0)
    assert found[NEEDLESS, part].n >= FIRST
    assert played(benchmark, f"{part}_0", eager)[1].reason == "unexpected_call: in turn 2"


def test_functions_that_were_held_back_come_with_their_turn(benchmark: BfclMultiTurnBenchmark) -> None:
    asked, grade = played(benchmark, "multi_turn_miss_func_0", gold)
    assert grade.official
    offered = ["sort" in {tool.name for tool in sample.tools} for sample in asked]
    said = [sample.messages[-1].content.startswith("I have updated some more functions") for sample in asked]
    assert offered == sorted(offered)
    assert said == [now and not before for now, before in zip(offered, [False, *offered], strict=False)]
    assert len(asked[-1].tools) == len(asked[0].tools) + 1
    assert [sample.env.state["entry"] for sample in asked if sample.env][:3] == [
        "multi_turn_miss_func_0", "multi_turn_miss_func_0/0/1", "multi_turn_miss_func_0/1/0",
    ]  # fmt: skip


def test_who_calls_on_is_stopped_after_the_official_number_of_steps(benchmark: BfclMultiTurnBenchmark) -> None:
    asked, grade = played(benchmark, "multi_turn_base_0", restless)
    assert len(asked) == 21
    assert grade.reason == "multi_turn:force_terminated"
    assert asked[-1].messages[-1].content == "Error during execution: name 'no_such_function' is not defined"


def test_an_answer_that_could_not_be_had_is_no_verdict(benchmark: BfclMultiTurnBenchmark) -> None:
    grade = played(benchmark, "multi_turn_base_0", lambda s: Prediction(sample_id=s.id, error="model"))[1]
    assert (grade.official, grade.correct) == (None, None)
    failed = Prediction(sample_id="", raw="Error during inference: gone", error="model")
    _, grade = played(benchmark, "multi_turn_base_0", lambda s: failed.model_copy(update={"sample_id": s.id}))
    assert (grade.official, grade.correct, grade.reason) == (False, None, "multi_turn:inference_error")


def test_an_unreadable_answer_ends_its_turn(benchmark: BfclMultiTurnBenchmark) -> None:
    def broken(sample: Sample) -> Prediction:
        return Prediction(sample_id=sample.id, text="<tool_call>{", error="format")

    asked, grade = played(benchmark, "multi_turn_base_0", broken)
    assert len(asked) == 4
    assert [message.content for message in asked[1].messages][1] == "<tool_call>{"
    assert (grade.parsed, grade.attempted, grade.official) == (False, True, False)
    assert grade.reason == "multi_turn:empty_turn_model_response: in turn 0"


@pytest.mark.parametrize("entry", [f"{category}_{number}" for category in CATEGORIES for number in range(FIRST)])
def test_a_result_of_others_is_graded_as_the_same_answers_live(benchmark: BfclMultiTurnBenchmark, entry: str) -> None:
    grade = recorded(benchmark, entry, as_recorded(benchmark, entry))
    assert (grade.official, grade.correct, grade.argument_pairs[0]) == (True, True, grade.argument_pairs[1])
    assert grade == played(benchmark, entry, gold)[1]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda turns: turns[:-1], "multi_turn:force_terminated"),
        (lambda turns: [], "multi_turn:force_terminated"),
        (lambda turns: "no list", "multi_turn:inference_error"),
        (lambda turns: [None] * len(turns), "exception:TypeError"),
        (lambda turns: [["Done."], *turns[1:]], "multi_turn:empty_turn_model_response: in turn 0"),
        (lambda turns: [[turns[0][0][:-1]], *turns[1:]], "multi_turn:instance_state_mismatch: in turn 0"),
        (
            lambda turns: [*turns[:1], [turns[1][0][:1]], *turns[2:]],
            "multi_turn:execution_response_mismatch: in turn 1",
        ),
        (lambda turns: [[[], *turns[0]], *turns[1:]], None),
        (lambda turns: [["words", [{"pwd": "{"}], *turns[0]], *turns[1:]], None),
        (lambda turns: [[[{"pwd": "{}"}], [{"open": '{"file": "x"}'}], *turns[0]], *turns[1:]], None),
    ],
)
def test_the_official_errors(benchmark: BfclMultiTurnBenchmark, changed: Any, reason: str | None) -> None:
    grade = recorded(benchmark, "multi_turn_base_0", changed(as_recorded(benchmark, "multi_turn_base_0")))
    assert (grade.official, grade.reason) == (reason is None, reason)


@pytest.mark.parametrize(
    "steps",
    [
        ['<tool_call>\n{"name": "cd", "arguments": {"folder": "document"}}\n</tool_call>'],
        ["[cd(folder='document')]"],
        [[{"cd": '{"folder": "document"}'}]],
    ],
)
def test_a_step_is_read_by_its_looks(benchmark: BfclMultiTurnBenchmark, steps: list[Any]) -> None:
    turns = as_recorded(benchmark, "multi_turn_base_0")
    turns[0] = [*steps, turns[0][0][1:]]
    assert recorded(benchmark, "multi_turn_base_0", turns).official


def test_a_slow_call_ends_its_episode_and_no_other(folder: Path) -> None:
    benchmark = bench(folder, call_seconds=0.5, categories=["multi_turn_base"])
    other, slow = "multi_turn_base_0", "multi_turn_base_1"
    entry = opened(benchmark, slow)._entry  # type: ignore[attr-defined]
    entry["involved_classes"].append("MathAPI")
    call = ToolCall(name="logarithm", arguments={"value": 3, "base": 2, "precision": 10**8})
    asked = {opened(benchmark, slow).id: (call,)}

    async def answer(samples: Any) -> list[Prediction]:
        return [Prediction(sample_id=s.id, calls=asked[s.id]) if s.id in asked else gold(s) for s in samples]

    episodes = [opened(benchmark, other), opened(benchmark, slow)]
    asyncio.run(rollout(episodes, answer))
    (right,), (died,) = (episode.grade() for episode in episodes)
    assert (right.official, right.reason) == (True, None)
    assert (died.official, died.reason) == (False, "died: a call ran for more than 0.5 s")
    benchmark.close()


def test_where_the_process_dies_in_the_middle_the_episode_goes_on(folder: Path) -> None:
    benchmark = bench(folder, categories=["multi_turn_base"])

    def killing(sample: Sample) -> Prediction:
        process = benchmark.simulator._process
        if process is not None and sample.turn % 2:
            process.kill()
        return gold(sample)

    asked, grade = played(benchmark, "multi_turn_base_0", killing)
    assert grade.official
    assert benchmark.simulator._begun > 1
    assert [sample.id for sample in asked] == [sample.id for sample in played(benchmark, "multi_turn_base_0", gold)[0]]
    process = benchmark.simulator._process
    assert process is not None
    benchmark.close()
    assert process.returncode is not None


def test_data_of_another_version_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="differ from the pinned data"):
        _ = bench(folder, digests=spec_of("bfcl_multi_turn")["digests"]).data


@pytest.mark.parametrize("category", ["simple_python", "multi_turn"])
def test_an_unknown_category_is_refused(category: str) -> None:
    with pytest.raises(UserError, match=f"no category '{category}'; allowed: multi_turn_base"):
        bench(None, categories=[category])


def test_a_student_is_evaluated_and_somebody_elses_file_as_well(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [
        "benchmark=bfcl_multi_turn", f"benchmark.path={folder}", "benchmark.digests=null",
        f"paths.outputs={tmp_path / 'outputs'}", "tracking.enabled=false",
    ]  # fmt: skip
    assert sloop("eval", "student=scripted", "student.script=[right]", *common, f"output_dir={tmp_path / 'a'}") == 0
    benchmark = bench(folder)
    rows = [
        {"id": entry["id"], "result": as_recorded(benchmark, entry["id"])} for entry in benchmark._read.entries.values()
    ]
    file = tmp_path / "BFCL_v4_multi_turn_result.json"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert sloop("eval", f"answers={file}", "benchmark.reading=fc", *common, f"output_dir={tmp_path / 'b'}") == 0
    assert "16 of 16 questions have an answer" in capsys.readouterr().out
    for run in ("a", "b"):
        found = {(s.name, s.slice): s.value for s in read_rows(tmp_path / run / "scores.jsonl", Score)}
        assert (found["official_multi_turn", ""], found["call_accuracy", ""]) == (1.0, 1.0)
        assert found["baseline/always_refuse/official_accuracy", ""] == 0.0
    benchmark.close()
