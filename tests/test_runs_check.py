"""A bundle is caught where it was changed, with the line that says where; a clean one matches."""

from __future__ import annotations

import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bundles import BY, cited, edit, edit_row, mismatches, sealed, small_run
from running import ALONE, questions, sloop
from verifiers_stand_in import stand_in

from sloop.cli import conf_folder
from sloop.engine.identity import config_hash
from sloop.records import UserError
from sloop.runs.bundle import MANIFEST, VERSION, Tampered, foreign, read_bundle
from sloop.runs.check import check
from sloop.runs.publish import Cited, publish
from sloop.runs.read import Run

pytest.importorskip("rocrate", reason="needs the crate's library: pip install 'sloop[cite]'")

EVALUATED = "run/round_2/evaluate/dev"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cited")


@pytest.fixture(scope="module")
def bundle(root: Path) -> Cited:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return cited(small_run(root), root / "run.zip")


@pytest.fixture
def unpacked(bundle: Cited, tmp_path: Path) -> Path:
    read_bundle(bundle.path).unpack(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_bundle_matches_zipped_and_unpacked(bundle: Cited, unpacked: Path) -> None:
    assert mismatches(bundle.path, sha256=bundle.sha256) == []
    assert mismatches(unpacked, sha256=bundle.sha256) == []


def evaluation(folder: Path, *words: str) -> Path:
    """An evaluation of a student of known mistakes, as a bundle."""
    told = ["student=scripted", *words, f"output_dir={folder / 'run'}", f"paths.outputs={folder / 'outputs'}", ALONE]
    assert sloop("eval", *told) == 0
    return publish(Run.at(folder / "run"), folder / "run.zip", [], by=BY, hub={}).path


def test_a_bundle_of_an_evaluation_holds_what_of_it_stood_in_training(tmp_path: Path) -> None:
    words = ["benchmark=jsonl", f"benchmark.path={questions()}", f"data={questions()}"]
    path = evaluation(tmp_path, *words)
    assert "run/contamination.jsonl" in read_bundle(path).manifest.files
    assert mismatches(path) == []


def test_a_part_of_a_benchmark_is_graded_again(tmp_path: Path) -> None:
    path = evaluation(tmp_path, "benchmark=jsonl", f"benchmark.path={questions()}", "benchmark.limit=20")
    told = {one.what: one.told for one in check(read_bundle(path), trust=True)}
    assert told["run, grades"] == "20 graded again"
    read_bundle(path).unpack(tmp_path / "unpacked")
    edit_row(tmp_path / "unpacked/run/grades.jsonl", lambda row: row.update(correct=not row["correct"]))
    assert any(line.startswith("run, grades: ") for line in mismatches(tmp_path / "unpacked"))


def test_a_benchmark_without_labels_matches(tmp_path: Path) -> None:
    words = ["benchmark=verifiers", "benchmark.environment=toy", f"benchmark.python={stand_in(tmp_path)}"]
    path = evaluation(tmp_path, *words, "student.script=[refuse]")
    assert mismatches(path) == []
    bundle = read_bundle(path)
    (name,) = (name for name in bundle.sizes if name.startswith("every_eval_ever") and name.endswith(".json"))
    configs = [one["metric_config"] for one in json.loads(bundle.read(name))["evaluation_results"]]
    ends = {one["metric_name"]: (one["min_score"], one["max_score"], one.get("metric_unit")) for one in configs}
    assert ends["reward"] == ends["measured/turns"] == (None, None, None)
    assert ends["call_accuracy"] == (0, 1, "proportion")


def test_it_opens_as_any_run_does(unpacked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("table", "--outputs", str(unpacked)) == 0
    assert "acme-full-s0" in capsys.readouterr().out


# --- what is changed, and whether the manifest was made to agree; what is said of it ---------------------------------


def _sample(folder: Path) -> None:
    edit_row(folder / "run/seed/pool/train.jsonl", lambda row: row["messages"][-1].update(content="Do nothing."))


def _config(folder: Path) -> None:
    edit(folder / MANIFEST, lambda plain: plain["run"]["config"]["student"].update(skill=0.9))


def _config_and_hash(folder: Path) -> None:
    _config(folder)
    edit(folder / MANIFEST, lambda plain: plain.update(published_hash=config_hash(plain["run"]["config"])))


def _renamed(folder: Path) -> None:
    edit(folder / MANIFEST, lambda plain: plain["run"].update(name="acme-full-s0-00000000"))


def _score(folder: Path) -> None:
    edit_row(folder / EVALUATED / "scores.jsonl", lambda row: row.update(value=0.99))


def _reported(folder: Path) -> None:
    def raised(plain: Any) -> None:
        for score in plain["metrics"]:
            if score["name"] == "eval/dev/call_accuracy" and not score["slice"] and score.get("round", 2) == 2:
                score["value"] = 0.99

    edit(folder / MANIFEST, raised)
    edit(folder / "run/round_2/round.json", raised)


def _grade(folder: Path) -> None:
    edit_row(folder / EVALUATED / "grades.jsonl", lambda row: row.update(correct=not row["correct"]))


def _answer(folder: Path) -> None:
    edit_row(folder / EVALUATED / "predictions.jsonl", lambda row: row.update(calls=[{"name": "x", "arguments": {}}]))


def _checkpoint(folder: Path) -> None:
    edit(
        folder / "run/round_1/train/stage.json",
        lambda plain: plain["summary"]["checkpoint"].update(digest="0" * 64),
    )


def _weights(folder: Path) -> None:
    (folder / "run/round_1/train/checkpoint/weights.json").write_text("{}")


def _trained_on(folder: Path) -> None:
    edit(folder / "run/round_2/train/stage.json", lambda plain: plain["parts"].update(data="0" * 64))


def _added(folder: Path) -> None:
    (folder / "run/round_3.json").write_text("{}")


def _removed(folder: Path) -> None:
    (folder / "run/round_1/optimize/rejected.jsonl").unlink()


def _input(folder: Path) -> None:
    edit_row(folder / "inputs/benchmark.path/questions.jsonl", lambda row: row.update(slice="easy"))


def _methods(folder: Path) -> None:
    path = folder / "METHODS.md"
    path.write_text(path.read_text().replace("n = 120", "n = 900"))


def _ungraded(folder: Path) -> None:
    (folder / EVALUATED / "grades.jsonl").unlink()


CHANGES: list[tuple[Callable[[Path], None], bool, str]] = [
    (_sample, False, "run/seed/pool/train.jsonl: "),
    (_sample, True, "run/seed/pool/train.jsonl, line 1: the id"),
    (_config, False, "config: its hash is recorded as"),
    (_config_and_hash, False, "config: the run's configuration had the hash"),
    (_config_and_hash, False, "run/run.json: it is not the run of manifest.json"),
    (_renamed, False, "name: acme-full-s0-00000000 does not end in the hash"),
    (_score, False, f"{EVALUATED}/scores.jsonl: "),
    (_score, True, f"{EVALUATED}, scores: harmonic_accuracy is 0.99"),
    (_score, True, f"{EVALUATED}/scores.jsonl: its stage made sha256"),
    (_reported, True, f"{EVALUATED}, reported scores: eval/dev/call_accuracy is reported as 0.99"),
    (_grade, True, f"{EVALUATED}, grades: the answer to"),
    (_grade, True, f"{EVALUATED}, scores: "),
    (_answer, True, f"{EVALUATED}, grades: the answer to"),
    (_checkpoint, True, "run/round_1/train, checkpoint: 000000"),
    (_weights, False, "run/round_1/train/checkpoint/weights.json: 193 bytes are recorded, and it has 2"),
    (_weights, True, "run/round_1/train/checkpoint/weights.json: its stage made sha256"),
    (_trained_on, True, "run/round_2/train/stage.json, key: "),
    (_trained_on, True, "run/round_2/train/stage.json, data: 000000"),
    (_added, False, "run/round_3.json: it is in the bundle, and the manifest does not know it"),
    (_removed, False, "run/round_1/optimize/rejected.jsonl: the manifest names it, and it is not in the bundle"),
    (_input, True, "inputs.benchmark.path: sha256"),
    (_methods, False, "METHODS.md: sha256"),
    (_ungraded, False, "round 2, dev: no grades are in the bundle"),
]


@pytest.mark.parametrize(
    ("change", "seal", "line"), CHANGES, ids=[f"{c.__name__}-{s}-{n}" for n, (c, s, _) in enumerate(CHANGES)]
)
def test_what_was_changed_is_named(unpacked: Path, change: Callable[[Path], None], seal: bool, line: str) -> None:
    change(unpacked)
    if seal:
        sealed(unpacked)
    found = mismatches(unpacked)
    assert any(told.startswith(line) for told in found), found


def test_the_digest_that_a_paper_prints_covers_a_forged_manifest(unpacked: Path, bundle: Cited) -> None:
    _methods(unpacked)
    sealed(unpacked)
    assert mismatches(unpacked) == []  # nothing in the bundle says otherwise ...
    (line,) = mismatches(unpacked, sha256=bundle.sha256)  # ... but the paper does
    assert line.startswith(f"manifest.json: a paper says {bundle.sha256}")


@pytest.mark.parametrize("target", ["os.system", "sloop.cli.os.system", "sloop_extra.Student", "sloop.students.tiny"])
def test_a_component_of_others_is_refused_unless_it_is_trusted(unpacked: Path, target: str) -> None:
    edit(unpacked / MANIFEST, lambda plain: plain["run"]["config"]["student"].update(_target_=target))
    line = f"config.student._target_: {target} is no component of sloop's; pass over it with --trust"
    assert line in mismatches(unpacked, trust=False)
    assert line not in mismatches(unpacked)


def test_what_would_be_run_or_looked_up_is_found_wherever_it_stands() -> None:
    config = {
        "a": {"_target_": "sloop.benchmarks.jsonl.JsonlBenchmark", "_partial_": True},
        "b": [{"_target_": "sloop.trainers.sft.SFT"}, {"path": "${oc.env:HOME}/x"}],
        "c": "plain",
    }
    assert list(foreign(config)) == [("a._partial_", "True"), ("b[1].path", "${oc.env:HOME}/x")]


def test_every_component_of_the_configuration_tree_is_sloops_own() -> None:
    configs = [yaml.safe_load(path.read_text()) for path in conf_folder().glob("*/*.yaml")]
    assert [one for config in configs for one in foreign(config) if one[0].endswith("_target_")] == []


# --- bundles that are not opened --------------------------------------------------------------------------------------


def _with(name: str, content: bytes = b"{}", *, mode: int = 0o100644, pack: int = zipfile.ZIP_DEFLATED) -> Any:
    def change(path: Path) -> None:
        info = zipfile.ZipInfo(name)
        info.filename = info.orig_filename = name
        info.external_attr, info.compress_type = mode << 16, pack
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as packed:
            warnings.simplefilter("ignore")
            packed.writestr(info, content)

    return change


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4000])


def _damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as packed:
        at = packed.getinfo(MANIFEST).header_offset + 200
    content[at : at + 50] = bytes(50)
    path.write_bytes(content)


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (_with("../evil.json"), "'../evil.json': it leads out of the bundle"),
    (_with("run/../../evil.json"), "'run/../../evil.json': it leads out of the bundle"),
    (_with("/etc/evil.json"), "'/etc/evil.json': it leads out of the bundle"),
    (_with("C:evil.json"), "'C:evil.json': it leads out of the bundle"),
    (_with("run\\evil.json"), "'run\\\\evil.json': it leads out of the bundle"),
    (_with("run/\x1b[2J.json"), "'run/\\x1b[2J.json': it leads out of the bundle"),
    (_with("run/link.json", b"/etc/passwd", mode=0o120777), "run/link.json: a link"),
    (_with("Manifest.JSON"), "it is manifest.json where case does not count"),
    (_with("manifest.json"), "'manifest.json': it is there twice"),
    (_with("run/weights.pkl"), "'run/weights.pkl': a bundle holds data"),
    (_with("run/pytorch_model.bin"), "'run/pytorch_model.bin': a bundle holds data"),
    (_with("run/modeling.py"), "'run/modeling.py': a bundle holds data"),
    (_with("run/bomb.jsonl", bytes(1 << 24)), "run/bomb.jsonl: 16"),
    (_with("run/x.json", pack=zipfile.ZIP_LZMA), "run/x.json: it is encrypted, or packed in a way"),
    (_cut, "no whole zip"),
    (_damaged, "manifest.json: it cannot be unpacked"),
]


@pytest.mark.parametrize(("change", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_a_zip_that_no_bundle_is_is_not_opened(
    bundle: Cited, tmp_path: Path, change: Callable[[Path], None], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tampered.zip"
    shutil.copy(bundle.path, path)
    change(path)
    with pytest.raises(Tampered, match=re.escape(line)):
        read_bundle(path)
    assert sloop("check", str(path)) == 1
    assert "mismatch" in capsys.readouterr().out


def test_a_folder_with_a_link_is_not_opened(unpacked: Path) -> None:
    (unpacked / "run/link.json").symlink_to("/etc/hostname")
    with pytest.raises(Tampered, match="a link, or no regular file"):
        read_bundle(unpacked)


def test_a_manifest_of_a_later_version_is_not_read(unpacked: Path) -> None:
    edit(unpacked / MANIFEST, lambda plain: plain.update(version=VERSION + 1))
    with pytest.raises(UserError, match=r"written by a later sloop \(version 2; this one reads up to 1\)"):
        read_bundle(unpacked)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1}', "null", "[" * 5000])
def test_something_else_in_the_place_of_the_manifest_is_told(unpacked: Path, content: str) -> None:
    (unpacked / MANIFEST).write_text(content)
    with pytest.raises(Tampered, match="it is none of sloop"):
        read_bundle(unpacked)


# --- commands -----------------------------------------------------------------------------------------------------


def test_the_command_prints_a_line_each_and_exits_with_1(bundle: Cited, capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("check", str(bundle.path), "--trust", "--sha256", bundle.sha256) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"match     manifest.json  sha256 {bundle.sha256}"
    assert told[-1].endswith(" match, 0 do not")
    assert sloop("check", str(bundle.path)) == 1
    assert "mismatch  config.teacher._target_: acme_tools.EchoTeacher" in capsys.readouterr().out
    assert sloop("check", str(bundle.path), "--trust", "--sha256", "0" * 64) == 1
    assert sloop("check", str(bundle.path), "--sha256", "0") == 2
    assert sloop("check", "no-such.zip") == 2


def test_check_without_a_bundle_still_asks_endpoints(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop("check", "tracking.enabled=false") == 0
    assert "no endpoint is asked" in capsys.readouterr().out
