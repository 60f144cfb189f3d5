"""A bundle's run made again: what of a stranger's configuration is run, and how alike the two runs are."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from clients import answer_right
from endpoint import serving
from running import ALONE, questions, run_plain, sloop
from test_runs_differences import other_bytes

from sloop.config import Config
from sloop.records import Arithmetic, Grade, Machine, RunRecord, UserError
from sloop.runs.bundle import Bundle, Input
from sloop.runs.differences import stage_pairs
from sloop.runs.read import Run
from sloop.runs.repeat import KEPT, environment, likeness, runnable, verdict
from sloop.store import Dataset, read_rows, write_rows

CONFIG: dict[str, Any] = {
    "stage": "gen", "name": "s", "output_dir": "/srv/me/run", "cache": "off",
    "student": {"name": "tiny", "path": None}, "tools": {"path": "everyday"},
    "teacher": {"_target_": "sloop.simulation.template.TemplateTeacher", "styles": ["a / b ... c"]},
    "benchmark": {"_target_": "sloop.benchmarks.jsonl.JsonlBenchmark", "name": "b", "cache_path": "/tmp/x"},
}  # fmt: skip
ENDPOINT = {"_target_": "sloop.models.endpoint.Endpoint", "base_url": "http://example.org/v1"}


def bundle(
    config: Mapping[str, Any], files: tuple[str, ...] = (), inputs: tuple[Input, ...] = (), **run: Any
) -> Bundle:
    """What of a bundle is asked for its configuration."""
    record = RunRecord.model_validate({**run_plain("r"), "config": dict(config), **run})
    manifest = SimpleNamespace(run=record, files=dict.fromkeys(files), inputs=inputs)
    return cast(Bundle, SimpleNamespace(manifest=manifest))


def with_part(key: str, value: Any) -> dict[str, Any]:
    """The configuration with one value another."""
    config = deepcopy(CONFIG)
    *above, last = key.split(".")
    section = config
    for name in above:
        section = section[name]
    section[last] = value
    return config


def test_what_says_where_a_run_is_kept_is_put_into_the_folder() -> None:
    made = runnable(bundle(CONFIG), {}, trust=False)
    assert (made["output_dir"], made["paths"]["outputs"]) == ("run", "outputs")
    assert (made["tracking"], made["benchmark"]["cache_path"]) == (
        {"enabled": False, "uri": None, "failures": 0, "questions": 0}, "outputs/.cache/cache_path",
    )  # fmt: skip
    assert made["teacher"] == CONFIG["teacher"]


def test_sections_that_say_where_a_run_is_kept_have_every_key() -> None:
    for name, section in KEPT.items():
        kind = Config.model_fields[name].annotation
        if isinstance(section, dict) and isinstance(kind, type):
            assert section.keys() == kind.model_fields.keys(), name


def test_a_strangers_cluster_is_not_joined() -> None:
    ray = {"kind": "ray", "address": "10.0.0.1:6379", "workers": None, "shard": 64, "cpus": 1, "gpus": 0}
    made = runnable(bundle({**CONFIG, "executor": ray}), {}, trust=False)
    assert made["executor"] == {"kind": "local", "workers": 8}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("teacher._target_", "os.system", r"teacher\._target_=os\.system is no component"),
        ("teacher._target_", "sloop.cli.main", r"teacher\._target_=sloop\.cli\.main is no component"),
        ("tools._target_", "sloop.serve.server.Server", "no component|may run what its settings name"),
        ("teacher._target_", "sloop.models.replay.Replay", r"sloop\.models\.replay\.Replay may run what"),
        ("teacher._target_", "sloop.trainers.teacher_mode.TeacherMode", r"TeacherMode may run what its settings name"),
        ("teacher._partial_", True, r"teacher\._partial_=True is no component"),
        ("tools.path", "/etc/passwd", r"tools\.path=/etc/passwd leads out"),
        ("tools.path", "bundle/../../x.json", r"tools\.path=bundle/\.\./\.\./x\.json leads out"),
        ("tools.path", "..\\x.json", "leads out"),
        ("tools.path", "C:\\x.json", "leads out"),
        ("student.path", "~/model", r"student\.path=~/model leads out"),
        ("student.path", "hf:some/set", "leads out"),
        ("tools.path", "https://example.org/tools.json", "leads out"),
        ("name", "${oc.env:HOME}", "no component"),
        ("student.endpoint", ENDPOINT, r"student\.endpoint\.base_url=http://example\.org/v1 would be asked"),
    ],
)
def test_a_strangers_configuration_is_not_run_as_it_stands(key: str, value: Any, message: str) -> None:
    strange = bundle(with_part(key, value))
    with pytest.raises(UserError, match=message):
        runnable(strange, {}, trust=False)
    assert runnable(strange, {}, trust=True)


def test_kept_replies_answer_in_a_models_place() -> None:
    config = with_part("student.endpoint", {**ENDPOINT, "cache": "off", "cache_path": "/tmp/replies"})
    made = runnable(bundle(config, files=("replies.jsonl",)), {}, trust=False)
    kept = {"cache": "read_only", "cache_path": "bundle/replies.jsonl"}
    assert made["student"]["endpoint"] == {**ENDPOINT, **kept}


def test_files_come_from_the_bundle_or_from_the_reader(tmp_path: Path) -> None:
    held = Input(key="tools.path", given="t.json", file="inputs/tools.path/t.json", sha256=None)
    lacking = Input(key="student.path", given="model", file=None, sha256=None)
    asked = bundle(CONFIG, inputs=(held, lacking))
    with pytest.raises(UserError, match=r"does not hold what student\.path named: .* --input student.path=PATH"):
        runnable(asked, {}, trust=False)
    made = runnable(asked, {"student.path": str(tmp_path)}, trust=False)
    assert (made["tools"]["path"], made["student"]["path"]) == ("bundle/inputs/tools.path/t.json", str(tmp_path))
    with pytest.raises(UserError, match=r"teacher\._target_: this key .* names no file"):
        runnable(bundle(CONFIG), {"teacher._target_": "x"}, trust=False)


def machine(*features: str, capability: str = "AVX2") -> Machine:
    """A processor with these instructions."""
    arithmetic = Arithmetic(capability=capability, threads=1, blas="MKL", onednn="3", deterministic=False)
    return Machine(host="h", pid=1, system="s", processor="x86_64", features=features, arithmetic=arithmetic, cpus=1)


def test_a_larger_processor_is_held_to_the_instructions_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    run = bundle(CONFIG, machine=machine("avx2").model_dump(), environment={"OMP_NUM_THREADS": "3; rm", "PATH": "/x"})
    same, larger = (environment(run, machine(*have), trust=False) for have in (["avx2"], ["avx2", "avx512f"]))
    assert "ATEN_CPU_CAPABILITY" not in same
    assert (larger["ATEN_CPU_CAPABILITY"], larger["MKL_CBWR"]) == ("avx2", "AVX2")
    assert "SOME_API_KEY" not in same
    assert same.get("OMP_NUM_THREADS") == os.environ.get("OMP_NUM_THREADS")
    assert same["PATH"] == os.environ["PATH"]
    assert environment(run, machine("avx2"), trust=True)["SOME_API_KEY"] == "secret"


def alike(first: Path, again: Path) -> tuple[str, dict[str, str]]:
    """The verdict, and the likeness of each stage."""
    a, b = Run.at(first), Run.at(again)
    stages = likeness(stage_pairs(a, b), a, b)
    return verdict(stages), {stage.place: stage.likeness for stage in stages}


def graded_otherwise(run: Path, number: int) -> None:
    """Have the first right answers of round 1 count as wrong."""
    path = run / "round_1/evaluate/dev/grades.jsonl"
    grades = list(read_rows(path, Grade))
    turned = {grade.sample_id for grade in [grade for grade in grades if grade.correct][:number]}
    write_rows(
        path,
        (grade.model_copy(update={"correct": grade.sample_id not in turned and grade.correct}) for grade in grades),
    )
    other_bytes(run, "round_1/evaluate/dev", "grades.jsonl", b"")


def test_a_run_is_told_same_from_within_the_interval_from_different(outputs: Path, tmp_path: Path) -> None:
    run = outputs / "acme" / "full0"
    assert alike(run, run)[0] == "same bytes"
    near, far, data = (shutil.copytree(run, tmp_path / name) for name in ("near", "far", "data"))
    other_bytes(near, "round_1/train", "checkpoint/weights.json")
    graded_otherwise(near, 2)
    said, stages = alike(run, near)
    assert (said, stages["round_1/train"]) == ("same within the interval", "other bytes")
    assert stages["round_1/evaluate/dev"] == "same within the interval"
    graded_otherwise(far, 40)
    assert alike(run, far)[1]["round_1/evaluate/dev"] == "different"
    other_bytes(data, "seed/pool", "train.jsonl")
    assert alike(run, data)[1]["seed/pool"] == "different"
    shutil.rmtree(near / "round_2")
    assert alike(run, near)[1]["round_2/train"] == "different"


def test_runs_without_an_answer_in_common_are_different(outputs: Path, tmp_path: Path) -> None:
    first, again = outputs / "acme" / "full0", tmp_path / "again"
    shutil.copytree(first, again)
    place = again / "round_2" / "evaluate" / "dev"
    none = {"error": "model", "correct": None, "tool_correct": None}
    write_rows(
        place / "grades.jsonl", [one.model_copy(update=none) for one in read_rows(place / "grades.jsonl", Grade)]
    )
    other_bytes(again, "round_2/evaluate/dev", "grades.jsonl", b"")
    said, stages = alike(first, again)
    assert (said, stages["round_2/evaluate/dev"]) == ("different", "different")


@pytest.fixture
def probed(tmp_path: Path) -> Path:
    """The bundle of a probe of a model behind an endpoint that is gone by now."""
    out = tmp_path / "probe"
    with serving() as server:
        answer_right(server, list(Dataset(questions())))
        words = (f"student.endpoint.base_url={server.url}", "student.endpoint.model=small", f"data={questions()}")
        kept = ("cache=use", f"paths.cache={tmp_path / 'replies.jsonl'}", "preflight=false")
        assert sloop("probe", "student=endpoint", *words, *kept, ALONE, f"output_dir={out}") == 0
    assert sloop("cite", str(out), "-o", str(tmp_path / "probe.zip")) == 0
    return tmp_path / "probe.zip"


def test_a_run_at_an_endpoint_is_made_again_from_its_bundle_alone(
    probed: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sloop("reproduce", str(probed), "--here", "--folder", "again") == 0
    out = capfd.readouterr().out
    assert "same bytes" in out
    assert "verdict: same bytes" in out
    python = tmp_path / "again" / "env" / "bin" / "python"  # as if pip had made it: that takes minutes
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "again" / "env" / "done").touch()
    assert sloop("reproduce", str(probed), "--folder", "again") == 0, "of a folder that is given as relative, too"
    assert "verdict: same bytes" in capfd.readouterr().out
    assert sloop("reproduce", str(probed), "--here", "--folder", str(tmp_path)) == 2
    assert "is not empty" in capfd.readouterr().err


@pytest.mark.slow
def test_real_weights_are_made_again_with_the_same_bytes_and_others_with_fewer_instructions(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute of one core: the loop three times over, with torch."""
    small = ("benchmark.limit=60", "loop.budget=60", "loop.first_steps=60", "steps=8", "decode.max_tokens=16")
    tiny = ("student.scratch.hidden_size=32", "student.scratch.intermediate_size=64")
    one = ("student.threads=1", "trainer.threads=1", "student.scratch.layers=[conv,attention]")
    run = tmp_path / "run"
    assert sloop("loop", "experiment=smoke", ALONE, f"output_dir={run}", *small, *tiny, *one) == 0
    assert sloop("cite", str(run), "-o", str(tmp_path / "run.zip")) == 0
    words = ("reproduce", str(tmp_path / "run.zip"), "--here", "--folder")
    assert sloop(*words, str(tmp_path / "again")) == 0
    assert "verdict: same bytes" in capfd.readouterr().out
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert sloop(*words, str(tmp_path / "default")) == 0
    out = capfd.readouterr().out
    assert "other bytes               round_1/train" in out
    assert "verdict: same within the interval" in out
