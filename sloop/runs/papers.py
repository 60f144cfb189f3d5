"""What people read of a bundle: ``CITATION.cff`` and a paragraph of methods in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from sloop.measures.constants import HEADLINE, constant_of
from sloop.runs.bundle import Manifest, Measured

NOBODY = "The authors of the run"
"""Where none were named."""


class Authorship(NamedTuple):
    """Whose a run is; nothing where nobody has said so."""

    authors: tuple[str, ...] = ()
    licence: str = ""
    """Of its data and scores: an identifier of SPDX."""

    @property
    def licence_url(self) -> str:
        """Where the licence is read."""
        return f"https://spdx.org/licenses/{self.licence}"


def people(by: Authorship) -> list[dict[str, str]]:
    """Authors in the form of CITATION.cff: the last word of a name is its family's."""
    found = []
    for name in by.authors:
        given, _, family = name.strip().rpartition(" ")
        found.append({"family-names": family, "given-names": given} if given else {"name": family})
    return found or [{"name": NOBODY}]


def citation(manifest: Manifest, by: Authorship) -> str:
    """A CITATION.cff 1.2.0 of the run as a dataset, and of the code that made it."""
    run = manifest.run
    software: dict[str, Any] = {
        "type": "software",
        "title": "sloop: the closed data loop for LLM tool calling, measured and citable",
        "authors": [{"name": "The sloop authors"}],
        "version": run.code.version,
    }
    if run.code.commit:
        software["commit"] = run.code.commit
    plain = {
        "cff-version": "1.2.0",
        "message": "If you use this run, cite it by its id and by the SHA-256 of its manifest.json.",
        "title": f"sloop run {run.name} of the study {run.study}",
        "type": "dataset",
        "authors": people(by),
        "date-released": (run.finished or run.began)[:10],
        **({"license": by.licence} if by.licence else {}),
        "version": run.config_hash[:8],
        "identifiers": [
            {"type": "other", "value": f"urn:sloop:run:{run.id}", "description": "Id of the run."},
            {"type": "other", "value": run.config_hash, "description": "Hash of the run's configuration."},
        ],
        "references": [software],
    }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


# --- methods ------------------------------------------------------------------------------------------------------


def methods(manifest: Manifest) -> str:
    """A paragraph of methods, and the overall scores of the last round with n and interval."""
    run = manifest.run
    last = max((one.round for one in manifest.metrics), default=0)
    overall = [one for one in manifest.metrics if not one.slice and one.round == last and one.name.startswith("eval/")]
    sentences = [*_how(manifest), *_where(manifest), *_doubts(manifest)]
    lines = [f"# Methods: {plain(run.name)}", "", " ".join(sentences), ""]
    if overall:
        when = f"after round {last}" if run.is_loop else "of the evaluation"
        lines += [f"Scores {when}, in per cent:", "", "| metric | value | 95% interval | n |", "|---|---|---|---|"]
        lines += [_row(one) for one in overall]
        lines += [
            "",
            "Intervals of shares are Wilson's at the effective sample size (those of one cluster say less than as many "
            f"others); that of `{HEADLINE}` is MOVER's. A mean has Student's, an official mean the normal one. "
            "`baseline/` are answers that read no question. With one seed an interval covers the choice of samples "
            "alone.",
        ]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Anybody's text, in one line and kept from being read as markup."""
    shown = "".join(mark if mark.isprintable() else " " for mark in text)
    return " ".join(shown.split()).replace("<", "&lt;").replace("|", "\\|").replace("`", "'").replace("](", "]\\(")


def _row(one: Measured) -> str:
    name = f"| {plain(one.name)} "
    if one.value is None:
        return f"{name}| not measured | | {one.n} |"
    interval = "" if one.low is None or one.high is None else f"{one.low * 100:.1f} to {one.high * 100:.1f}"
    return f"{name}| {one.value * 100:.1f} | {interval} | {one.n} |"


def _how(manifest: Manifest) -> Iterator[str]:
    run = manifest.run
    what = f"`{plain(run.name)}` is a {run.kind} of the study {plain(run.study)}, seed {run.seed}"
    yield f"{what} (sloop {run.code.version}, configuration {run.config_hash[:16]})."
    student, variant = plain(run.called("student")), plain(run.called("variant"))
    if run.is_loop:
        yield f"The student {student} was trained under the variant {variant} in rounds."
    elif student:
        yield f"The student was {student}."
    for one in run.rounds:
        if one.data:
            missing = f" ({one.data.shortfall} fewer than asked for)" if one.data.shortfall else ""
            yield f"Round {one.round} trained on {one.data.rows} samples{missing}, sha256 {one.data.sha256[:16]}."
    for remote in manifest.remotes:
        returned = ", ".join(map(plain, remote.returned)) or "no reply was counted"
        yield f"The {remote.role} was {plain(remote.asked)} behind an endpoint ({returned})."
    asked = {one.name.split("/")[1]: one.n for one in manifest.metrics if _counts_all(one)}
    for benchmark, number in asked.items():
        yield f"It was evaluated on {plain(benchmark)}, n = {number}."


def unfinished(status: str) -> str:
    """What is said of a run that did not finish; of one that is gone nobody wrote how it ended."""
    return "The run was cut off before its end." if status == "RUNNING" else f"The run ended as {status}."


def _counts_all(one: Measured) -> bool:
    return (
        one.name.startswith("eval/")
        and one.name.endswith("/model_errors")
        and not one.slice
        and not constant_of(one.name)
    )


def _where(manifest: Manifest) -> Iterator[str]:
    run = manifest.run
    gpus = ", ".join(run.machine.gpus) or "no GPU"
    yield f"It ran on {plain(run.machine.system)} ({plain(run.machine.processor)}, {run.machine.cpus} CPUs, {gpus})"
    libraries = ", ".join(
        f"{name} {run.versions[name]}" for name in ("torch", "transformers") if run.versions.get(name)
    )
    yield f"with Python {run.versions.get('python')}{f', {libraries}' if libraries else ''}."
    spent = [row.get("dollars") for row in run.cost]
    if spent:
        known = [dollars for dollars in spent if isinstance(dollars, int | float)]
        yield f"Endpoints cost {sum(known):.4f} dollars{'' if len(known) == len(spent) else ' and more'}."


def _doubts(manifest: Manifest) -> Iterator[str]:
    run = manifest.run
    if run.status != "FINISHED":
        yield unfinished(run.status)
    if run.resumed:
        yield f"It was resumed {run.resumed} times."
    if manifest.unclean:
        yield f"Of the code: {plain('; '.join(manifest.unclean))}."
    if manifest.siblings:
        yield f"It is one of {len(manifest.siblings) + 1} runs of a sweep; the manifest names all."
