"""Stage folders: stages that resume, repeat and are shared."""

from __future__ import annotations

import asyncio
import json
import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from sloop.engine.executor import concurrent
from sloop.engine.folder import StageFolder
from sloop.records import (
    Label,
    Message,
    OutOfBudget,
    Rejected,
    Sample,
    Score,
    Tool,
    ToolCall,
    UserError,
)
from sloop.store import (
    checkpoint_at,
    file_digest,
    read_json,
    read_rows,
    write_json,
)


def _tool(name, **properties):
    return Tool(name=name, parameters={"type": "object", "properties": properties})


TIMER = _tool("set_timer", minutes={"type": "integer", "minimum": 1})


ROOM = _tool("heat_room", target={"type": "object", "properties": {"room": {"type": "string"}}})


def _sample(number, value=None, tools=(TIMER, ROOM), **changes):
    arguments = {"minutes": number} if value is None else value
    return Sample(
        tools=tools,
        messages=(Message(role="user", content=f"request {number} – “é”\u2028"),),
        label=Label(calls=(ToolCall(name="set_timer", arguments=arguments),)),
        group=f"g{number}",
        **changes,
    )


SAMPLES = [_sample(n) for n in range(5)]


class _Work:
    """Counts the units that it was asked for; fails on some."""

    def __init__(self, failing=()):
        self.asked = []
        self.failing = failing

    async def __call__(self, unit):
        self.asked.append(unit)
        if unit in self.failing:
            raise RuntimeError(f"unit {unit}")
        return [Score(name=f"s{unit}", value=unit, n=1)]


UNITS = {f"k{n}": n for n in range(6)}


KEY = {"stage": "test", "seed": 1}


def _map(stage, work, units=UNITS, workers=1, **more):
    return list(stage.map(units, work, concurrent(workers), (Score,), **more))


def _run(folder, work, experiment=None, key=KEY, units=UNITS, workers=1):
    with StageFolder(folder, key, experiment) as stage:
        if not stage.done:
            stage.write("scores.jsonl", (r for _, records in _map(stage, work, units, workers) for r in records))
            (stage.sidecar / "clock").write_text("now")
            stage.finish({"units": len(units)})
    return stage


def _interrupted(folder, work, owed):
    """A stage whose process dies before the last ``owed`` units."""
    done = dict(list(UNITS.items())[: len(UNITS) - owed])
    with StageFolder(folder, KEY) as stage:
        _map(stage, work, done)


def test_units_come_back_in_their_own_order(tmp_path):
    with StageFolder(tmp_path, KEY) as stage:
        found = _map(stage, _Work(), workers=4)
    assert [(key, records[0].value) for key, records in found] == [(key, float(n)) for key, n in UNITS.items()]


def test_progress_is_told_of_every_unit(tmp_path):
    told = []
    with StageFolder(tmp_path, KEY) as stage:
        _map(stage, _Work(), progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 6) for n in range(1, 7)]


def test_only_owed_units_run_again(tmp_path):
    _interrupted(tmp_path, _Work(), owed=2)
    work = _Work()
    assert _run(tmp_path, work).done
    assert work.asked == [4, 5]


def test_an_interrupted_stage_ends_with_the_same_bytes(tmp_path):
    _interrupted(tmp_path / "a", _Work(), owed=3)
    interrupted, whole = _run(tmp_path / "a", _Work()), _run(tmp_path / "b", _Work())
    assert (interrupted.folder / "stage.json").read_bytes() == (whole.folder / "stage.json").read_bytes()


@pytest.mark.parametrize("torn", [b'{"unit": "k3", "rec', b'{"unit": "k3", "records": []}'])
def test_a_torn_last_line_is_dropped_counted_and_run_again(tmp_path, torn):
    _interrupted(tmp_path, _Work(), owed=3)
    with open(tmp_path / "journal.jsonl", "ab") as journal:
        journal.write(torn)
    work = _Work()
    stage = _run(tmp_path, work)
    assert work.asked == [3, 4, 5]
    assert stage.torn_lines == 1
    assert read_json(stage.sidecar / "times.json")["torn_lines"] == 1


def test_a_finished_stage_has_no_journal_and_digests_its_files(tmp_path):
    stage = _run(tmp_path, _Work())
    assert not (tmp_path / "journal.jsonl").exists()
    (name,) = stage.record.files
    path = tmp_path / name
    assert stage.record.files[name].model_dump() == {
        "bytes": path.stat().st_size,
        "rows": 6,
        "sha256": file_digest(path),
    }


def test_a_sidecar_is_not_digested(tmp_path):
    stage = _run(tmp_path, _Work())
    assert (tmp_path / "sidecar" / "clock").is_file()
    assert list(stage.record.files) == ["scores.jsonl"]


@pytest.mark.parametrize("workers", [2, 8])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, workers):
    one, many = _run(tmp_path / "a", _Work()), _run(tmp_path / "b", _Work(), workers=workers)
    for name in ("scores.jsonl", "stage.json"):
        assert (one.folder / name).read_bytes() == (many.folder / name).read_bytes()


def test_a_finished_stage_is_not_run_again(tmp_path):
    _run(tmp_path, _Work())
    work = _Work()
    assert _run(tmp_path, work).record.summary == {"units": 6}
    assert work.asked == []


@pytest.mark.parametrize("finished", [True, False])
def test_another_key_is_refused_and_its_differing_parts_are_named(tmp_path, finished):
    if finished:
        _run(tmp_path, _Work())
    else:
        _interrupted(tmp_path, _Work(), owed=2)
    with pytest.raises(UserError, match=r"differing: color, seed\)"):
        _run(tmp_path, _Work(), key={**KEY, "seed": 2, "color": "red"})


def test_a_stage_with_the_same_key_elsewhere_in_the_experiment_is_linked(tmp_path):
    first = _run(tmp_path / "a" / "x", _Work(), tmp_path)
    work = _Work()
    second = _run(tmp_path / "b" / "y", work, tmp_path)
    assert work.asked == []
    assert (second.folder / "stage.json").read_bytes() == (first.folder / "stage.json").read_bytes()
    assert list((second.folder / "scores.jsonl").open()) == list((first.folder / "scores.jsonl").open())
    assert read_json(second.sidecar / "linked.json") == {"from": str(first.folder)}


def test_a_stage_under_another_key_is_not_linked(tmp_path):
    _run(tmp_path / "a", _Work(), tmp_path)
    work = _Work()
    _run(tmp_path / "b", work, tmp_path, key={**KEY, "seed": 2})
    assert len(work.asked) == 6


def test_a_deleted_stage_is_not_linked(tmp_path):
    first = _run(tmp_path / "a", _Work(), tmp_path)
    (first.folder / "stage.json").unlink()
    work = _Work()
    _run(tmp_path / "b", work, tmp_path)
    assert len(work.asked) == 6


def test_a_stage_that_has_lost_a_file_is_not_linked(tmp_path):
    first = _run(tmp_path / "a", _Work(), tmp_path)
    (first.folder / "scores.jsonl").unlink()
    second = _run(tmp_path / "b", _Work(), tmp_path)
    assert len((second.folder / "scores.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("")])
def test_a_finished_stage_that_has_lost_a_file_or_part_of_it_is_made_anew(tmp_path, harm):
    first = _run(tmp_path, _Work())
    before = (first.folder / "stage.json").read_bytes()
    harm(first.folder / "scores.jsonl")
    again = _run(tmp_path, _Work())
    assert (again.folder / "stage.json").read_bytes() == before
    assert len((again.folder / "scores.jsonl").read_text().splitlines()) == 6


def test_a_unit_that_fails_is_recorded_and_counted(tmp_path):
    with StageFolder(tmp_path, KEY) as stage:
        found = dict(_map(stage, _Work(failing=[2])))
    assert found["k2"] == [Rejected(key="k2", reason="failed:RuntimeError", detail="unit 2")]


def test_too_many_failures_stop_the_stage_and_keep_what_is_finished(tmp_path):
    with (
        StageFolder(tmp_path, KEY) as stage,
        pytest.raises(UserError, match=r"2 of 6 units failed, the last \(k4\) with failed:RuntimeError: unit 4"),
    ):
        _map(stage, _Work(failing=[2, 4]))
    work = _Work()
    _run(tmp_path, work)
    assert work.asked == [2, 4, 5]


def test_failures_are_judged_by_all_units_handed_in_for_the_same_work(tmp_path):
    work, other = _Work(failing=[2, 7]), _Work(failing=[8])
    with StageFolder(tmp_path, KEY) as stage:
        _map(stage, work, {f"a{n}": n for n in [2, *range(20, 60)]})
        assert dict(_map(stage, work, {"b7": 7}))["b7"][0].reason == "failed:RuntimeError"
        with pytest.raises(UserError, match=r"1 of 1 units failed, the last \(c8\)"):
            _map(stage, other, {"c8": 8})


def test_a_mistake_of_the_readers_is_not_taken_for_a_failure_of_one_unit(tmp_path):
    async def work(unit):
        raise UserError("no key")

    with StageFolder(tmp_path, KEY) as stage, pytest.raises(UserError, match="no key"):
        _map(stage, work)


def test_a_spent_budget_begins_no_other_unit_and_keeps_those_on_their_way(tmp_path):
    begun, last = [], asyncio.Event()

    async def work(unit):
        begun.append(unit)
        if len(begun) == 2:
            raise OutOfBudget("spent")
        if len(begun) == 3:
            last.set()
        await last.wait()
        await asyncio.sleep(0.02)  # both end after the budget was found to be spent
        return [Rejected(key=str(unit), reason="echo")]

    with pytest.raises(OutOfBudget, match="spent"):
        _run(tmp_path / "stage", work, workers=3)
    assert len(begun) == 3
    kept = [json.loads(line)["unit"] for line in (tmp_path / "stage" / "journal.jsonl").read_text().splitlines()]
    assert len(kept) == 2


def _kept(folder):
    return {json.loads(line)["unit"] for line in (folder / "journal.jsonl").read_text().splitlines()}


def test_units_answered_beside_one_that_is_refused_are_all_kept_and_no_other_is_begun(tmp_path):
    begun = []

    async def work(unit):
        begun.append(unit)
        await asyncio.sleep(0.02 if unit % 2 else 0.05)  # some end with the one that is refused, some after it
        if unit == 5:
            raise UserError("the key is refused")
        return [Score(name=f"s{unit}", value=unit, n=1)]

    units = {f"k{n}": n for n in range(40)}
    with pytest.raises(UserError, match="the key is refused"):
        _run(tmp_path / "stage", work, units=units, workers=16)
    assert len(begun) < len(units)
    assert _kept(tmp_path / "stage") == {f"k{unit}" for unit in begun if unit != 5}


def test_units_on_their_way_when_too_many_have_failed_are_kept(tmp_path):
    async def work(unit):
        if unit < 2:
            raise RuntimeError(f"unit {unit}")
        await asyncio.sleep(0.02)
        return [Score(name=f"s{unit}", value=unit, n=1)]

    with StageFolder(tmp_path, KEY) as stage, pytest.raises(UserError, match="2 of 6 units failed") as caught:
        _map(stage, work, workers=4)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert {"k2", "k3"} <= _kept(tmp_path)


def test_a_file_whose_writing_fails_does_not_appear(tmp_path):
    def killed():
        yield SAMPLES[0]
        raise RuntimeError("killed")

    with StageFolder(tmp_path, KEY) as stage:
        with pytest.raises(RuntimeError):
            stage.write("x.jsonl", killed())
        assert not (tmp_path / "x.jsonl").exists()


def test_the_record_is_plain_json(tmp_path):
    _run(tmp_path, _Work())
    assert set(json.loads((tmp_path / "stage.json").read_text())) == {
        "version", "key", "parts", "files", "summary",
    }  # fmt: skip


def _killed(folder):
    """A stage whose process dies in the middle of writing its files."""
    with pytest.raises(KeyboardInterrupt), StageFolder(folder, KEY) as stage, stage.writing("scores.jsonl"):
        raise KeyboardInterrupt
    for place in (".stage.json.7.partial", ".begun.json.7.partial", "sidecar/.times.json.7.partial"):
        (folder / place).write_text("{")


def test_what_a_killed_write_left_behind_enters_no_digest_and_is_swept(tmp_path):
    _killed(tmp_path / "a")
    assert list((tmp_path / "a").rglob("*partial*"))
    killed, whole = _run(tmp_path / "a", _Work()), _run(tmp_path / "b", _Work())
    assert (killed.folder / "stage.json").read_bytes() == (whole.folder / "stage.json").read_bytes()
    assert not list((tmp_path / "a").rglob("*partial*"))


def test_a_killed_stage_that_is_then_linked_keeps_nothing_of_its_own_attempt(tmp_path):
    _interrupted(tmp_path / "a", _Work(), owed=3)
    _killed(tmp_path / "a")
    _run(tmp_path / "b", _Work(), tmp_path)
    work = _Work()
    _run(tmp_path / "a", work, tmp_path)
    assert work.asked == []
    assert not [*(tmp_path / "a").rglob("*partial*"), *(tmp_path / "a").glob("journal.jsonl")]


def test_a_leftover_of_a_killed_write_is_no_part_of_a_checkpoint(tmp_path):
    write_json(tmp_path / "config.json", {})
    before = checkpoint_at(tmp_path)
    (tmp_path / ".sloop.json.7.partial").write_text("{")
    assert checkpoint_at(tmp_path) == before


def test_a_file_of_the_readers_own_is_neither_digested_nor_needed_nor_lost(tmp_path):
    own = [tmp_path / "notes.txt", tmp_path / "partial-notes.json", tmp_path / "deep" / "thesis.json.partial"]
    own[2].parent.mkdir()
    for path in own:
        path.write_text("mine")
    stage = _run(tmp_path, _Work())
    assert list(stage.record.files) == ["scores.jsonl"]
    assert [path.read_text() for path in own] == ["mine"] * 3
    own[0].write_text("mine, longer")
    work = _Work()
    assert _run(tmp_path, work).done
    assert work.asked == []


def test_data_of_the_readers_own_are_not_written_over(tmp_path):
    (tmp_path / "scores.jsonl").write_text("mine")
    with pytest.raises(UserError, match=r"holds scores\.jsonl, which the test stage did not make"):
        _run(tmp_path, _Work())
    assert (tmp_path / "scores.jsonl").read_text() == "mine"


def test_data_of_the_readers_own_are_not_written_over_by_a_link(tmp_path):
    _run(tmp_path / "a", _Work(), tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "scores.jsonl").write_text("mine")
    with pytest.raises(UserError, match=r"holds scores\.jsonl, which the test stage did not make"):
        _run(tmp_path / "b", _Work(), tmp_path)
    assert (tmp_path / "b" / "scores.jsonl").read_text() == "mine"


def test_a_linked_stage_that_lost_a_file_is_made_again_where_its_source_is_gone(tmp_path):
    _run(tmp_path / "a", _Work(), tmp_path)
    linked = _run(tmp_path / "b", _Work(), tmp_path).folder
    (linked / "scores.jsonl").unlink()
    (linked / "own.jsonl").write_text("mine")
    (tmp_path / "a" / "stage.json").unlink()
    work = _Work()
    assert _run(linked, work, tmp_path).done
    assert work.asked


def test_a_link_that_was_cut_short_is_made_whole(tmp_path, monkeypatch):
    _run(tmp_path / "a", _Work(), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("sloop.engine.folder.os.link", _cut_short)
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path / "b", _Work(), tmp_path)
    assert (tmp_path / "b" / "scores.jsonl").is_file()
    work = _Work()
    assert _run(tmp_path / "b", work, tmp_path).done
    assert work.asked == []


def _cut_short(source, target):
    shutil.copy2(source, target)
    raise KeyboardInterrupt


def test_other_files_and_folders_are_digested_where_the_stage_names_them(tmp_path):
    with StageFolder(tmp_path, KEY) as stage:
        for name in ("card.md", "checkpoint/config.json", "checkpoint/sidecar/partial.pt", "checkpoint/.hidden"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        stage.finish({}, also=["card.md", "checkpoint"])
    assert list(stage.record.files) == ["card.md", "checkpoint/config.json"]
    assert stage.record.files["card.md"].model_dump() == {"bytes": 7, "sha256": file_digest(tmp_path / "card.md")}


@pytest.mark.parametrize("experiment", [False, True])
def test_a_stage_started_twice_at_once_is_made_once(tmp_path, experiment):
    work = _Work()
    among = tmp_path if experiment else None

    def start():
        return _run(tmp_path / "stage", work, among).record.summary

    with StageFolder(tmp_path / "stage", KEY, among) as first, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(start), pool.submit(start)]
        assert not wait(waiting, timeout=0.3).done
        first.write("scores.jsonl", (r for _, records in _map(first, work) for r in records))
        first.finish({"by": "first"})
        first.__exit__()
        assert [later.result(timeout=20) for later in waiting] == [{"by": "first"}] * 2
    assert work.asked == list(UNITS.values())


def test_a_stage_that_is_refused_keeps_no_lock(tmp_path):
    _interrupted(tmp_path, _Work(), owed=2)
    with pytest.raises(UserError):
        _run(tmp_path, _Work(), key={**KEY, "seed": 2})
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(_run, tmp_path, _Work()).result(timeout=20).done


def _lengths(folder, words, work, kept=None, killed_at=None):
    """A stage that writes the length of every word; ``kept`` of it is not done over."""
    with StageFolder(folder, {"stage": "lengths"}) as stage:
        if stage.done and kept is not None:
            rows = list(read_rows(folder / "n.jsonl", Score))
            stage.reopen((row.name, [row]) for row in rows if row.name in kept)
        if not stage.done:
            results = stage.map({word: word for word in words}, work, concurrent(), (Score,))
            stage.write("n.jsonl", (record for _, records in results for record in records))
            if killed_at == "file":
                raise KeyboardInterrupt
            stage.finish({})
    return stage


@pytest.mark.parametrize("killed_at", [None, "unit", "file"])
def test_a_stage_that_was_taken_up_again_does_over_all_but_what_is_kept(tmp_path, killed_at):
    asked, die = [], []

    async def work(word):
        if word in die:
            raise KeyboardInterrupt
        asked.append(word)
        return [Score(name=word, value=float(len(word)), n=1)]

    words = ["one", "three", "seven", "eleven"]
    _lengths(tmp_path, words, work)
    before = (tmp_path / "stage.json").read_bytes()
    asked.clear()
    if killed_at:
        die += ["eleven"] if killed_at == "unit" else []
        with pytest.raises(KeyboardInterrupt):
            _lengths(tmp_path, words, work, {"one", "three"}, killed_at)
        assert (tmp_path / "stage.json").is_file() == (killed_at == "unit")
        die.clear()
    stage = _lengths(tmp_path, words, work, {"one", "three"})
    assert asked == ["seven", "eleven"]
    assert stage.done
    assert (tmp_path / "stage.json").read_bytes() == before
    assert not (tmp_path / "journal.jsonl").exists()
