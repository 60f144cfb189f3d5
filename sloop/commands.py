"""The commands beside the stages: tables, comparisons, runs, the MLflow UI."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from sloop.cite import code_state
from sloop.console import console, rounds_table
from sloop.evaluate.stats import Comparison, compare_paired, compare_runs
from sloop.history import Run, find_run, find_runs
from sloop.types import UserError


def run(command: str, arguments: Sequence[str]) -> None:
    """Run one command with its arguments."""
    _COMMANDS[command](arguments)


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"sloop {command}", description=description)
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of the runs (default: outputs)")
    return parser


def version(arguments: Sequence[str]) -> None:
    """Print version, commit and Python."""
    _parser("version", "Print version, commit and Python.").parse_args(arguments)
    code = code_state()
    commit = code["commit"] or "not a checkout"
    dirty = " (with changes)" if code.get("dirty") else ""
    console().print(f"sloop {code['version']}, commit {commit}{dirty}, Python {platform.python_version()}")


def table(arguments: Sequence[str]) -> None:
    """Print rounds x metrics of a study's runs."""
    parser = _parser("table", "Rounds x metrics of the loops under a folder.")
    parser.add_argument("study", nargs="?", default="", help="folder under --outputs (default: all)")
    options = parser.parse_args(arguments)
    loops = [found for found in find_runs(options.outputs / options.study) if found.record["kind"] == "loop"]
    if not loops:
        raise UserError(f"no loops under {options.outputs / options.study}. Make one with: sloop loop experiment=demo")
    console().print(rounds_table(loops))


def compare(arguments: Sequence[str]) -> None:
    """Print the paired comparison of two runs, or of two variants over all seeds of a study."""
    parser = _parser("compare", "Paired comparison on the same sample ids: call_accuracy of A minus that of B.")
    parser.add_argument("a", help="run (folder, or the beginning of its name), or a variant with --study")
    parser.add_argument("b", help="likewise")
    parser.add_argument("--study", help="compare two variants over all seeds of this study")
    parser.add_argument("--student", help="with --study: of this student alone")
    parser.add_argument("--benchmark", help="(default: the first that A was evaluated on)")
    parser.add_argument("--round", type=int, help="(default: the last that both have)")
    options = parser.parse_args(arguments)
    shown = Table(title_justify="left")
    for name in ("what", "round", "A", "B", "A - B", "95% interval", "p", "n"):
        shown.add_column(name, justify="left" if name == "what" else "right")
    if options.study is None:
        a, b = (find_run(options.outputs, what) for what in (options.a, options.b))
        number = options.round or _last_round(a, b)
        benchmark = options.benchmark or a.benchmark()
        found = compare_paired(*_correct(a, b, benchmark, number))
        shown.add_row(*_row("samples, McNemar exact", number, found))
    else:
        runs = [found for found in find_runs(options.outputs / options.study) if found.record["kind"] == "loop"]
        students = sorted({found.student for found in runs})
        if not runs or options.student not in (None, *students):
            who = options.student or "any student"
            raise UserError(f"study {options.study} has no loops of {who}; its students: {students}.")
        for student in students:
            if options.student in (None, student):
                number, pairs = _pairs(runs, student, options)
                benchmark = options.benchmark or pairs[0][0].benchmark()
                found = compare_runs([_correct(a, b, benchmark, number) for a, b in pairs])
                shown.add_row(*_row(f"{student}, {len(pairs)} seeds", number, found))
    shown.title = escape(f"A = {options.a}, B = {options.b}, call_accuracy on {benchmark}")
    console().print(shown)


def _pairs(runs: Sequence[Run], student: str, options: argparse.Namespace) -> tuple[int, list[tuple[Run, Run]]]:
    """Both variants' runs of each seed, and the round to compare."""
    arms: list[dict[int, Run]] = [{}, {}]
    for arm, variant in zip(arms, (options.a, options.b), strict=True):
        for found in runs:
            if found.variant != variant or found.student != student:
                continue
            if (other := arm.setdefault(found.record["seed"], found)) is not found:
                raise UserError(
                    f"study {options.study} has two runs of {variant} with seed {found.record['seed']}: {other.name} "
                    f"and {found.name}. Compare them by name, or move one of them away."
                )
    seeds = sorted(set(arms[0]) & set(arms[1]))
    if not seeds:
        have = sorted({found.variant for found in runs})
        raise UserError(f"study {options.study} has no seed with both {options.a} and {options.b}; variants: {have}.")
    pairs = [(arms[0][seed], arms[1][seed]) for seed in seeds]
    return options.round or min(_last_round(a, b) for a, b in pairs), pairs


def _last_round(a: Run, b: Run) -> int:
    last = min(len(a.rounds), len(b.rounds))
    if not last:
        raise UserError(f"{a.name} or {b.name} has no complete round yet; the same loop command resumes it.")
    return last


def _correct(
    a: Run, b: Run, benchmark: str, number: int
) -> tuple[dict[str, bool | None], dict[str, bool | None], dict[str, str]]:
    """Right or wrong by sample id, in both runs, and each sample's cluster."""
    grades = [found.grades(benchmark, number) for found in (a, b)]
    first, second = ({sample_id: grade.correct for sample_id, grade in part.items()} for part in grades)
    return first, second, {sample_id: grade.cluster for sample_id, grade in grades[0].items()}


def _row(what: str, number: int, found: Comparison) -> list[str]:
    values = (f"{value * 100:.1f}" for value in (found.a, found.b))
    interval = f"{found.low * 100:+.1f} to {found.high * 100:+.1f}"
    p = "-" if found.p_value is None else f"{found.p_value:.2g}"
    return [
        escape(what),
        str(number),
        *values,
        f"{found.delta * 100:+.1f}",
        interval,
        p,
        str(found.n),
    ]


def runs(arguments: Sequence[str]) -> None:
    """List the runs on disk, project them to MLflow again, or mark abandoned ones."""
    parser = _parser("runs", "Runs on disk.")
    parser.add_argument("action", nargs="?", choices=["list", "sync", "reap"], default="list")
    parser.add_argument("--mlruns", type=Path, default=Path("mlruns"), help="folder of the database (default: mlruns)")
    parser.add_argument("--uri", help="tracking server instead of --mlruns")
    options = parser.parse_args(arguments)
    found = find_runs(options.outputs)
    out = console()
    if options.action == "list":
        shown = Table("run", "study", "kind", "status", "began", "folder")
        for item in found:
            record = item.record
            cells = [item.name, record["study"], record["kind"], record["status"], record["began"], str(item.folder)]
            shown.add_row(*map(escape, cells))
        out.print(shown)
        return
    from sloop.track import connect

    for study in sorted({item.record["study"] for item in found}):
        tracker = connect(options.uri, options.mlruns, study)
        of_study = [item for item in found if item.record["study"] == study]
        if options.action == "reap":
            reaped = [item for item in of_study if item.reap()]
            for item in reaped:
                tracker.project(item.folder)
            for name in [*(item.name for item in reaped), *tracker.reap()]:
                out.print(f"marked as KILLED: {name}", markup=False)
            continue
        for item in of_study:
            tracker.project(item.folder)
            out.print(f"logged: {item.name}", markup=False)


def ui(arguments: Sequence[str]) -> None:
    """Start a lean MLflow server on loopback and print deep links."""
    parser = _parser("ui", "Start the MLflow UI on this machine and print links to charts and comparison.")
    parser.add_argument("--mlruns", type=Path, default=Path("mlruns"), help="folder of the database (default: mlruns)")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--links", action="store_true", help="print the links and start nothing")
    options = parser.parse_args(arguments)
    database = options.mlruns.resolve() / "mlflow.db"
    if not database.is_file():
        raise UserError(f"no tracking database at {database}. Run something first: sloop loop experiment=smoke")
    print_links(options.mlruns, f"http://127.0.0.1:{options.port}")
    if options.links:
        return
    # One worker and no job execution: the default starts 15 processes that hold 3 GB.
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
    command += ["--host", "127.0.0.1", "--port", str(options.port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)


def print_links(mlruns: Path, server: str) -> None:
    """Print the deep links of every study in the database."""
    from sloop.track import connect, studies

    out = console()
    for study in studies(mlruns):
        tracker = connect(None, mlruns, study)
        if loops := tracker.loops():
            for what, link in tracker.links(server, loops).items():
                out.print(f"{study} {what}: {link}", markup=False, soft_wrap=True)


_COMMANDS = {"version": version, "table": table, "compare": compare, "runs": runs, "ui": ui}
