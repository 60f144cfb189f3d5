"""Sweeps as a user has them: cells that fail, processes that are killed, sweeps that go on."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from running import ALONE, acme, ended, fresh_database, sloop, start

from sloop.records import SweepRecord
from sloop.runs.files import read_run, write_run
from sloop.runs.find import find_runs
from sloop.runs.read import metric_name
from sloop.runs.sweeps import find_sweeps, read_sweep
from sloop.runs.track import connect

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
LAUNCHERS = {
    "joblib": JOBLIB,
    "submitit_local": ("hydra/launcher=submitit_local", "hydra.launcher.n_jobs=2"),
    "ray": ("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"),
}
GEN = ("gen", "-m", *acme(), "num_samples=8")
SEARCH = ("loop", "-m", *acme(), "loop.rounds=1", "hydra/sweeper=optuna", ALONE)
SKILL = "student.skill=interval(0.1,0.9)"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def the_sweep(root: Path = Path()) -> SweepRecord:
    (folder,) = find_sweeps(root)
    return read_sweep(folder)


def logged(root: Path) -> Counter[tuple[str, str, bool]]:
    """(kind, status, whether it belongs to a sweep) of every run in MLflow, all in the study's experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {client.get_experiment(run.info.experiment_id).name for run in found} == {"acme"}
    return Counter(
        (run.data.tags["sloop.kind"], run.info.status, "mlflow.parentRunId" in run.data.tags) for run in found
    )


def test_cells_that_fail_are_told_of_at_the_end_and_resume_runs_only_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (*GEN, "teacher=acme,acme_broken", "seed=0,1", ALONE)
    assert sloop(*words) == 1
    out = capsys.readouterr().out
    assert "2 FAILED, 2 FINISHED" in out
    assert out.count("the pen is broken") == 2
    assert "alone:  sloop gen --config-dir" in out
    record = the_sweep()
    assert record.status == "FAILED"
    assert [cell.status for cell in record.cells] == ["FINISHED", "FINISHED", "FAILED", "FAILED"]
    done = {run.folder: (run.folder / "run.json").stat().st_mtime_ns for run in find_runs(Path("outputs"))}
    Path("mended").touch()
    assert sloop(*words, "resume=true") == 0
    again = the_sweep()
    assert (again.id, again.status, {cell.status for cell in again.cells}) == (record.id, "FINISHED", {"FINISHED"})
    after = {run.folder: (run.folder / "run.json").stat().st_mtime_ns for run in find_runs(Path("outputs"))}
    assert len(after) == 4
    finished = [Path(cell.folder) for cell in record.cells if cell.status == "FINISHED"]
    assert all(after[folder] == done[folder] for folder in finished), "what was finished is not even looked at"
    assert {run.record.sweep for run in find_runs(Path("outputs"))} == {record.id}


def test_the_command_of_a_cell_that_failed_runs_it_alone(capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    assert sloop(*GEN, "teacher=acme_broken", "seed=0,1", ALONE) == 1
    command = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  alone:"))
    Path("mended").touch()
    assert sloop(*shlex.split(command)[2:]) == 0
    (run,) = [run for run in find_runs(Path("outputs")) if run.record.status == "FINISHED"]
    assert str(run.folder) == the_sweep().cells[0].folder


def test_two_cells_that_are_one_run_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop(*GEN, "seed=0,1", "output_dir=mine", ALONE) == 2
    assert "two cells of the sweep are one run, mine" in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_a_bad_value_of_one_cell_ends_the_sweep_before_any_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert sloop(*GEN, "seed=0,-1", ALONE) == 2
    assert "seed=-1" in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_an_interrupted_sweep_says_so_and_goes_on(tmp_path: Path) -> None:
    words = (*GEN, "teacher=acme,acme_slow", ALONE)
    process = start(*words, cwd=tmp_path)
    until = time.monotonic() + 100
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    status, out, err = ended(process)
    assert status == 130
    assert "1 FINISHED, 1 KILLED" in out
    assert "Traceback" not in err
    record = the_sweep(tmp_path)
    assert (record.status, [cell.status for cell in record.cells]) == ("KILLED", ["FINISHED", "KILLED"])


def test_a_killed_worker_takes_no_cell_with_it_and_the_sweep_goes_on_as_itself(tmp_path: Path) -> None:
    scenario(tmp_path, "joblib", seeds=1, tracked=False)


def test_a_search_goes_on_with_more_trials_and_tells_of_its_best(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="searches with Optuna: pip install 'sloop[sweep]'")
    words = (*SEARCH, SKILL, "hydra.sweeper.metric=eval/dev/call_accuracy", "teacher=acme,acme_broken")
    assert sloop(*words, "hydra.sweeper.n_trials=4") == 1
    out = capsys.readouterr().out
    assert "4 cells: 2 FAILED, 2 FINISHED" in out
    assert "what is not finished" not in out, "Optuna was told of what failed: it is not tried again"
    first = the_sweep()
    assert sloop(*words, "hydra.sweeper.n_trials=6") == 1
    out = capsys.readouterr().out
    record = the_sweep()
    assert record.id == first.id
    assert record.cells[:4] == first.cells
    scores = {
        run.folder: next(score for score in run.scores_at(1) if metric_name(score) == "eval/dev/call_accuracy")
        for run in find_runs(Path("outputs"))
        if run.record.status == "FINISHED"
    }
    assert len(scores) == Counter(cell.status for cell in record.cells)["FINISHED"] > 2
    best = max(scores.values(), key=lambda score: score.value or 0)
    assert f"= {best.value:.4f} [{best.low:.4f}, {best.high:.4f}]" in out
    assert f"best of {len(scores)} trials ({6 - len(scores)} failed)" in out
    assert f"n = {best.n}, trial" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("benchmark.name=bfcl_v4 hydra.sweeper.metric=eval/bfcl_v4/call_accuracy", "bfcl_v4 is a test set"),
        ("hydra.sweeper.metric=eval/other/call_accuracy", "the runs ask dev, not other"),
        ("label_noise=interval(-1,0.5)", "label_noise=-1"),
        ("trainer.gain=tag(log,interval(0,1))", "trainer.gain=tag(log,interval(0,1)): no range to search"),
        ("output_dir=mine", "two cells of the sweep are one run, mine"),
        ("hydra.sweeper.direction=up", "hydra.sweeper.direction=up: give maximize or minimize"),
        ("hydra.sweeper.n_jobs=0", "hydra.sweeper.n_jobs=0: give a whole number from 1"),
        ("student.skill=0.5", "no setting has a range to search"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_before_any_runs(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna", reason="searches with Optuna: pip install 'sloop[sweep]'")
    ranged = () if "student.skill" in words else (SKILL,)
    assert sloop(*SEARCH, "hydra.sweeper.metric=eval/dev/call_accuracy", *ranged, *words.split()) == 2
    assert said in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_a_metric_that_no_run_has_ends_a_search_with_its_first_trial(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="searches with Optuna: pip install 'sloop[sweep]'")
    assert sloop(*SEARCH, SKILL, "hydra.sweeper.metric=eval/dev/accuracy") == 2
    said = capsys.readouterr().err
    assert "The nearest that it has: eval/dev/" in said
    assert "eval/dev/harmonic_accuracy" in said
    assert len(list(find_runs(Path("outputs")))) == 1


def test_a_sweep_whose_command_was_killed_is_reaped_with_its_cells_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh_database(tmp_path / "mlruns")
    words = (*GEN, "teacher=acme,acme_fatal")
    process = start(*words, cwd=tmp_path)
    ended(process)
    assert (process.returncode, the_sweep().status) == (-signal.SIGKILL, "RUNNING")
    assert logged(tmp_path)["sweep", "RUNNING", False] == 1
    assert sloop("runs", "reap") == 0
    out = capsys.readouterr().out
    record = the_sweep()
    assert (record.status, [cell.status for cell in record.cells]) == ("KILLED", ["FINISHED", "KILLED"])
    assert out.count("marked as KILLED") == 2
    assert record.name in out
    assert logged(tmp_path) == Counter(
        {("sweep", "KILLED", False): 1, ("gen", "FINISHED", True): 1, ("gen", "KILLED", True): 1}
    )
    assert sloop("runs", "reap") == 0
    assert "marked" not in capsys.readouterr().out
    assert sloop(*words, "resume=true") == 0
    assert (the_sweep().id, the_sweep().status) == (record.id, "FINISHED")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_whose_command_was_killed_over_its_workers_goes_on(launcher: str, tmp_path: Path) -> None:
    """Workers end with it or finish their cells by themselves, as the launcher has it: either way nothing is twice."""
    fresh_database(tmp_path / "mlruns")
    words = (*GEN, "teacher=acme_slow", "seed=range(4)", *LAUNCHERS[launcher])
    process = start(*words, cwd=tmp_path)
    until = time.monotonic() + 200
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.kill()
    process.wait()  # and not for the end of its output, which its workers may hold
    assert the_sweep(tmp_path).status == "RUNNING"
    (tmp_path / "mended").touch()
    status, out, err = run_whole(tmp_path, *words, "resume=true")
    assert (status, "4 FINISHED" in out) == (0, True), out + err
    assert (the_sweep(tmp_path).status, [cell.status for cell in the_sweep(tmp_path).cells]) == (
        "FINISHED",
        ["FINISHED"] * 4,
    )
    assert logged(tmp_path) == Counter({("sweep", "FINISHED", False): 1, ("gen", "FINISHED", True): 4})


def test_cells_that_finished_and_were_not_logged_are_where_the_sweep_goes_on(tmp_path: Path) -> None:
    """As where the command was killed, and a worker that outlived it was ended before it could log."""
    assert sloop(*GEN, "seed=0,1", ALONE) == 0
    fresh_database(tmp_path / "mlruns")
    assert sloop(*GEN, "seed=0,1", "resume=true") == 0
    assert logged(tmp_path) == Counter({("sweep", "FINISHED", False): 1, ("gen", "FINISHED", True): 2})


def test_sync_delivers_a_sweep_that_was_not_logged_with_its_runs(tmp_path: Path) -> None:
    assert sloop(*GEN, "seed=0,1", ALONE) == 0
    fresh_database(tmp_path / "mlruns")
    assert sloop("runs", "sync") == 0
    assert logged(tmp_path) == Counter({("sweep", "FINISHED", False): 1, ("gen", "FINISHED", True): 2})


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_twelve_cells_one_broken_one_killed_then_resumed(launcher: str, tmp_path: Path) -> None:
    """Two jobs at a time that each import everything; ray and submitit from the extras ``ray`` and ``sweep``."""
    library = {"joblib": "joblib", "submitit_local": "submitit", "ray": "ray"}[launcher]
    pytest.importorskip(library, reason=f"launches by {library}: pip install 'sloop[sweep,ray]'")
    scenario(tmp_path, launcher, seeds=4, tracked=True)


@pytest.mark.slow
def test_four_processes_log_fifty_runs_each_to_a_database_that_is_not_there_yet(tmp_path: Path) -> None:
    assert sloop("gen", *acme(), "num_samples=4", "output_dir=run", ALONE) == 0
    started = [multiprocessing.get_context("spawn").Process(target=_log, args=(tmp_path, at, 50)) for at in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4
    assert logged(tmp_path) == Counter({("gen", "FINISHED", False): 200})


def _log(root: Path, process: int, runs: int) -> None:
    """Log copies of a run, each one of its own, as soon as all processes are there."""
    record = read_run(root / "run")
    folders = []
    for number in range(runs):
        folder = root / f"{process}-{number}"
        shutil.copytree(root / "run", folder)
        write_run(folder, record.model_copy(update={"id": f"{process}-{number}", "name": f"run {process}-{number}"}))
        folders.append(folder)
    (root / f"ready-{process}").touch()
    while len(list(root.glob("ready-*"))) < 4:
        time.sleep(0.01)
    tracker = connect(None, root / "mlruns", "acme")
    for folder in folders:
        tracker.project(folder)


def scenario(folder: Path, launcher: str, seeds: int, tracked: bool) -> None:
    """Cells of three teachers: one kills its first process, one fails until it is mended; then the sweep goes on."""
    words = (*GEN, "teacher=acme,acme_fatal,acme_broken", f"seed=range({seeds})", *LAUNCHERS[launcher])
    if tracked:
        fresh_database(folder / "mlruns")
    else:
        words = (*words, ALONE)
    status, out, err = run_whole(folder, *words)
    assert (status, f"{seeds} FAILED, {2 * seeds} FINISHED" in out) == (1, True), out + err
    assert (folder / "killed").exists()
    assert "Traceback" not in err
    if tracked:
        assert logged(folder) == Counter(
            {("sweep", "FAILED", False): 1, ("gen", "FAILED", True): seeds, ("gen", "FINISHED", True): 2 * seeds}
        )
    (folder / "mended").touch()
    status, out, err = run_whole(folder, *words, "resume=true")
    assert (status, f"{3 * seeds} FINISHED" in out) == (0, True), out + err
    assert f"{2 * seeds} of {3 * seeds} cells are finished" in out
    if tracked:
        assert logged(folder) == Counter({("sweep", "FINISHED", False): 1, ("gen", "FINISHED", True): 3 * seeds})
    assert [run.record.status for run in find_runs(folder / "outputs")] == ["FINISHED"] * 3 * seeds


def run_whole(folder: Path, *words: str) -> tuple[int, str, str]:
    process = start(*words, cwd=folder)
    out, err = process.communicate(timeout=1800)
    return process.returncode, out, err
