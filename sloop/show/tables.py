"""What a person sees when a command ends: tables, and the notes beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from sloop.engine.folder import read_stage
from sloop.intake import Intake
from sloop.measures.constants import HEADLINE, constant_of, said
from sloop.measures.metrics import worth_showing
from sloop.measures.overlap import CONTAMINATION, HOWS, Overlap
from sloop.models.preflight import Finding
from sloop.records import Rejected, Sample, Score, StageRecord
from sloop.runs.find import find_runs
from sloop.runs.read import Run, failures, metric_name
from sloop.show.console import console

MAIN_METRICS = (
    ("call_accuracy", "call acc."),
    (HEADLINE, "harmonic"),
    ("tool_accuracy", "tool"),
    ("argument_accuracy", "args"),
    ("format_correctness", "format"),
    ("no_call_accuracy", "no call"),
    ("false_refusal_rate", "refused"),
    ("judge_score", "judge"),
)
RUN_METRICS = (("execution_success", "executed"),)
"""Shown beside them where something was run."""
FORMAT = next(place for place, (name, _) in enumerate(MAIN_METRICS) if name == "format_correctness")
SOURCES = ("seed", "fresh", "unseen", "error", "expanded", "mastered")


def rounds_tables(runs: Sequence[Run]) -> Iterator[Table]:
    """`rounds_table` for every benchmark that they were evaluated on; one where there is none yet."""
    names = (score.name.split("/") for run in runs for _, score in run.scores())
    yield from (rounds_table(runs, name) for name in dict.fromkeys(n[1] for n in names if n[0] == "eval") or [None])


def rounds_table(runs: Sequence[Run], benchmark: str | None = None) -> Table:
    """Rounds x metrics; every rate in per cent with its 95% interval: whole for the main one, else half its width.

    Beside the format stands in brackets what a lenient reading gets more. Below stand the answers that read no
    question, on the same samples.
    """
    table = Table(title="no runs", title_justify="left")
    for name in ("run", "round"):
        table.add_column(name, no_wrap=True)
    measured = {score.name.rpartition("/")[2] for run in runs for _, score in run.scores() if score.value is not None}
    shown = (*MAIN_METRICS, *(metric for metric in RUN_METRICS if metric[0] in measured))
    for _, title in shown:
        table.add_column(title, justify="right")
    table.add_column("label noise", justify="right")
    table.add_column("trained on", no_wrap=True)
    constants: dict[tuple[str, ...], None] = {}
    for run in runs:
        for round in run.rounds:
            scores = {metric_name(score): score for score in round.metrics}
            name = benchmark or next((key.split("/")[1] for key in scores if key.startswith("eval/")), "")
            cells = _main_cells(scores, f"eval/{name}/", shown)
            strict, lenient = (scores.get(f"eval/{name}/format_{how}") for how in ("correctness", "recovered"))
            if strict and lenient and (more := (lenient.value or 0) - (strict.value or 0)):
                cells[FORMAT] += f" (+{more * 100:.1f})"
            answers = dict.fromkeys(told[0] for key in scores if (told := constant_of(key)))
            constants |= {
                (said(answer), "-", *_main_cells(scores, f"eval/{name}/baseline/{answer}/", shown)): None
                for answer in answers
            }
            noise = _per_cent(scores.get("data/label_noise"))
            asked = scores.get(f"eval/{name}/{MAIN_METRICS[0][0]}")
            table.title = f"{run.record.study}: rounds x metrics, {name}, n = {asked.n if asked else 0}"
            shares = [(s, scores.get(f"data/share/{s}")) for s in SOURCES]
            parts = " ".join(f"{s} {score.value * 100:.0f}" for s, score in shares if score and score.value)
            if (lost := scores.get("train/left_out")) and lost.value:
                parts += f" ({lost.value:.0f} left out)"
            table.add_row(run.name, str(round.round), *cells, noise, parts)
        table.add_section()
    for row in constants:
        table.add_row(*row)
    return table


def _main_cells(scores: Mapping[str, Score], prefix: str, shown: Sequence[tuple[str, str]]) -> list[str]:
    return [_per_cent(scores.get(f"{prefix}{name}"), whole=not number) for number, (name, _) in enumerate(shown)]


def _table(title: str, words: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """Columns of words, then columns of numbers."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in words:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def scores_table(scores: Sequence[Score], title: str) -> Table:
    """One row a metric that tells something: value, interval, n, and what the answers that read no question get; slices
    below.
    """
    table = _table(title, ("metric", "slice"), ("value", "95% interval", "n"))
    constants = {(*told, score.slice): score for score in scores if (told := constant_of(score.name))}
    answers = list(dict.fromkeys(answer for answer, _, _ in constants))
    for answer in answers:
        table.add_column(said(answer), justify="right")
    for score in worth_showing(scores):
        if constant_of(score.name) or (score.value is None and score.slice):
            continue
        interval = (
            f"{score.low * 100:.1f} to {score.high * 100:.1f}"
            if score.low is not None and score.high is not None
            else ""
        )
        value = "not measured" if score.value is None else f"{score.value * 100:.1f}"
        beside = [constants.get((answer, score.name, score.slice)) for answer in answers]
        theirs = ["" if other is None or other.value is None else f"{other.value * 100:.1f}" for other in beside]
        table.add_row(score.name, score.slice, value, interval, str(score.n), *theirs)
    return table


def files_table(stage: StageRecord, title: str) -> Table:
    """One row a file that a stage made."""
    table = Table(title=title, title_justify="left")
    for name in ("file", "rows", "bytes", "sha256"):
        table.add_column(name, justify="left" if name in ("file", "sha256") else "right")
    for name, file in stage.files.items():
        table.add_row(name, "" if file.rows is None else str(file.rows), str(file.bytes), file.sha256[:16])
    return table


def contamination_table(found: Overlap) -> Table:
    """What a benchmark shares with training data, by slice; below, what the tools share."""
    title = f"{found.benchmark} in {found.train} training samples: how many of its samples stand there"
    table = _table(title, ["slice"], ("samples", "same sample", "same request", "near request", "in all"))
    for slice, counts in found.counts.items():
        parts = [counts[how] for how in HOWS]
        share = f"{sum(parts)} ({sum(parts) / counts['samples'] * 100:.1f}%)" if counts["samples"] else "0"
        table.add_row(slice or "all", *map(str, (counts["samples"], *parts)), share)
    table.caption = (
        f"near: {found.share:.0%} of a request's words or more in runs of {found.words} that training requests hold; "
        f"{found.short} requests are shorter than a run\n"
        f"tools: of {found.tools}, {found.tool_names} are there by name and {found.tool_schemas} by schema; they are "
        f"wanted in {found.samples_by_tool_name} and {found.samples_by_tool_schema} samples"
    )
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
        out.say(f"{match.how}, {match.share:.0%}: {match.sample_id} {match.request!r}")
        out.say(f"  in training: {match.train_id} {match.train_request!r}")


def findings_table(found: Sequence[Finding]) -> Table:
    """One row an endpoint: what a preflight found."""
    words = ("role", "address", "model", "answers", "tool calls", "structured output", "logprobs")
    table = _table("endpoints", words, ["latency"])
    for one in found:
        logprobs = "-" if one.logprobs is None else "yes" if one.logprobs else "no"
        cells = (", ".join(one.roles), one.base_url, one.model, "yes", one.tools, one.structured_output or "-")
        table.add_row(*cells, logprobs, f"{one.latency * 1000:.0f} ms")
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
    numbers = [name.replace("_", " ") for name in (*names, "dollars")]
    table = _table("asked of endpoints", ("role", "round", "model"), numbers)
    for row in rows:
        cells = (row.role, str(row.round or "-"), row.model, *(f"{getattr(row, name):,}" for name in names))
        table.add_row(*cells, _dollars(row.dollars))
    if len(rows) > 1:
        parts = [row.dollars for row in rows]
        known = [part for part in parts if part is not None]
        total = sum(known) if len(known) == len(parts) else None
        sums = (f"{sum(getattr(row, name) for row in rows):,}" for name in names)
        table.add_section()
        table.add_row("all", "", "", *sums, _dollars(total))
    if unknown := sorted({row.model for row in rows if row.dollars is None}):
        table.caption = f"dollars unknown: no price, or uncounted tokens, of {', '.join(unknown)}"
    return table


def latency_table(run: Run) -> Table | None:
    """One row a role and round: how long endpoints took to reply; None where nothing was asked."""
    rows = run.latency()
    if not rows:
        return None
    title = "seconds from send to whole reply (in brackets: with failed tries and the waits after them)"
    table = _table(title, ["role"], ("round", "requests", "p50", "p90", "p99"))
    for row in rows:
        pairs = ((row.p50, row.waited_p50), (row.p90, row.waited_p90), (row.p99, row.waited_p99))
        cells = (f"{latency:.3f} ({waited:.3f})" for latency, waited in pairs)
        table.add_row(row.role, str(row.round or "-"), f"{row.requests:,}", *cells)
    return table


def _dollars(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def print_run(folder: Path, tracked: str, tracking_seconds: float) -> None:
    """What a finished run has to show, where it is, and where it was logged (empty: nowhere)."""
    out = console()
    run = Run.at(folder)
    record = run.record
    if record.is_loop:
        for table in rounds_tables([run]):
            out.print(table)
        for found in run.rounds[-1].contamination:
            out.say(_contamination_note(Overlap.model_validate(found)))
        asked = f"round_{run.last_round()}/evaluate/"
        _print_notes(
            run,
            [
                note
                for place, stage in run.stages.items()
                if place.startswith(asked) or stage.name == "gen"
                for note in stage.notes
            ],
        )
    elif scores := [score for score in record.metrics if score.name.startswith("eval/")]:
        out.print(scores_table(scores, run.name))
        _print_notes(run, read_stage(folder).notes)
        for found in record.contamination:
            print_contamination(Overlap.model_validate(found))
    else:
        stage = read_stage(folder)
        out.print(files_table(stage, run.name))
        counted = {key: value for key, value in stage.summary.items() if key != "notes"}
        out.print(f"summary: {counted}")
        _print_notes(run, stage.notes)
    if failed := ", ".join(f"{number} {what}" for what, number in failures(folder).items() if number):
        out.print(f"could not be had: {failed}; the same command with retry_failed=true asks again for these alone")
    for shown in filter(None, (costs_table(run), latency_table(run))):
        out.print(shown)
    out.say(f"run folder: {folder}")
    if tracked:
        look = "" if "://" in tracked else "; look with: sloop ui"
        out.say(f"logged to MLflow at {tracked}, in {tracking_seconds:.1f} CPU seconds{look}")


def _print_notes(run: Run, notes: Sequence[str]) -> None:
    """What a reader must know, and how files in another form were read."""
    sources = [Intake.model_validate(given.source) for given in run.record.inputs if given.source]
    for note in dict.fromkeys([*notes, *(source.note() for source in sources)]):
        print_note(note)


def print_note(note: str) -> None:
    """What a person must know, in a sentence."""
    console().say(f"note: {note}")


def print_sweep(study: Path) -> None:
    """The runs of a study side by side."""
    loops = [run for run in find_runs(study) if run.record.is_loop]
    for table in rounds_tables(loops) if loops else ():
        console().print(table)


def print_preview(samples: Sequence[Sample | Rejected]) -> None:
    """Samples as a person reads them."""
    out = console()
    for number, sample in enumerate(samples, 1):
        if isinstance(sample, Rejected):
            out.print(f"{number}. rejected: {sample.reason} {sample.detail}")
            continue
        label = sample.label
        out.print(f"{number}. {sample.kind}; tools: {', '.join(tool.name for tool in sample.tools)}")
        for message in sample.messages:
            out.print(f"   {message.role}: {message.content}")
        for call in label.calls if label else ():
            out.print(f"   -> {call.name}({_arguments(call.arguments)})")
        if label and not label.calls:
            out.print(f"   -> {label.content}")


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
