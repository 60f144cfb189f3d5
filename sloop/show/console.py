"""What a person sees while a command runs and when it ends: progress and tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from sloop.engine.folder import STAGE_FILE
from sloop.intake import Intake
from sloop.measures.overlap import CONTAMINATION, HOWS, Overlap
from sloop.models.preflight import Finding
from sloop.records import Rejected, Sample, Score
from sloop.runs.read import RUN_FILE, Run, find_runs, metric_name
from sloop.store import read_json

QUIET_SECONDS = 10.0
"""Without a terminal, progress is a line now and then."""

MAIN_METRICS = (
    ("call_accuracy", "call acc."),
    ("tool_accuracy", "tool"),
    ("argument_accuracy", "args"),
    ("format_correctness", "format"),
    ("no_call_accuracy", "no call"),
    ("false_refusal_rate", "refused"),
    ("judge_score", "judge"),
)
SOURCES = ("seed", "fresh", "unseen", "error", "expanded", "mastered")


def console(stderr: bool = False) -> Console:
    """Standard output, or standard error; wide enough for the tables where it is not a terminal."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=190)


class Progress:
    """One bar on a terminal, a line every few seconds elsewhere; on standard error."""

    def __init__(self, run: str = "") -> None:
        """Take the name to say with every line, where several runs may share the terminal."""
        self._run = f"{run} " if run else ""
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: Bars | None = None
        self._task: Any = None
        self._what = ""
        self._said = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Bars(*columns, console=self._console, transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def report(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        if self._bars:
            if what != self._what:
                if self._task is not None:
                    self._bars.remove_task(self._task)
                self._task = self._bars.add_task(self._run + what, total=total)
            self._bars.update(self._task, completed=done, total=total)
        elif done == total or time.monotonic() - self._said > QUIET_SECONDS:
            self._said = time.monotonic()
            self._console.print(f"[{self._said - self._began:6.1f} s] {self._run}{what}: {done}/{total}", markup=False)
        self._what = what


def rounds_table(runs: Sequence[Run], benchmark: str | None = None) -> Table:
    """Rounds x metrics; every rate in per cent with its 95% interval: whole for the main one, else half its width."""
    table = Table(title="no runs", title_justify="left")
    for name in ("run", "round"):
        table.add_column(name, no_wrap=True)
    for _, title in MAIN_METRICS:
        table.add_column(title, justify="right")
    table.add_column("label noise", justify="right")
    table.add_column("trained on", no_wrap=True)
    for run in runs:
        for content in run.rounds:
            scores = {metric_name(s): s for s in map(Score.model_validate, content["metrics"])}
            name = benchmark or next((key.split("/")[1] for key in scores if key.startswith("eval/")), "")
            cells = [
                _per_cent(scores.get(f"eval/{name}/{metric}"), whole=number == 0)
                for number, (metric, _) in enumerate(MAIN_METRICS)
            ]
            noise = _per_cent(scores.get("data/label_noise"))
            asked = scores.get(f"eval/{name}/{MAIN_METRICS[0][0]}")
            table.title = f"{run.record['study']}: rounds x metrics, {name}, n = {asked.n if asked else 0}"
            shares = [(s, scores.get(f"data/share/{s}")) for s in SOURCES]
            parts = " ".join(f"{s} {score.value * 100:.0f}" for s, score in shares if score and score.value)
            table.add_row(escape(run.name), str(content["round"]), *cells, noise, parts)
        table.add_section()
    return table


def scores_table(scores: Sequence[Score], title: str) -> Table:
    """One row a metric: value, interval, n; slices below."""
    table = Table(title=title, title_justify="left")
    for name in ("metric", "slice"):
        table.add_column(name)
    for name in ("value", "95% interval", "n"):
        table.add_column(name, justify="right")
    for score in scores:
        if score.value is None and score.slice:
            continue
        interval = (
            f"{score.low * 100:.1f} to {score.high * 100:.1f}"
            if score.low is not None and score.high is not None
            else ""
        )
        value = "not measured" if score.value is None else f"{score.value * 100:.1f}"
        table.add_row(score.name, score.slice, value, interval, str(score.n))
    return table


def contamination_table(found: Overlap) -> Table:
    """What a benchmark shares with training data, by slice; below, what the tools share."""
    title = f"{found.benchmark} in {found.train} training samples: how many of its samples stand there"
    table = Table(title=title, title_justify="left")
    table.add_column("slice")
    for name in ("samples", "same sample", "same request", "near request", "in all"):
        table.add_column(name, justify="right")
    for slice, counts in found.counts.items():
        parts = [counts[how] for how in HOWS]
        share = f"{sum(parts)} ({sum(parts) / counts['samples'] * 100:.1f}%)" if counts["samples"] else "0"
        table.add_row(escape(slice) or "all", *map(str, (counts["samples"], *parts)), share)
    table.caption = (
        f"near: {found.share:.0%} of a request's words or more in runs of {found.words} that training requests hold; "
        f"{found.short} requests are shorter than a run\n"
        f"tools: of {found.tools}, {found.tool_names} are there by name and {found.tool_schemas} by schema; they are "
        f"wanted in {found.samples_by_tool_name} and {found.samples_by_tool_schema} samples"
    )
    table.caption_justify = "left"
    return table


def _contamination_note(found: Overlap) -> str:
    said = zip(HOWS, ("as samples", "as requests", "nearly"), strict=True)
    parts = ", ".join(f"{found.counts[''][how]} {word}" for how, word in said)
    return (
        f"stand in training, of {found.samples} samples of {found.benchmark}: {parts}; see {CONTAMINATION} of a round"
    )


def print_contamination(found: Overlap) -> None:
    """The table, and the worst examples in pairs."""
    out = console()
    out.print(contamination_table(found))
    for match in found.worst:
        out.print(f"{match.how}, {match.share:.0%}: {match.sample_id} {match.request!r}", markup=False, soft_wrap=True)
        out.print(f"  in training: {match.train_id} {match.train_request!r}", markup=False, soft_wrap=True)


def findings_table(found: Sequence[Finding]) -> Table:
    """One row an endpoint: what a preflight found."""
    table = Table(title="endpoints", title_justify="left")
    for name in ("role", "address", "model", "answers", "tool calls", "structured output", "logprobs"):
        table.add_column(name)
    table.add_column("latency", justify="right")
    for one in found:
        logprobs = "-" if one.logprobs is None else "yes" if one.logprobs else "no"
        cells = (", ".join(one.roles), one.base_url, one.model, "yes", one.tools, one.structured_output or "-")
        table.add_row(*map(escape, cells), logprobs, f"{one.latency * 1000:.0f} ms")
    return table


def print_findings(found: Sequence[Finding]) -> None:
    """What the endpoints of a configuration can."""
    if found:
        console().print(findings_table(found))
    else:
        console().print("no endpoint is asked in this configuration: nothing to check")


def costs_table(run: Run) -> Table | None:
    """One row a role and round: what was asked of endpoints; None where nothing was."""
    rows = run.spent()
    if not rows:
        return None
    names = ("requests", "tries", "prompt_tokens", "cached_tokens", "completion_tokens", "cache_hits")
    table = Table(title="asked of endpoints", title_justify="left")
    for name in ("role", "round", "model"):
        table.add_column(name)
    for name in (*names, "dollars"):
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        cells = (row["role"], str(row["round"] or "-"), row["model"], *(f"{row[name]:,}" for name in names))
        table.add_row(*map(escape, cells), _dollars(row["dollars"]))
    if len(rows) > 1:
        parts = [row["dollars"] for row in rows]
        known = [part for part in parts if part is not None]
        total = sum(known) if len(known) == len(parts) else None
        sums = (f"{sum(row[name] for row in rows):,}" for name in names)
        table.add_section()
        table.add_row("all", "", "", *sums, _dollars(total))
    if unknown := sorted({row["model"] for row in rows if row["dollars"] is None}):
        table.caption = f"dollars unknown: no price, or uncounted tokens, of {escape(', '.join(unknown))}"
        table.caption_justify = "left"
    return table


def latency_table(run: Run) -> Table | None:
    """One row a role and round: how long endpoints took to reply; None where nothing was asked."""
    rows = run.latency()
    if not rows:
        return None
    table = Table(title="seconds from send to whole reply (in brackets: with failed tries and the waits after them)")
    table.title_justify = "left"
    for name in ("role", "round", "requests", "p50", "p90", "p99"):
        table.add_column(name, justify="left" if name == "role" else "right")
    for row in rows:
        pairs = ((row.p50, row.waited_p50), (row.p90, row.waited_p90), (row.p99, row.waited_p99))
        cells = (f"{latency:.3f} ({waited:.3f})" for latency, waited in pairs)
        table.add_row(escape(row.role), str(row.round or "-"), f"{row.requests:,}", *cells)
    return table


def _dollars(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def print_run(folder: Path, tracking_seconds: float) -> None:
    """What a finished run has to show, and where it is."""
    out = console()
    run = Run(folder, read_json(folder / RUN_FILE))
    if run.record["kind"] == "loop":
        out.print(rounds_table([run]))
        for row in run.rounds[-1].get("contamination", []):
            out.print(_contamination_note(Overlap.model_validate(row)), markup=False, soft_wrap=True)
        evaluations = sorted((folder / f"round_{run.last_round()}" / "evaluate").glob(f"*/{STAGE_FILE}"))
        _print_notes(run, [note for path in evaluations for note in read_json(path)["summary"].get("notes", [])])
    elif run.record.get("metrics"):
        scores = [Score.model_validate(row) for row in run.record["metrics"]]
        out.print(scores_table([s for s in scores if not s.name.startswith("contamination/")], run.name))
        _print_notes(run, read_json(folder / STAGE_FILE)["summary"].get("notes", []))
        for row in run.record.get("contamination", []):
            print_contamination(Overlap.model_validate(row))
    else:
        manifest = read_json(folder / STAGE_FILE)
        table = Table(title=run.name, title_justify="left")
        for name in ("file", "rows", "bytes", "sha256"):
            table.add_column(name, justify="left" if name in ("file", "sha256") else "right")
        for name, entry in manifest["files"].items():
            table.add_row(name, str(entry.get("rows", "")), str(entry["bytes"]), entry["sha256"][:16])
        out.print(table)
        out.print(f"summary: {manifest['summary']}", markup=False)
        _print_notes(run, [])
    if failed := ", ".join(f"{number} {what}" for what, number in run.failed().items() if number):
        out.print(f"could not be had: {failed}; the same command with retry_failed=true asks again for these alone")
    for shown in filter(None, (costs_table(run), latency_table(run))):
        out.print(shown)
    out.print(f"run folder: {folder}", markup=False, soft_wrap=True)
    if tracking_seconds:
        out.print(f"logged to MLflow in {tracking_seconds:.1f} CPU seconds; look with: sloop ui", markup=False)


def _print_notes(run: Run, notes: Sequence[str]) -> None:
    """What a reader must know, and how files in another form were read."""
    sources = [entry["source"] for entry in run.record.get("inputs", []) if "source" in entry]
    for note in dict.fromkeys([*notes, *(Intake.model_validate(source).note() for source in sources)]):
        console().print(f"note: {note}", markup=False, soft_wrap=True)


def print_sweep(study: Path) -> None:
    """The runs of a study side by side."""
    loops = [run for run in find_runs(study) if run.record["kind"] == "loop"]
    if loops:
        console().print(rounds_table(loops))


def print_preview(samples: Sequence[Sample | Rejected]) -> None:
    """Samples as a person reads them."""
    out = console()
    for number, sample in enumerate(samples, 1):
        if isinstance(sample, Rejected):
            out.print(f"{number}. rejected: {sample.reason} {sample.detail}", markup=False)
            continue
        label = sample.label
        out.print(f"{number}. {sample.kind}; tools: {', '.join(tool.name for tool in sample.tools)}", markup=False)
        for message in sample.messages:
            out.print(f"   {message.role}: {message.content}", markup=False)
        for call in label.calls if label else ():
            out.print(f"   -> {call.name}({_arguments(call.arguments)})", markup=False)
        if label and not label.calls:
            out.print(f"   -> {label.content}", markup=False)


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def _per_cent(score: Score | None, *, whole: bool = False) -> str:
    if score is None or score.value is None:
        return "-"
    text = f"{score.value * 100:.1f}"
    if score.low is None or score.high is None:
        return text
    if whole:
        return f"{text} [{score.low * 100:.1f}, {score.high * 100:.1f}]"
    return f"{text} ±{(score.high - score.low) * 50:.1f}"
