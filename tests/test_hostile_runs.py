"""A run from elsewhere is data: whatever stands in it, nothing is run, opened outside, connected to or coloured."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import re
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import hostile
import pytest
from hostile import FORMULAS, MARKUP, MODULE, ODD, SECRET, STEERING, Found, everywhere, kinds, leading, put, watched
from markdown_it import MarkdownIt
from rich.console import Console
from rich.errors import MarkupError
from rich.table import Table
from running import ALONE, CONF, fresh_database, questions, sloop

from sloop.records import RoundRecord, RunRecord, StageRecord, Unreadable, UserError
from sloop.runs.index import INDEX_FILE
from sloop.runs.read import Run
from sloop.runs.track import connect
from sloop.show.compare import as_csv, as_latex, as_markdown
from sloop.show.console import Terminal, visible
from sloop.store import Dataset, read_json, write_json, write_rows

RECORDS = {"run.json": RunRecord, "round.json": RoundRecord, "stage.json": StageRecord}
ASKED = Path("round_1", "evaluate", "dev")


class Listening:
    """A server that nobody should connect to."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.connections += 1
            connection.close()


@dataclass(frozen=True)
class Elsewhere:
    """Runs that were really made, and what lies beside them."""

    root: Path
    server: Listening

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    def run(self, name: str) -> Path:
        return self.outputs / "acme" / name

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/"

    @property
    def sentinel(self) -> Path:
        return self.outside / "sentinel"

    def watched(self, jobs: Sequence[dict[str, Any]]) -> list[Found]:
        """Carry out jobs under watch; nothing may come of any of them but output."""
        work = self.root / "work"
        work.mkdir(exist_ok=True)
        before = {path: path.read_bytes() for path in sorted(self.outside.rglob("*")) if path.is_file()}
        allowed = [self.root / name for name in ("outputs", "mlruns", "drawn", "linked")]
        found = watched(jobs, allowed, work, self.sentinel)
        assert {path: path.read_bytes() for path in sorted(self.outside.rglob("*")) if path.is_file()} == before
        assert self.server.connections == 0
        return found


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """A loop of two rounds, an evaluation and a probe; a file that is nobody's business, and a server."""
    found = Elsewhere(tmp_path_factory.mktemp("elsewhere"), Listening())
    few = found.root / "outputs" / "few.jsonl"
    write_rows(few, itertools.islice(Dataset(questions()), 0, None, 8))
    acme = ("--config-dir", str(CONF), "experiment=acme", f"benchmark.path={few}", "loop.rounds=2", "loop.budget=20")
    scripted = ("student=scripted", "name=acme", ALONE)
    asked = ("benchmark=jsonl", f"benchmark.path={few}", "benchmark.name=dev")
    assert sloop("loop", *acme, ALONE, f"output_dir={found.run('loop')}") == 0
    assert sloop("eval", *asked, *scripted, f"output_dir={found.run('eval')}") == 0
    assert sloop("probe", f"data={few}", *scripted, f"output_dir={found.run('probe')}") == 0
    few.unlink()
    for path in found.outputs.rglob("run.json"):  # as if the stranger had logged it
        record = read_json(path)
        record["mlflow"] = {"run_id": "0" * 32, "experiment_id": "1", "rounds": {"1": "x"}, "cost": {}}
        record["config"]["tracking"] = {"enabled": True, "uri": found.address}
        write_json(path, record)
    found.outside.mkdir()
    row = {"id": SECRET, "messages": [SECRET], "sample_id": SECRET}
    (found.outside / "secret.jsonl").write_text(json.dumps(row) + "\n")
    fresh_database(found.root / "mlruns")
    return found


def texts(elsewhere: Elsewhere) -> tuple[str, ...]:
    """Every hostile string."""
    return (*leading(elsewhere.outside, elsewhere.server.port), *STEERING, *MARKUP, *FORMULAS, *ODD)


def samples(folder: Path) -> list[str]:
    """An id of a sample for each file of rows that speaks of one."""
    ids: dict[str, str] = {}
    for path in sorted(folder.rglob("*.jsonl")):
        first = path.read_text().partition("\n")[0]
        if first and path.name != "truth.jsonl":
            ids[path.name] = json.loads(first).get("sample_id") or json.loads(first).get("id")
    return sorted({found for found in ids.values() if found})


def commands(elsewhere: Elsewhere, run: str, sample_id: str) -> list[list[str]]:
    """Every command that reads runs and writes nothing but a picture."""
    at, outputs = str(elsewhere.run(run)), ["--outputs", str(elsewhere.outputs)]
    drawn = str(elsewhere.root / "drawn" / "x.html")
    formats = [
        ["compare", at, at, "--benchmark", "dev", "--format", form] for form in ("text", "markdown", "latex", "csv")
    ]
    return [
        ["table", *outputs],
        ["runs", *outputs],
        ["show", at, sample_id, *outputs],
        *formats,
        ["compare", "full", "full", "--study", "acme", "--figure", drawn, *outputs, "--slices"],
        ["figures", at, *outputs],
    ]


def logged(elsewhere: Elsewhere) -> list[list[str]]:
    """The commands that bring the reader's own tracking up to date, and say where to look."""
    mlruns = ["--mlruns", str(elsewhere.root / "mlruns")]
    return [["runs", "sync", "--outputs", str(elsewhere.outputs), *mlruns], ["ui", "--links", *mlruns]]


def harmless(found: Sequence[Found]) -> None:
    """Nothing came of it but a result, or a sentence."""
    for row in found:
        what = f"{row.job}: sloop {row.command}\n{row.out[-600:]}\n{row.broke}"
        assert not row.broke, what
        assert row.status in (0, 2), what
        assert not row.events, f"{row.events}\n{what}"
        assert visible(row.out) == row.out, what
        assert SECRET not in row.out, what
        assert row.status == 0 or "\n" not in row.out.strip(), what


def python(folder: Path, *ids: str) -> list[str]:
    return ["python", f"whole({', '.join(map(repr, (str(folder), *ids)))})"]


FILES = {
    "loop": (
        "run.json", "round_1/round.json", f"{ASKED}/stage.json", f"{ASKED}/grades.jsonl", f"{ASKED}/predictions.jsonl",
        f"{ASKED}/judgements.jsonl", "round_1/optimize/rulings.jsonl", "questions/dev.jsonl.gz",
    ),
    "eval": ("run.json",),
    "probe": ("run.json",),
}  # fmt: skip
NUMBERS = [(run, name) for run, names in FILES.items() for name in names]
WHOLE = ("config", "parts", "overrides", "code", "versions", "cost", "latency", "contamination", "files")
"""Parts of records that are kept, and of which next to nothing is asked: all strings of one are changed together."""


def content(path: Path) -> list[Any]:
    """The record in a file, or its rows."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [json.loads(text)] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def written(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def changes(row: Any, known: set[Any], new: Iterator[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """A row with one string or key changed, place by place, each kind of place once: place, what is new, the row."""
    for at in kinds(row):
        kind = tuple(part for part in at if not isinstance(part, int))
        if kind not in known and not (at[0] in WHOLE and len(at) > 3 and at[-2:] != ("name",)):
            known.add(kind)
            yield at, (value := next(new)), put(row, at, value)
    for part in WHOLE:
        if part in row and (part, "*") not in known:
            known.add((part, "*"))
            for value in itertools.islice(new, 3):
                changed = everywhere(row[part], [value], lambda _: True) if isinstance(value, str) else value
                yield (part, "*"), value, {**row, part: changed}


def by_job(found: Sequence[Found]) -> dict[str, list[Found]]:
    """What came of jobs, by the beginning of their names."""
    told: dict[str, list[Found]] = {}
    for row in found:
        told.setdefault(row.job.partition(" ")[0], []).append(row)
    return told


@pytest.fixture(scope="module")
def read(elsewhere: Elsewhere) -> dict[str, list[Found]]:
    """What came of whole runs, in one process, as it takes seconds to start one."""
    return by_job(elsewhere.watched([*whole_jobs(elsewhere), *linked_jobs(elsewhere)]))


@pytest.fixture(scope="module")
def strings(elsewhere: Elsewhere) -> dict[str, list[Found]]:
    """What came of runs of which one string was changed, every string in its turn: hundreds of commands."""
    jobs: list[dict[str, Any]] = []
    known: dict[str, set[Any]] = {}
    for run, name in NUMBERS:
        folder = elsewhere.run(run)
        rows = content(folder / name)
        sample_id = rows[0].get("sample_id") or rows[0]["id"] if Path(name).suffix != ".json" else samples(folder)[0]
        spoken = commands(elsewhere, run, sample_id)[: 7 if run == "loop" else 3]
        turns = itertools.cycle([spoken[2]] if Path(name).suffix != ".json" else [*spoken, python(folder, sample_id)])
        new = itertools.cycle([*texts(elsewhere), hostile.target(elsewhere.sentinel)])
        for at, value, row in changes(rows[0], known.setdefault(Path(name).name, set()), new):
            files = {str(folder / name): written([row, *rows[1:]])}
            jobs.append({"name": f"{run}/{name} {at} = {value!r:.80}", "files": files, "commands": [next(turns)]})
    return by_job(elsewhere.watched(jobs))


def whole_jobs(elsewhere: Elsewhere) -> Iterator[dict[str, Any]]:
    """Runs as they are, with all strings hostile at once, and with all but those by which things find each other."""
    loop = elsewhere.run("loop")
    every = [*commands(elsewhere, "loop", samples(loop)[0]), *logged(elsewhere)]
    for name in ("loop", "eval", "probe"):
        own = [python(elsewhere.run(name), *samples(elsewhere.run(name)))]
        yield {"name": "untouched", "files": {}, "commands": own + (every if name == "loop" else [])}
    new = [f"{STEERING[0]}{STEERING[2]}{''.join(MARKUP)}", f"{FORMULAS[0]}[red]<b>", "_", elsewhere.address]
    spared = (
        "metrics.*.name",
        "config.benchmark.name",
        "config.variant.name",
        "study",
        "kind",
        "parts.data.0",
        "parts.data",
    )
    for told, left in (("all", ()), ("nearly", spared)):
        files = {}
        for name in (
            "run.json",
            *(str(p.relative_to(loop)) for n in ("round.json", "stage.json") for p in loop.rglob(n)),
        ):
            kind = RECORDS[Path(name).name]
            files[str(loop / name)] = written([everywhere(row, new, reads(kind), left) for row in content(loop / name)])
        yield {"name": told, "files": files, "commands": every if left else [*every[:4], *every[-2:]]}


def reads(kind: type[Any]) -> Callable[[Any], bool]:
    def allowed(value: Any) -> bool:
        try:
            kind.read(value, "")
        except Unreadable:
            return False
        return True

    return allowed


@pytest.mark.slow
@pytest.mark.parametrize(("run", "name"), NUMBERS)
def test_any_string_of_a_run_may_be_hostile(strings: dict[str, list[Found]], run: str, name: str) -> None:
    harmless(strings[f"{run}/{name}"])
    assert len(strings[f"{run}/{name}"]) > 5


@pytest.mark.parametrize("how", ["untouched", "all", "nearly"])
def test_all_strings_of_a_run_may_be_hostile_at_once(read: dict[str, list[Found]], how: str) -> None:
    harmless(read[how])
    assert how == "all" or {row.status for row in read[how]} == {0}, [row for row in read[how] if row.status]


@pytest.mark.slow
def test_enough_was_tried(read: dict[str, list[Found]], strings: dict[str, list[Found]]) -> None:
    assert sum(map(len, (*read.values(), *strings.values()))) > 300


LINKED = (
    "run.json", "round_1", "round_1/round.json", f"{ASKED}", f"{ASKED}/stage.json", f"{ASKED}/grades.jsonl",
    f"{ASKED}/predictions.jsonl", f"{ASKED}/card.md", "round_1/train/sidecar/loss.jsonl", "sidecar/usage.jsonl",
    "questions", "questions/dev.jsonl.gz", "more.jsonl", "seed", INDEX_FILE, f"{INDEX_FILE}-journal", "figures",
)  # fmt: skip


@pytest.mark.parametrize("place", LINKED)
def test_no_link_is_followed_out_of_a_run(elsewhere: Elsewhere, read: dict[str, list[Found]], place: str) -> None:
    harmless(read[f"link:{place}"])
    there = (elsewhere.root / "linked" / place.replace("/", "-") / place).resolve()
    assert there == elsewhere.outside / "run" / place or place == INDEX_FILE  # which is put in the link's place


def test_no_secret_is_logged(elsewhere: Elsewhere, read: dict[str, list[Found]]) -> None:
    kept = [path for path in (elsewhere.root / "mlruns").rglob("*") if path.is_file()]
    assert any(path.name == "grades.jsonl" for path in kept)
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def linked_jobs(elsewhere: Elsewhere) -> Iterator[dict[str, Any]]:
    """Runs of which one place is a link to the same outside, where a secret stands in every file."""
    loop, away = elsewhere.run("loop"), elsewhere.outside / "run"
    shutil.copytree(loop, away)
    secret = (elsewhere.outside / "secret.jsonl").read_text()
    for path in away.rglob("*"):
        if path.suffix in (".jsonl", ".md"):
            path.write_text(path.read_text() + secret)
    for place in LINKED:
        folder = shutil.copytree(loop, elsewhere.root / "linked" / place.replace("/", "-"))
        shutil.rmtree(folder / place) if (folder / place).is_dir() else (folder / place).unlink(missing_ok=True)
        (folder / place).parent.mkdir(exist_ok=True, parents=True)
        if not (there := away / place).exists():
            there.parent.mkdir(exist_ok=True, parents=True)
            there.write_text(secret)
        (folder / place).symlink_to(there)
        at = str(folder)
        words = [["show", at, samples(loop)[0]], ["show", at, SECRET[:6]]]
        words += [["compare", at, at, "--benchmark", "dev", "--round", "1"]]
        if Path(place).suffix in (".md", ".jsonl") or place.startswith("round_1"):
            words += [["runs", "sync", "--outputs", at, "--mlruns", str(elsewhere.root / "mlruns")]]
        words += [["figures", at]] if place == "figures" else []
        yield {"name": f"link:{place} ", "files": {}, "commands": words}


INDEXES = {
    "another table": "DROP TABLE files; CREATE TABLE files (path); INSERT INTO files VALUES ('{outside}/secret.jsonl')",
    "no end": "DROP TABLE lines; CREATE VIEW lines AS "
    "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, 1 whole, '' path, 0 offset FROM n;",
    "a trigger": "CREATE TRIGGER t AFTER DELETE ON files BEGIN DELETE FROM lines; END;",
    "a file outside": "INSERT INTO files VALUES ('{outside}/secret.jsonl', 1, 1);"
    "INSERT INTO lines VALUES ('{secret}', 1, '{outside}/secret.jsonl', 0), ('{id}', 1, '{outside}/secret.jsonl', 0);",
    "text that is none": "INSERT INTO lines VALUES ('{id}', 0, CAST(x'ff00fe' AS TEXT), 0), (x'ff', 'x', 1, NULL);",
    "a way out": "UPDATE lines SET path = '../../outside/secret.jsonl';",
    "before the beginning": "UPDATE lines SET offset = -5;",
    "behind the end": "UPDATE lines SET offset = 9223372036854775807;",
    "another's line": "UPDATE lines SET offset = 'x';",
}
TOLD = {
    "a way out": "question of sample",
    "before the beginning": "is not a Sample",
    "behind the end": "is not a Sample",
    "another's line": "is not a",
}
"""An index in the form of ours that lies is found out; any other is made anew, and nobody notices."""


@pytest.mark.parametrize("what", [*INDEXES, "no database", "cut short"])
def test_an_index_that_a_run_brings_says_no_more_than_places_in_it(
    elsewhere: Elsewhere, what: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(elsewhere.run("loop"), tmp_path / "outputs" / "s" / "run")
    shutil.copytree(elsewhere.outside, tmp_path / "outputs" / "outside", ignore=shutil.ignore_patterns("run"))
    sample_id = next(iter(Dataset(folder / "seed" / "portions" / "unseen_2.jsonl"))).id
    sample = Run.at(folder).sample(sample_id).sample
    path = folder / INDEX_FILE
    if what == "cut short":
        path.write_bytes(path.read_bytes()[:-5000])
    elif what == "no database":
        path.write_text("no database, and long enough to be seen as none " * 30)
    else:
        with closing(sqlite3.connect(path)) as database:
            database.executescript(INDEXES[what].format(outside=elsewhere.outside, secret=SECRET, id=sample_id))
    if what in TOLD:
        with pytest.raises(UserError, match=TOLD[what]):
            Run.at(folder).sample(sample_id)
    else:
        assert Run.at(folder).sample(sample_id).sample == sample
    with pytest.raises(UserError):
        Run.at(folder).sample(SECRET)


def test_each_kind_of_harm_is_done_where_it_is_asked_for(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """The positive control: what the runs above would have others do makes the sentinel, or is seen by the watch."""
    sentinel = tmp_path / "sentinel"
    secret, port = elsewhere.outside / "secret.jsonl", elsewhere.server.port
    plain = {"_target_": f"{MODULE}.Touch", "path": str(sentinel)}  # within another one it is refused even so
    asked = {
        "imported": f"__import__({MODULE!r})",
        "built": f"__import__('sloop.engine.build').engine.build.build({plain!r}, 'x')",
        "opened": f"open({str(secret)!r}).read()",
        "linked": f"__import__('os').symlink({str(secret)!r}, 'l.jsonl') or open('l.jsonl').read()",
        "indexed": f"__import__('sqlite3').connect({str(secret)!r})",
        "connected": f"__import__('socket').create_connection(('127.0.0.1', {port})).close()",
        "asked for": f"__import__('mlflow').MlflowClient('http://127.0.0.1:{port}/').search_experiments()",
        "executed": "__import__('subprocess').run(['true'])",
        "written": f"__import__('pathlib').Path({str(tmp_path / 'new')!r}).mkdir()",
    }
    work = tmp_path / "work"
    work.mkdir()
    jobs = [{"name": name, "files": {}, "commands": [["python", said]]} for name, said in asked.items()]
    found = watched(jobs, (), work, sentinel)
    assert [row.job for row in found if not row.events] == []
    assert sentinel.is_file()
    assert Path(f"{sentinel}-imported").is_file()
    assert elsewhere.server.connections > 0
    assert SECRET in next(row.out for row in found if row.job == "linked")


def test_an_experiment_of_any_name_keeps_its_artifacts_beside_the_database(tmp_path: Path) -> None:
    fresh_database(tmp_path / "deep" / "mlruns")
    tracker = connect(None, tmp_path / "deep" / "mlruns", "../../../out")
    run = tracker.client.create_run(tracker.experiment_id)
    tracker.client.log_text(run.info.run_id, "x", "x.txt")
    assert list((tmp_path / "deep" / "mlruns").rglob("x.txt"))


def test_what_harms_a_terminal_a_table_or_a_page_is_there_in_what_is_printed_plainly() -> None:
    told = io.StringIO()
    plain = Console(file=told, force_terminal=True)
    for text in (*STEERING, MARKUP[1], MARKUP[2]):
        plain.print(text)
    assert "\x1b[31m" in told.getvalue()
    assert "\u202e" in told.getvalue()
    assert "\x1b]8;" in told.getvalue(), "a link of another's"
    with pytest.raises(MarkupError):
        plain.print(MARKUP[0])


@pytest.mark.parametrize("text", [*STEERING, *MARKUP, *FORMULAS, "\ud800", "\u2028", "line\nline"])
def test_a_terminal_shows_text_as_it_is_spelled(text: str) -> None:
    told = io.StringIO()
    terminal = Terminal(file=told, force_terminal=True, width=100, color_system=None)
    table = Table(text, title=text)
    table.add_row(text)
    terminal.print(table)
    terminal.print(text)
    terminal.say(text)
    shown = re.sub("\x1b\\[[013]m", "", told.getvalue())  # a table's own bold and slanted heads
    assert visible(shown) == shown
    assert told.getvalue().count(visible(text, keep="").split("\\")[0]) >= 3
    assert told.getvalue().splitlines()[-1] == visible(text, keep="")


@pytest.mark.parametrize("text", [*FORMULAS, "\t=1", "\r=1", "＝1+1", "@x", "=1\n=2"])
def test_a_cell_is_no_formula_and_a_number_stays_one(text: str) -> None:
    (head, row) = csv.reader(io.StringIO(as_csv([text, "A"], [[text, "-1.5"]])))
    assert head[0] == row[0]
    assert row[0][0] not in "=+-@\t\r＝" or row[0] == text.strip("=") == "-2+3"
    assert row[1] == "-1.5"
    assert next(csv.reader(io.StringIO(f'"{text}"')))[0][0] == text[0], "the control: quotes alone do not help"


@pytest.mark.parametrize("number", ["1.5", "+1.2", "-0.3", "-", "1e-05", "-3.1 to +2.0", "12"])
def test_our_numbers_are_written_as_they_are(number: str) -> None:
    assert as_csv(["n"], [[number]]) == f"n\n{number}\n"


@pytest.mark.parametrize(
    "text", ["a|b", "`x`", "<b>b</b>", "[a](javascript:b)", "![a](b)", "https://x.y", "a\n|b", "&lt;"]
)
def test_a_markdown_cell_reads_as_it_is_spelled(text: str) -> None:
    (_, _, row) = as_markdown(["what"], [[text]]).splitlines()
    shown = MarkdownIt("gfm-like", {"linkify": False}).render(as_markdown(["what"], [[text]]))
    assert row.count("|") - row.count("\\|") == 2
    assert escape(visible(text, keep=""), quote=False) in shown
    assert not {"<b>", "<a", "<img", "<code"} & set(re.findall("<[a-z]+>?", shown))


@pytest.mark.parametrize("text", ["\\input{x}", "$x$", "a & b", "50%", "#1", "[2pt]", "*", "a_b", "\x1b[31m"])
def test_a_latex_cell_gives_no_orders(text: str) -> None:
    row = as_latex(["what", "n"], [["first", "1"], [text, "1"]]).splitlines()[5]
    bare = re.sub(r"\\textbackslash\{\}|\\[&%$#_{}~^]|\{[\[*]\}", "", row.removesuffix(r" & 1 \\"))
    assert not set(bare) & set("\\&%$#_{}^~"), row
    assert row[0] not in "[*"
