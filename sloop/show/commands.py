"""The commands beside the stages: tables, comparisons, runs, the MLflow UI."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table

from sloop.records import SweepRecord, UserError
from sloop.records.ranges import Port
from sloop.runs.cite import code_state
from sloop.runs.find import find_round, find_runs
from sloop.runs.sweeps import find_sweeps, read_sweep, reap
from sloop.show import pages, sweeps
from sloop.show.arguments import RUN_FORMS, of
from sloop.show.arguments import parser as _parser
from sloop.show.citing import check_bundle, cite
from sloop.show.compare import compare, tracked_at, tracked_there
from sloop.show.console import console
from sloop.show.diff import diff
from sloop.show.reproduce import reproduce
from sloop.show.story import show
from sloop.show.tables import rounds_tables


def run(command: str, arguments: Sequence[str]) -> None:
    """Run one command with its arguments."""
    _COMMANDS[command](arguments)


def version(arguments: Sequence[str]) -> None:
    """Print version, commit and Python."""
    _parser("version", "Print version, commit and Python.").parse_args(arguments)
    code = code_state()
    commit = code.commit or "not a checkout"
    dirty = " (with changes)" if code.dirty else ""
    console().print(f"sloop {code.version}, commit {commit}{dirty}, Python {platform.python_version()}")


def table(arguments: Sequence[str]) -> None:
    """Print rounds x metrics of a study's runs."""
    parser = _parser("table", "Rounds x metrics of the loops under a folder.")
    parser.add_argument("study", nargs="?", default="", help="folder under --outputs (default: all)")
    parser.add_argument("--sweep", action="store_true", help="for a paper: students and variants over seeds, compared")
    sweeps.asked(parser.add_argument_group("with --sweep"))
    options = parser.parse_args(arguments)
    if options.sweep:
        sweeps.print_table(options)
        return
    if given := [
        n for n, value in vars(options).items() if n not in ("study", "outputs") and value != parser.get_default(n)
    ]:
        parser.error(f"{', '.join(given)}: chosen among what --sweep shows: give --sweep as well")
    loops = [found for found in find_runs(options.outputs / options.study) if found.record.is_loop]
    if not loops:
        raise UserError(f"no loops under {options.outputs / options.study}. Make one with: sloop loop experiment=demo")
    for each in rounds_tables(loops):
        console().print(each)


def figures(arguments: Sequence[str]) -> None:
    """Write the figures of a loop or an evaluation: one page, or an image each."""
    parser = _parser("figures", "Figures of a loop or an evaluation: metrics, slices, kinds of error, with intervals.")
    parser.add_argument("run", metavar="RUN", help=RUN_FORMS)
    parser.add_argument("--out", type=Path, help="folder for the files (default: figures/ in the run's folder)")
    parser.add_argument("--format", choices=pages.FORMS, default="html", help="(default: html, one page with all)")
    options = parser.parse_args(arguments)
    run, number = find_round(options.outputs, options.run)
    found = pages.figures_of(run, number)
    if not found:
        raise UserError(f"run {run.name} has evaluated nothing yet, so there is nothing to draw.")
    out = options.out or run.folder / "figures"
    if not options.out and not out.resolve().is_relative_to(run.folder.resolve()):
        raise UserError(f"{out}: a link that leads out of the run's folder. Say where to write: --out FOLDER")
    files = {"figures": found} if options.format == "html" else {name: {name: found[name]} for name in found}
    for name, part in files.items():
        path = out / f"{name}.{options.format}"
        pages.save(part, run.name, path)
        console().say(f"figures: {path}")


def plot(arguments: Sequence[str]) -> None:
    """Write the figures of a sweep for print."""
    from sloop.show import plots

    plots.plot(arguments, _parser("plot", "Figures of a sweep for print: a metric by round, over seeds."))


def runs(arguments: Sequence[str]) -> None:
    """List the runs on disk, project them to MLflow again, or mark abandoned ones."""
    parser = _parser("runs", "Runs on disk.")
    parser.add_argument("action", nargs="?", choices=["list", "sync", "reap"], default="list")
    tracked_at(parser)
    options = parser.parse_args(arguments)
    found = find_runs(options.outputs)
    out = console()
    if options.action == "list":
        shown = Table("run", "study", "kind", "status", "began", "folder")
        for item in found:
            record = item.record
            cells = [record.name, record.study, record.kind, record.status, record.began, str(item.folder)]
            shown.add_row(*cells)
        out.print(shown)
        return
    from sloop.runs.destination import experiment_of
    from sloop.runs.track import Refused, connect

    uri, mlruns = tracked_there(options)
    refused: list[Refused] = []
    reaps = options.action == "reap"
    look: Callable[[Path], SweepRecord | None] = reap if reaps else read_sweep
    kept = [sweep for folder in find_sweeps(options.outputs) if (sweep := look(folder))]
    # A sweep's cells are known to be dead by their locks, on whatever host they ran
    dead = {Path(cell.folder).resolve() for sweep in kept for cell in sweep.cells if cell.status == "KILLED"}
    for study in sorted({item.record.study for item in found} | {sweep.study for sweep in kept}):
        tracker = connect(uri, mlruns, experiment_of(study), pages.page_of)
        of_study = [item for item in found if item.record.study == study]
        of_sweeps = [sweep for sweep in kept if sweep.study == study]
        for sweep in of_sweeps:  # first, for their runs are logged as theirs
            tracker.sweep(sweep)
        if reaps:
            running = [item for item in of_study if item.record.status == "RUNNING"]
            reaped = [item for item in running if item.folder.resolve() in dead or item.reap()]
            for item in reaped:
                tracker.project(item.folder)
            for name in [*(item.name for item in reaped), *(sweep.name for sweep in of_sweeps), *tracker.reap()]:
                out.say(f"marked as KILLED: {name}")
            continue
        for item in of_study:
            if item.is_running:  # two that log one run would make its rounds twice
                out.say(f"left to itself, as it is running and logs what it makes: {item.name}")
                continue
            try:
                tracker.project(item.folder)
            except Refused as error:
                refused.append(error)
            else:
                out.say(f"logged: {item.name}, to {tracker.where}")
    if refused:
        raise UserError("\n".join(f"not logged: {error}" for error in refused))


def ui(arguments: Sequence[str]) -> None:
    """Start a lean MLflow server on loopback and print deep links."""
    from sloop.runs.destination import tracking_uri

    parser = _parser("ui", "Start the MLflow UI on this machine and print links to charts and comparison.")
    parser.add_argument("--mlruns", type=Path, default=Path("mlruns"), help="folder of the database (default: mlruns)")
    parser.add_argument("--port", type=of(Port, "port"), default=5000)
    parser.add_argument("--links", action="store_true", help="print the links and start nothing")
    options = parser.parse_args(arguments)
    database = options.mlruns.resolve() / "mlflow.db"
    if not database.is_file():
        helps = (
            "Look at the server that MLFLOW_TRACKING_URI names"
            if tracking_uri(None)
            else "Run something first: sloop loop experiment=smoke"
        )
        raise UserError(f"no tracking database at {database}. {helps}.")
    if not options.links:
        _free(options.port)
    print_links(options.mlruns, f"http://127.0.0.1:{options.port}")
    if options.links:
        return
    # One worker and no job execution: the default starts 15 processes that hold 3 GB.
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
    command += ["--host", "127.0.0.1", "--port", str(options.port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # In place of this process: a signal that ends it ends the server, which would hold the port otherwise.
    os.execve(sys.executable, command, environment)


def _free(port: int) -> None:
    """Raise a `UserError` where another program listens on the port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"--port={port}: nothing can listen there ({error.strerror}). Another sloop ui may; its links are "
                f"printed by: sloop ui --links --port {port}. Or give a port that is free: sloop ui --port N"
            ) from error


def print_links(mlruns: Path, server: str) -> None:
    """Print the deep links of every study in the database."""
    from sloop.runs.track import connect, studies

    out = console()
    for study in studies(mlruns):
        tracker = connect(None, mlruns, study)
        for what, link in tracker.links(server).items():
            out.say(f"{study} {what}: {link}")


_COMMANDS = {
    "version": version,
    "table": table,
    "compare": compare,
    "diff": diff,
    "reproduce": reproduce,
    "figures": figures,
    "plot": plot,
    "show": show,
    "runs": runs,
    "ui": ui,
    "cite": cite,
    "check": check_bundle,
}
