"""Disks that fill, or cannot be written: in every stage a sentence, and the same command goes on to the same bytes."""

from __future__ import annotations

import errno
import functools
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from models import pool, spec, trainer
from running import ALONE, acme, scratch, sloop
from test_bad_files import nobody

from sloop.engine.stage import Place, run_stage
from sloop.records import UserError
from sloop.stages.train import Train
from sloop.store import Cache, Dataset, Lines, disk, write_bytes, write_rows, writing


@functools.cache
def made(stage: str) -> Path:
    """The stage on a sound disk."""
    folder = scratch() / "sound" / stage
    assert sloop(*words(stage), f"output_dir={folder}") == 0
    return folder


def words(stage: str) -> tuple[str, ...]:
    """The command, but for its folder."""
    given = {
        "gen": lambda: ("num_samples=60",),
        "train": lambda: (f"data={made('gen') / 'train.jsonl'}", "steps=4"),
        "probe": lambda: (f"data={made('gen') / 'train.jsonl'}", f"student.path={made('train') / 'checkpoint'}"),
        "optimize": lambda: (
            f"data={made('gen') / 'train.jsonl'}",
            f"predictions={made('probe') / 'predictions.jsonl'}",
        ),
        "eval": lambda: (f"student.path={made('train') / 'checkpoint'}",),
        "loop": lambda: ("loop.rounds=1",),
    }
    return (stage, *acme(), ALONE, "executor.workers=1", *given[stage]())


STAGES = ("gen", "train", "probe", "optimize", "eval", "loop")


def content(folder: Path) -> dict[str, bytes]:
    """What a run made, but for times and what names them."""
    kept = (path for path in sorted(folder.rglob("*")) if path.is_file() and "sidecar" not in path.parts)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in kept
        if path.name not in ("run.json", "round.json") and not path.name.startswith(".")
    }


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk of a size; again, of another."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(options: str) -> Path:
        how = f"remount,{options}" if place.is_mount() else options
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", how, "none", str(place)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("a small disk to fill is a tmpfs, and mounting one takes root on Linux")
        return place

    yield sized
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@contextmanager
def no_larger_than(size: int) -> Iterator[None]:
    """No file may grow beyond it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert not [line for line in lines if "Traceback" in line]
    return next(line for line in lines if line.startswith("sloop: "))


@pytest.mark.parametrize(
    ("stage", "share"),
    [
        *((stage, 0.5) for stage in STAGES),
        *(pytest.param("loop", share, marks=pytest.mark.slow) for share in (0.05, 0.9)),
    ],
)
def test_a_stage_whose_disk_fills_says_so_and_goes_on_to_the_same_bytes(
    stage: str, share: float, small: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = made(stage)
    used = sum(-(-path.stat().st_size // 4096) * 4096 for path in whole.rglob("*") if path.is_file())
    folder = small(f"size={max(4096, int(used * share) // 4096 * 4096)}") / "run"
    assert sloop(*words(stage), f"output_dir={folder}") == 2
    told = said(capsys)
    assert "it cannot be written: the disk is full. What was finished is kept: free some space" in told
    assert ".partial" not in told
    assert not [path for path in folder.rglob("*partial*") if path.is_file()]
    small("size=100m")
    assert sloop(*words(stage), f"output_dir={folder}") == 0
    assert content(folder) == content(whole)


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=[] if stage in ("gen", "loop") else [pytest.mark.slow]) for stage in STAGES]
)
def test_a_stage_that_meets_the_limit_of_a_file_says_so_and_goes_on(
    stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = made(stage)
    with no_larger_than(max(path.stat().st_size for path in whole.rglob("*.jsonl")) // 2):
        assert sloop(*words(stage), f"output_dir={tmp_path / 'run'}") == 2
        assert "it is larger than a file may be (ulimit -f). What was finished is kept" in said(capsys)
    assert sloop(*words(stage), f"output_dir={tmp_path / 'run'}") == 0
    assert content(tmp_path / "run") == content(whole)


@pytest.mark.parametrize("stage", ["gen", "loop"])
def test_a_read_only_disk_is_told_of(
    stage: str, small: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small("size=100m") / "run"
    folder.mkdir()
    small("ro")
    assert sloop(*words(stage), f"output_dir={folder}") == 2
    assert "the disk is read-only" in said(capsys)
    small("rw")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("stage", ["gen", "loop"])
def test_a_folder_that_may_not_be_written_is_told_of(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = words(stage)
    scratch().chmod(0o755)
    with nobody() as place:
        (place / "run").mkdir(mode=0o500)
        assert sloop(*command, f"output_dir={place / 'run'}") == 2
    assert "there is no permission for it. What was finished is kept: make that folder writable" in said(capsys)


# --- the one writer ------------------------------------------------------------------------------------------------

FULL = sqlite3.OperationalError("database or disk is full")
FULL.sqlite_errorcode = sqlite3.SQLITE_FULL


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x"), "the disk is full.*free some space"),
        (OSError(errno.EDQUOT, "x"), "your share of the disk is used up.*free some space"),
        (OSError(errno.EROFS, "x"), "the disk is read-only.*choose another"),
        (OSError(errno.EACCES, "x"), "there is no permission.*choose another"),
        (OSError(errno.EFBIG, "x"), "larger than a file may be.*lift the limit"),
        (OSError(errno.EIO, "x"), "the disk failed.*look after the disk"),
        (OSError(errno.EMFILE, "x"), "too many files are open.*lift the limit"),
        (OSError(errno.ENOTDIR, "x"), "a part of its path is no folder.*move that away"),
        (FULL, "the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
    ],
    ids=str,
)
def test_whoever_met_the_fault_it_is_said_in_the_same_words(error: Exception, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"thing: it cannot be written: .*{words}"), disk(tmp_path / "thing"):
        raise error


@pytest.mark.parametrize("error", [ValueError("x"), ConnectionRefusedError(errno.ECONNREFUSED, "x"), OSError("x")])
def test_what_no_disk_refused_passes(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)), disk(tmp_path):
        raise error


def test_a_file_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"before")
    with no_larger_than(1000), pytest.raises(UserError, match="/x: it cannot be written"):
        write_bytes(tmp_path / "x", b"after" * 1000)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"before")]
    write_bytes(tmp_path / "x", b"after" * 1000)
    assert (tmp_path / "x").read_bytes() == b"after" * 1000


@pytest.mark.parametrize("pack", [True, False])
def test_a_block_that_fails_leaves_no_file(pack: bool, tmp_path: Path) -> None:
    def fail() -> None:
        with writing(tmp_path / "x.gz", pack=pack) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full, the device that is always full, is Linux's")  # noqa: PTH110
def test_a_line_or_a_reply_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"lines\.jsonl: it cannot be written: the disk is full"):
        Lines(tmp_path / "lines.jsonl").append({"a": 1})
    cache = Cache(tmp_path / "replies.jsonl")
    with no_larger_than(10), pytest.raises(UserError, match=r"replies\.jsonl: it cannot be written"):
        cache.put("key", "a reply that is too long")
    assert cache.put("key", "another") == "another"
    cache.close()


# --- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("save_every", "room"), [(2, "16k"), (2, "400k"), (100, "16k"), (100, "140k")])
def test_weights_that_do_not_fit_are_told_of_and_trained_again_to_the_same_bytes(
    save_every: int, room: str, small: Callable[[str], Path], tmp_path: Path
) -> None:
    write_rows(tmp_path / "pool.jsonl", pool())
    data = Dataset(tmp_path / "pool.jsonl")
    start = spec().make(data, seed=0, out=tmp_path / "start")
    stage = Train(trainer=trainer(save_every=save_every), start=start, data=data, steps=6, seed=0)
    place = Place(small(f"size={room}") / "train")
    with pytest.raises(UserError, match="it cannot be written: the disk is full"):
        run_stage(stage, place)
    assert not (place.folder / "stage.json").exists()
    small("size=100m")
    assert run_stage(stage, place).record.files == run_stage(stage, Place(tmp_path / "whole")).record.files


def test_half_trained_weights_that_are_damaged_are_trained_anew(tmp_path: Path) -> None:
    write_rows(tmp_path / "pool.jsonl", pool())
    data = Dataset(tmp_path / "pool.jsonl")
    start = spec().make(data, seed=0, out=tmp_path / "start")
    stage = Train(trainer=trainer(save_every=2), start=start, data=data, steps=4, seed=0)
    for content in (b"", b"noise" * 100, b"PK\x03\x04" + b"\0" * 100):
        kept = tmp_path / "run" / "checkpoint" / "sidecar" / "partial.pt"
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        kept.parent.mkdir(parents=True)
        kept.write_bytes(content)
        found = run_stage(stage, Place(tmp_path / "run")).record.files
        assert found == run_stage(stage, Place(tmp_path / "whole")).record.files
