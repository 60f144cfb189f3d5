"""``sloop cite`` and ``sloop check BUNDLE``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sloop.records import UserError
from sloop.records.ranges import Sha256
from sloop.runs.bundle import Tampered, read_bundle
from sloop.runs.check import check
from sloop.runs.find import find_run, find_runs
from sloop.show.arguments import RUN_FORMS, of, parser
from sloop.show.console import console


def cite(arguments: Sequence[str]) -> None:
    """Write the bundle of a run, and print what a paper says of it."""
    made = parser("cite", "Write a bundle of a run that others can check and repeat, and print its BibTeX.")
    made.add_argument("run", metavar="RUN", help=RUN_FORMS.partition(";")[0])
    made.add_argument("-o", "--out", type=Path, metavar="FILE.zip", help="(default: the run's name, in this folder)")
    made.add_argument("--with", dest="parts", action="append", choices=["weights"], default=[], help="put in as well")
    made.add_argument("--author", action="append", default=[], type=_author, help="'Given Family'; once for each")
    made.add_argument(
        "--license", default="", type=_licence, metavar="SPDX", help="of data and scores, such as CC-BY-4.0"
    )
    told = "which dataset on the Hub a benchmark is, for .eval_results"
    made.add_argument("--hub", action="append", default=[], type=_hub, metavar="BENCHMARK=OWNER/DATASET", help=told)
    options = made.parse_args(arguments)
    from sloop.runs.papers import Authorship, unfinished
    from sloop.runs.publish import publish

    run = find_run(options.outputs, options.run)
    out = options.out or Path(f"{run.name}.zip")
    if out.suffix != ".zip":
        raise UserError(f"--out {out}: a bundle is a zip. Give a name such as {out}.zip")
    by = Authorship(tuple(options.author), options.license)
    known = [*find_runs(options.outputs), *find_runs(run.folder.parent)] if run.record.sweep else []
    cited = publish(run, out, known, weights="weights" in options.parts, by=by, hub=dict(options.hub))
    terminal = console()
    if run.record.status != "FINISHED":
        terminal.say(f"note: {unfinished(run.record.status)}")
    for sentence in cited.manifest.unclean:
        terminal.say(f"note: {sentence}")
    for taken in cited.manifest.taken_out:
        terminal.say(f"taken out ({taken.what}): {taken.where}; now {taken.now}")
    for name, left in cited.manifest.left_out.items():
        terminal.say(f"left out: {name} ({left.why})")
    if cited.manifest.siblings:
        terminal.say(
            f"cite with it the other runs of its sweep ({len(cited.manifest.siblings)}); the manifest names them"
        )
    terminal.say(f"bundle: {cited.path}, {cited.path.stat().st_size} bytes, {len(cited.manifest.files) + 1} files")
    terminal.say(f"sha256 (of its manifest, which covers every file): {cited.sha256}")
    terminal.say(f"check it with: sloop check {cited.path} --sha256 {cited.sha256}")
    terminal.print(cited.bibtex, soft_wrap=True)


def _author(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("give a name, such as 'Ada Lovelace'")
    return text


def _licence(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.+-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: give an identifier of SPDX, such as CC-BY-4.0")
    return text


def _hub(text: str) -> tuple[str, str]:
    name, _, dataset = text.partition("=")
    if not name or dataset.count("/") != 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give BENCHMARK=OWNER/DATASET, such as bfcl=gorilla-llm/bfcl")
    return name, dataset


def check_bundle(arguments: Sequence[str]) -> None:
    """Compute every digest of a bundle again; exits with 1 where one does not match."""
    made = argparse.ArgumentParser(prog="sloop check", description="Compute everything in a bundle again and compare.")
    made.add_argument("bundle", type=Path, metavar="BUNDLE", help="zip, or the folder that it was unpacked to")
    made.add_argument("--sha256", type=of(Sha256, "sha256"), help="as a paper prints it")
    made.add_argument("--trust", action="store_true", help="pass over components that are not sloop's")
    options = made.parse_args(arguments)
    terminal = console()
    counts = [0, 0]
    try:
        for one in check(read_bundle(options.bundle), sha256=options.sha256, trust=options.trust):
            counts[bool(one.wrong)] += 1
            terminal.say(
                f"mismatch  {one.what}: {one.wrong}" if one.wrong else f"match     {one.what}  {one.told}".rstrip()
            )
    except Tampered as error:
        counts[1] += 1
        terminal.say(f"mismatch  {error}")
    terminal.say(f"{options.bundle}: {counts[0]} match, {counts[1]} do not")
    if counts[1]:
        sys.exit(1)
