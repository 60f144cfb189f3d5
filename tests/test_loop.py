"""Whole loops with a stranger's instant parts: order, sharing, repetition, equal terms, kills."""

from __future__ import annotations

import json
import signal
import time
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import acme_tools
import pytest
from mlflow import MlflowClient
from running import ALONE, QUESTIONS, acme, acme_loop, ended, fresh_database, manifests, questions, rounds, sloop, start

from sloop.engine.stage import Place
from sloop.loop import Parts, Settings, check_terms, hold, loop
from sloop.measures.overlap import CONTAMINATION, Contaminated, Contamination, Overlap, OverlapSettings
from sloop.records import Dialogue, Order, Rejected, RoundRecord, Ruling, UserError
from sloop.runs.read import Run
from sloop.stages.samplers import RandomSampler
from sloop.stages.train import is_strange
from sloop.store import Dataset, read_json, read_rows, write_rows
from sloop.tools.sources import load_tools

BUDGET, FIRST_STEPS, STEPS = 60, 8, 4
CLEAN = {"name": "clean", "mistakes": {}, "refusal": "No.", "foreign_tools": "server", "keep": None}
SHARED = ("seed/pool", "seed/portions", "seed/start", "round_1/train", "round_1/evaluate/dev")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return acme_loop(tmp_path_factory.mktemp("study") / "full")


@pytest.fixture(scope="module")
def static(full: Path) -> Path:
    return acme_loop(full.parent / "static", "variant=static")


@pytest.fixture(scope="module")
def fresh(full: Path) -> Path:
    return acme_loop(full.parent / "fresh", "variant=fresh_noisy")


def values(content: dict) -> dict[str, float | None]:
    return {row["name"]: row["value"] for row in content["metrics"] if not row["slice"]}


def test_every_round_has_its_stages_and_metrics(full: Path) -> None:
    contents = rounds(full)
    assert [content["round"] for content in contents] == [1, 2, 3]
    whole = {"train", "evaluate/dev", "probe", "optimize"}
    assert [set(content["stages"]) for content in contents] == [whole, whole, {"train", "evaluate/dev"}]
    for content in contents:
        measured = values(content)
        assert measured["eval/dev/call_accuracy"] is not None
        assert measured["train/loss"] is not None
        assert ("probe/disagreement" in measured) == ("probe" in content["stages"])
        assert measured["data/size"] == content["data"]["rows"] == BUDGET
        for name, stage in content["stages"].items():
            manifest = read_json(full / f"round_{content['round']}" / name / "stage.json")
            assert (manifest["key"], manifest["files"]) == (stage["key"], stage["files"])


def test_a_rising_student_is_seen_to_rise(full: Path) -> None:
    accuracy = [values(content)["eval/dev/call_accuracy"] for content in rounds(full)]
    assert accuracy == sorted(accuracy)
    assert accuracy[0] < accuracy[-1]


def test_repair_takes_noise_out_of_the_next_set(full: Path) -> None:
    noise = [values(content)["data/label_noise"] for content in rounds(full)]
    assert noise[0] > 0.1
    assert noise[1] < noise[0] / 2


def test_the_next_round_trains_on_what_optimize_made(full: Path) -> None:
    for content, following in pairwise(rounds(full)):
        assert following["data"]["sha256"] == content["stages"]["optimize"]["files"]["dataset.jsonl"]["sha256"]


@pytest.mark.parametrize("variant", ["static", "fresh"])
@pytest.mark.parametrize("stage", SHARED)
def test_variants_share_everything_up_to_round_1(
    variant: str, stage: str, full: Path, request: pytest.FixtureRequest
) -> None:
    other = request.getfixturevalue(variant)
    assert (other / stage / "stage.json").samefile(full / stage / "stage.json")
    assert read_json(other / stage / "sidecar" / "linked.json") == {"from": str(full / stage)}


def test_static_repeats_the_first_set(static: Path) -> None:
    contents = rounds(static)
    assert len({content["data"]["sha256"] for content in contents}) == 1
    assert all(set(content["stages"]) == {"train", "evaluate/dev"} for content in contents)


def test_fresh_trains_on_new_samples_of_the_same_teacher(fresh: Path) -> None:
    contents = rounds(fresh)
    sets = [Dataset(fresh / content["data"]["path"]) for content in contents]
    ids = [set(data.ids()) for data in sets]
    assert not ids[0] & ids[1]
    assert not ids[1] & ids[2]
    assert [set(data.column("source")) for data in sets] == [{"seed"}, {"fresh"}, {"fresh"}]
    noise = [values(content)["data/label_noise"] for content in contents]
    assert min(noise) > 0.1


def test_all_variants_have_the_same_budget_and_steps(full: Path, static: Path, fresh: Path) -> None:
    for folder in (full, static, fresh):
        assert [content["steps"] for content in rounds(folder)] == [FIRST_STEPS, STEPS, STEPS]
        assert [content["data"]["rows"] for content in rounds(folder)] == [BUDGET] * 3


def test_unequal_terms_are_refused(full: Path) -> None:
    record = RoundRecord.model_validate(rounds(full)[0])
    settings = Settings.model_construct(first_steps=FIRST_STEPS, steps=STEPS, budget=BUDGET)
    check_terms(settings, record)
    for change in ({"first_steps": STEPS}, {"budget": BUDGET - 1}, {"budget": BUDGET + 1}):
        with pytest.raises(AssertionError, match="equal terms"):
            check_terms(settings.model_copy(update=change), record)


def test_same_seed_same_bytes(full: Path, tmp_path: Path) -> None:
    again = acme_loop(tmp_path / "again", "executor.workers=1")
    assert manifests(again) == manifests(full)
    assert [content["metrics"] for content in rounds(again)] == [content["metrics"] for content in rounds(full)]
    assert not list(again.rglob("linked.json"))


def test_another_seed_gives_another_pool(full: Path, tmp_path: Path) -> None:
    other = acme_loop(tmp_path / "other", "seed=1", "loop.rounds=1")
    files = [read_json(folder / "seed/pool/stage.json")["files"]["train.jsonl"]["sha256"] for folder in (full, other)]
    assert files[0] != files[1]


def test_a_finished_loop_is_not_made_again(full: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in full.rglob("*") if path.is_file() and path.name != "run.json"}
    acme_loop(full)
    after = {path: path.stat().st_mtime_ns for path in full.rglob("*") if path.is_file() and path.name != "run.json"}
    assert after == before


def test_no_sample_repeats_a_question_of_the_benchmark(full: Path, tmp_path: Path) -> None:
    asked = list(islice(Dataset(full / "seed/pool/train.jsonl"), 10))
    write_rows(tmp_path / "asked.jsonl", asked)
    again = acme_loop(tmp_path / "run", f"benchmark.path={tmp_path / 'asked.jsonl'}", "loop.rounds=1")
    requests = {sample.request for sample in Dataset(again / "seed/pool/train.jsonl")}
    assert not requests & {sample.request for sample in asked}
    refused = [row for row in read_rows(again / "seed/pool/rejected.jsonl", Rejected) if row.reason == "in_benchmark"]
    assert {row.detail for row in refused} >= {sample.request for sample in asked}


def test_every_round_says_what_it_shares_with_the_benchmark(full: Path) -> None:
    seen = 0
    for content in rounds(full):
        (found,) = (Overlap.model_validate(row) for row in content["contamination"])
        evidence = list(read_rows(full / f"round_{content['round']}" / CONTAMINATION, Contaminated))
        assert found.sha256 == Dataset(questions()).sha256
        assert found.counts[""]["samples"] == QUESTIONS
        assert found.counts[""]["near"] == len(evidence)
        measured = values(content)
        assert measured["contamination/dev/near_requests"] == len(evidence) / QUESTIONS
        assert measured["contamination/dev/same_requests"] == 0
        assert measured["eval/dev/call_accuracy_clean"] is not None
        assert found.train >= seen, "what the weights have seen only grows"
        seen = found.train


def test_nothing_is_trained_on_what_stands_in_the_benchmark(full: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "leak.jsonl", [*Dataset(full / "seed/pool/train.jsonl"), next(iter(Dataset(questions())))])
    settings = OverlapSettings(words=6, share=0.5, examples=3)
    held = {"dev": Contamination.of("dev", Dataset(questions()), settings)}
    hold(held, Dataset(full / "seed/pool/train.jsonl"))
    with pytest.raises(UserError, match=r"leak\.jsonl repeats the benchmark dev: sample [0-9a-f]{32} asks '"):
        hold(held, Dataset(tmp_path / "leak.jsonl"))


@pytest.mark.parametrize("words", [("loop.rounds=0",), ("loop.budget=0",), ("num_samples=60",)])
def test_settings_without_a_loop_are_refused(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sloop("loop", *acme(), f"output_dir={tmp_path / 'run'}", ALONE, *words) == 2
    assert words[0].split(".")[-1].split("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# --- round 0, restarts, arms, dirty data --------------------------------------------------------------------------


def key_parts(folder: Path) -> dict[str, Any]:
    return dict(read_json(folder / "stage.json")["parts"])


def test_round_0_is_the_checkpoint_as_it_came_and_variants_share_it(tmp_path: Path) -> None:
    words = ("loop.round_0=true", "loop.rounds=2", "loop.restart=true", "corruption=wrong_calls")
    full, static = (acme_loop(tmp_path / name, *words, f"variant={name}") for name in ("full", "static"))
    zero, one, two = rounds(full)
    assert (zero["round"], zero["steps"], zero["data"], set(zero["stages"])) == (0, 0, None, {"evaluate/dev"})
    assert values(zero)["eval/dev/call_accuracy"] < values(one)["eval/dev/call_accuracy"]
    assert values(zero)["eval/dev/baseline/always_refuse/call_accuracy"] is not None
    place = Path("round_0/evaluate/dev")
    assert read_json(static / place / "sidecar/linked.json") == {"from": str(full / place)}
    started = read_json(full / "seed/start/stage.json")["summary"]["checkpoint"]["digest"]
    assert key_parts(full / place)["checkpoint"] == started
    assert [key_parts(full / f"round_{number}/train")["start"] for number in (1, 2)] == [started, started]
    assert (one["steps"], two["steps"]) == (FIRST_STEPS, FIRST_STEPS)
    assert [found["contamination"][0]["train"] for found in (zero, one, two)] == [0, BUDGET, two["data"]["rows"]]
    assert values(one)["data/label_noise"] > 0.3, "half of the calls are wrong"
    assert Run.at(full).grades("dev", 0).keys() == Run.at(full).grades("dev", 2).keys()


def test_what_is_shown_examples_trains_nothing(tmp_path: Path) -> None:
    few = acme_loop(tmp_path / "few", "variant=few_shot")
    (zero,) = rounds(few)
    asked = key_parts(few / "round_0/evaluate/dev")["student"]
    assert asked["_target_"].endswith("FewShotStudent")
    assert [turn["role"] for turn in asked["turns"]] == ["user", "assistant"] * 5
    assert zero["data"] is None


def test_fewer_examples_than_were_asked_for_are_told_and_recorded(tmp_path: Path) -> None:
    run = acme_loop(tmp_path / "few", "variant=few_shot", "variant.shots=900")
    (note,) = (note for note in read_json(run / "run.json")["notes"] if "variant.shots" in note)
    assert note.startswith(f"{900 - BUDGET} examples fewer")


def test_the_clean_arm_has_the_set_before_anything_was_done_to_it(tmp_path: Path) -> None:
    words = ("corruption=wrong_domain", "loop.rounds=1")
    dirty, clean = (acme_loop(tmp_path / name, *words, f"variant={name}") for name in ("static", "clean"))
    assert read_json(dirty / "seed/pool_corrupted/stage.json")["summary"]["kinds"]["foreign"] > BUDGET / 2
    assert not (clean / "seed/pool_corrupted").exists()
    assert rounds(clean)[0]["data"]["rows"] == rounds(dirty)[0]["data"]["rows"] == BUDGET


def test_of_few_samples_no_more_of_another_domain_are_written_than_take_their_place(tmp_path: Path) -> None:
    words = ("corruption=wrong_domain", "corruption.keep=5", "loop.rounds=1", "variant=static")
    seed = acme_loop(tmp_path / "few", *words) / "seed"
    written, used = (read_json(seed / f"pool_{name}/stage.json")["summary"] for name in ("foreign", "corrupted"))
    assert written["samples"] == used["kinds"]["foreign"] <= 5


def test_too_few_samples_of_another_domain_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    function = {"name": "reboot", "description": "Reboot it.", "parameters": {"type": "object", "properties": {}}}
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([{"type": "function", "function": function}]))
    kinds = [f"gen.kinds.{kind}={int(kind == 'single')}" for kind in ("single", "parallel", "irrelevant", "incomplete")]
    words = (
        "teacher=template",
        "corruption=wrong_domain",
        f"corruption.foreign_tools={tools}",
        "loop.rounds=1",
        *kinds,
        "gen.kinds.chat=0",
    )
    run = acme_loop(tmp_path / "run", *words)
    found = read_json(run / "seed/pool_foreign/stage.json")["summary"]
    assert found["shortfall"] > 0
    assert f"samples of another domain: {found['shortfall']} samples short of" in capfd.readouterr().err


def test_labels_of_an_older_schema_reach_the_judge_and_leave_the_next_set(tmp_path: Path) -> None:
    full = acme_loop(tmp_path / "full", "corruption=schema_drift", "loop.rounds=2")
    ruled = [row for row in read_rows(full / "round_1/optimize/rulings.jsonl", Ruling) if row.old.calls]
    drifted = [row for row in ruled if all("_value" in "".join(call.arguments) for call in row.old.calls)]
    assert len(drifted) > len(ruled) / 2
    assert {row.outcome for row in drifted} <= {"LABEL_WRONG", "BOTH_WRONG", "ABSTAIN"}
    assert "LABEL_WRONG" in {row.outcome for row in drifted}
    assert not any(map(is_strange, Dataset(full / rounds(full)[1]["data"]["path"])))


# --- kills --------------------------------------------------------------------------------------------------------

SLOW = ("trainer.pause=0.1",)
"""Between the two files of a checkpoint: a kill there leaves half a checkpoint."""


def opened_by(folder: Path) -> int | None:
    """Id of the process that opened the run last."""
    return read_json(folder / "run.json")["machine"]["pid"] if (folder / "run.json").is_file() else None


def killed_until_done(
    folder: Path, kills: int, rng: Random, *words: str, parts: tuple[str, ...] | None = None, pause: float = 0.1
) -> list[dict[str, int]]:
    """Run, kill at random moments before the end and resume to it; the finished stages after each, with their times."""
    command = ("loop", *(parts or (*acme(), *SLOW)), f"output_dir={folder}", *words)
    seen = []
    for number in range(kills + 1):
        before = set(manifests(folder)) if folder.is_dir() else set()
        process = start(*command, cwd=folder.parent)
        if number < kills:
            # Wait until the run is open and for a seeded number of new stages, then for a seeded moment.
            target, patience = len(before) + rng.randrange(2), time.monotonic() + 120
            while process.poll() is None and time.monotonic() < patience:
                if opened_by(folder) == process.pid and len(manifests(folder)) >= target:
                    break
                time.sleep(0.005)
            time.sleep(rng.random() * pause)
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        else:
            status, _, err = ended(process)
            assert status == 0, err
        if folder.is_dir():
            seen.append({name: (folder / name).stat().st_mtime_ns for name in manifests(folder)})
    return seen


def never_made_twice(seen: list[dict[str, int]]) -> bool:
    return all(before.items() <= after.items() for before, after in pairwise(seen))


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_some_moments_gives_the_bytes_of_a_run_in_one_piece(kills: int, tmp_path: Path) -> None:
    whole = acme_loop(tmp_path / "one" / "run", *SLOW)
    (tmp_path / "two").mkdir()
    folder = tmp_path / "two" / "run"
    seen = killed_until_done(folder, kills, Random(1), ALONE)
    assert manifests(folder) == manifests(whole)
    assert never_made_twice(seen)
    assert [content["metrics"] for content in rounds(folder)] == [content["metrics"] for content in rounds(whole)]
    record = read_json(folder / "run.json")
    assert record["status"] == "FINISHED"
    assert record["resumed"] >= 2
    assert not list(folder.rglob("*journal.jsonl"))
    assert not list(folder.rglob("*partial*"))


@pytest.mark.slow
def test_a_killed_loop_is_one_run_in_mlflow(tmp_path: Path) -> None:
    fresh_database(tmp_path / "mlruns")
    seen = killed_until_done(tmp_path / "run", 2, Random(2))
    assert never_made_twice(seen)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("acme")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    kinds = sorted(run.data.tags["sloop.kind"] + run.data.tags.get("sloop.round", "") for run in found)
    assert kinds == ["loop", "round1", "round2", "round3"]
    assert {run.info.status for run in found} == {"FINISHED"}


@pytest.mark.slow
def test_the_real_student_killed_at_ten_moments_is_one_run_with_the_same_bytes(tmp_path: Path) -> None:
    """Real weights and real tracking, minutes: the smoke loop three times over."""
    parts = ("experiment=smoke", "student.threads=1", "trainer.threads=1")
    for name in ("one", "two"):
        fresh_database(tmp_path / name / "mlruns")
    whole, folder = (tmp_path / name / "run" for name in ("one", "two"))
    status, _, err = ended(start("loop", *parts, f"output_dir={whole}", cwd=whole.parent))
    assert status == 0, err
    seen = killed_until_done(folder, 10, Random(3), parts=parts, pause=3.0)
    assert never_made_twice(seen)
    assert manifests(folder) == manifests(whole)
    client = MlflowClient(f"sqlite:///{folder.parent / 'mlruns' / 'mlflow.db'}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    kinds = sorted(run.data.tags["sloop.kind"] + run.data.tags.get("sloop.round", "") for run in found)
    assert kinds == ["loop", "round1", "round2"]
    assert {run.info.status for run in found} == {"FINISHED"}


def test_a_folder_with_another_loop_is_left_alone(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = manifests(full)
    assert sloop("loop", *acme(), f"output_dir={full}", ALONE, "seed=5") == 2
    assert "another configuration" in capsys.readouterr().err
    assert manifests(full) == before


# --- a teacher that falls short -----------------------------------------------------------------------------------


class SparseTeacher(acme_tools.EchoTeacher):
    """Knows few requests, so that gen refuses most as duplicates."""

    async def write(self, order: Order, rng: Random) -> Dialogue | Rejected:
        return await super().write(order, Random(rng.randrange(40)))


@pytest.mark.parametrize("variant", ["repaired", "repeated", "fresh"])
def test_a_pool_that_falls_short_is_told_and_written_down(variant: str, tmp_path: Path) -> None:
    tools = load_tools(Path(acme_tools.__file__).with_name("acme_tools.json"))
    shares = {"unseen": 0.3, "unseen_decay": 0.5, "error": 0.2, "expanded": 0.4, "expansions": 2, "no_call": 0.4}
    chosen = Settings.model_validate(
        {
            "variant": {"name": variant, "data": variant},
            "seed": 0,
            "rounds": 2,
            "budget": 150,
            "num_samples": None,
            "first_steps": FIRST_STEPS,
            "steps": STEPS,
            "round_0": False,
            "restart": False,
            "corruption": {**dict.fromkeys(("wrong", "drifted", "foreign"), 0.0), **CLEAN},
            "gen": {"kinds": {"chat": 1.0}, "offered": (2, 2), "contrast": 0.0},
            "optimize": {"judge_agreements": False, "axes": ("values",), "similarity": 0.7, "shares": shares},
            "overlap": {"words": 6, "share": 0.5, "examples": 10},
            "decode": {},
            "batch_size": 16,
        }
    )
    parts = Parts(
        tools=tools[:2],
        teacher=SparseTeacher(error_rate=0.0),
        judge=acme_tools.StrictJudge(abstain=0.0),
        student=acme_tools.LookupStudent(name="lookup", skill=0.5),
        sampler=RandomSampler(),
        trainer=acme_tools.CountingTrainer(gain=0.1),
        benchmarks=(),
    )
    told: list[tuple[str, int, int]] = []
    records = loop(parts, chosen, Place(tmp_path, report=lambda *words: told.append(words)))
    portions = read_json(tmp_path / "seed/portions/stage.json")["summary"]
    short = portions["shortfall"]["round_1.jsonl"]
    assert portions["sizes"] == {"round_1.jsonl": 150 - short, "unseen_2.jsonl": 0}
    assert 0 < short < 150
    assert (f"seed: round_1: {short} samples short of 150", 150 - short, 150 - short) in told
    for record in records:
        rows, missing = record.data.rows, record.data.shortfall
        assert rows + missing == 150
        assert (f"round {record.round}: training set: {missing} samples short of 150", rows, rows) in told


def test_a_whole_pool_is_said_to_lack_nothing(full: Path) -> None:
    assert [content["data"]["shortfall"] for content in rounds(full)] == [0, 0, 0]
    assert set(read_json(full / "seed/portions/stage.json")["summary"]["shortfall"].values()) == {0}
