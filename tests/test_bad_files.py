"""A stranger's files: whatever is wrong with one, a sentence names it; and the sound one is read."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from damage import kinds
from models import ask
from test_benchmarks_acebench import bench as acebench
from test_benchmarks_acebench import folder as ace_files
from test_benchmarks_bfcl import bench as bfcl
from test_benchmarks_bfcl import folder as bfcl_files

from sloop.benchmarks.jsonl import JsonlBenchmark
from sloop.intake import open_dataset
from sloop.models.environment import load_env
from sloop.models.replay import Replay
from sloop.models.usage import read_usage
from sloop.records import Prediction, Sample, Tool, ToolCall, UserError
from sloop.simulation.templates import load_templates
from sloop.store import Cache, Dataset, line_of, predictions_at, read_json, read_rows
from sloop.tools.sources import load_tools

CALL = ToolCall(name="get_weather", arguments={"city": "Rome"})
SAMPLE = line_of(ask("weather in Rome", CALL)).encode()
DIALOGUE = b'{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}\n'
TOOL = b'{"type": "function", "function": {"name": "ping"}}'
ANSWER = line_of(Prediction(sample_id="0" * 32)).encode()


def openai(path: Path) -> int:
    return len(open_dataset(path, form="openai", chosen="all", cache=path.parent / "cache"))


def benchmark(path: Path) -> int:
    settings: dict[str, Any] = {"form": "auto", "decisions": "all", "sha256": None, "known_bad": [], "max_left_out": 0}
    cache = str(path.parent / "cache")
    return len(JsonlBenchmark(name="b", path=str(path), skip_known_bad=False, cache_path=cache, **settings).data)


def env(path: Path) -> int:
    load_env(path)
    return 1


READERS: dict[str, tuple[bytes, Callable[[Path], int]]] = {
    "tools.json": (b"[" + TOOL + b"]", lambda path: len(load_tools(path))),
    "tools.jsonl": (TOOL, lambda path: len(load_tools(path))),
    "tools.json.gz": (b"[" + TOOL + b"]", lambda path: len(load_tools(path))),
    "tools.jsonl.gz": (TOOL, lambda path: len(load_tools(path))),
    "data.jsonl": (SAMPLE, lambda path: len(list(read_rows(path, Sample)))),
    "data.jsonl.gz": (SAMPLE, lambda path: len(list(Dataset(path).pick(Dataset(path).ids())))),
    "dialogues.jsonl": (DIALOGUE, openai),
    "dialogues.jsonl.gz": (DIALOGUE, openai),
    "predictions.jsonl": (ANSWER, lambda path: len(predictions_at(path).ids())),
    "benchmark.jsonl": (SAMPLE, benchmark),
    "benchmark.jsonl.gz": (SAMPLE, benchmark),
    ".env": (b"SLOOP_WEAK_MODEL=small\n", env),
    "templates.yaml": (b"chat: []\n", lambda path: len(load_templates(str(path)).joins) or 1),
}
CASES = [(name, kind) for name in READERS for kind in kinds(name)]


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", READERS)
def test_a_sound_file_is_read_with_a_mark_of_the_byte_order_and_without(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOOP_WEAK_MODEL", "")
    content, read = READERS[name]
    for mark in (b"", b"\xef\xbb\xbf"):
        assert read(put(tmp_path / name, mark + content)) >= 1


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_whatever_is_wrong_with_a_file_is_a_sentence_that_names_it(name: str, kind: str, tmp_path: Path) -> None:
    content, read = READERS[name]
    damage, words = kinds(name)[kind]
    damage(tmp_path / name, content)
    with pytest.raises(UserError, match=words) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", [name for name in READERS if name != ".env"])
@pytest.mark.parametrize(
    ("beyond", "words"),
    [
        ("gone-{}", "no such file"),
        ("x" * 300 + "-{}", "longer than a file's may be"),
        ("a\0b-{}", r"a\\x00b-.*no file can have this name"),
        ("file/{}", "no folder"),
    ],
)
def test_a_path_that_no_file_has_is_named(name: str, beyond: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=words):
        READERS[name][1](tmp_path / beyond.format(name))


@contextmanager
def nobody() -> Iterator[Path]:
    """A folder for a user who may not do everything."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # noqa: PTH101
        if (before := os.geteuid()) == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_may_not_be_read_is_named(name: str) -> None:
    with nobody() as folder:
        content, read = READERS[name]
        put(folder / name, content).chmod(0)
        with pytest.raises(UserError, match="there is no permission for it") as caught:
            read(folder / name)
        assert name in str(caught.value)


BENCHMARKS = {
    "BFCL_v4_simple_python.json": (bfcl_files, bfcl),
    "possible_answer/BFCL_v4_multiple.jsonl.gz": (bfcl_files, bfcl),
    "data_normal_single_turn_single_function.json": (ace_files, acebench),
    "possible_answer/data_normal_single_turn_single_function.json": (ace_files, acebench),
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in BENCHMARKS for kind in kinds(name)])
def test_an_official_file_that_is_damaged_is_named(name: str, kind: str, tmp_path: Path) -> None:
    files, made = BENCHMARKS[name]
    folder = files.__wrapped__(tmp_path)  # type: ignore[attr-defined]
    assert len(made(folder).data)
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    damage, words = kinds(name)[kind]
    damage(path, gzip.decompress(whole) if path.suffix == ".gz" else whole)
    with pytest.raises(UserError, match=words) as caught:
        _ = made(folder).data
    assert path.name in str(caught.value)


ODD = [
    {"question": 1},
    {"question": []},
    {"question": [[1]]},
    {"question": [[{"role": "robot", "content": "x"}]]},
    {"question": [[{"role": "user", "content": {"a": 1}}]]},
    {"function": None},
    {"function": [None]},
    {"function": [{"name": 5, "parameters": {}}]},
    {"function": [{"name": "f", "parameters": []}]},
    {"function": [{"name": "f", "parameters": {"properties": {"a": {"type": ["string"]}}, "required": 5}}]},
    {"id": 5},
    {"id": None},
]
ODD_ANSWERS = [{"ground_truth": value} for value in (5, [5], [{}], [{"f": 5}], [{"f": {"a": 5}}], {"f": []}, [None])]


@pytest.mark.parametrize("change", [*ODD, *ODD_ANSWERS], ids=json.dumps)
def test_an_official_entry_of_another_form_is_named(change: dict[str, Any], tmp_path: Path) -> None:
    folder = bfcl_files.__wrapped__(tmp_path)  # type: ignore[attr-defined]
    path = folder / ("possible_answer" if "ground_truth" in change else "") / "BFCL_v4_multiple.json"
    if "ground_truth" in change:
        packed = path.with_suffix(".jsonl.gz")
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **change}), *rest]))
    with pytest.raises(UserError, match=r"BFCL_v4_multiple|of multiple|multiple_0"):
        _ = bfcl(folder).data


# --- what sloop itself keeps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "pipe", "endless", "link to nowhere", "link to itself", "huge"])
@pytest.mark.parametrize(
    "read",
    [read_usage, lambda path: Replay(None, mode="use", path=path)],  # type: ignore[arg-type, list-item]
    ids=["usage", "replies"],
)
def test_what_stands_in_the_place_of_a_growing_file_is_named(
    kind: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    damage, words = kinds("x.jsonl")[kind]
    damage(tmp_path / "lines.jsonl", b"")
    with pytest.raises(UserError, match=words):
        read(tmp_path / "lines.jsonl")


@pytest.mark.parametrize(
    "row", [5, [], {}, {"role": 5, "model": "m"}, {"role": "r", "model": "m", "requests": "many"}, {"role": "judge"}]
)
def test_a_line_that_says_nothing_of_a_cost_is_named(row: Any, tmp_path: Path) -> None:
    (tmp_path / "usage.jsonl").write_text('{"role": "judge", "model": "m", "requests": 1}\n' + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"usage\.jsonl, byte 47: not a line that says what a request cost"):
        read_usage(tmp_path / "usage.jsonl")


@pytest.mark.parametrize("line", ["", "{", "5", '{"key": 5, "value": 1}', '{"key": "k"}', "[" * 5000, "\ud800"])
def test_a_line_of_kept_replies_that_is_none_is_passed_over(line: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(line.encode(errors="surrogatepass") + b"\n")
    assert Cache(tmp_path / "r.jsonl").torn_lines == bool(line)


@pytest.mark.parametrize("content", ["", "{", "\ufeff[1", "[" * 5000, '"\\ud800"', "NaN", "9" * 5000])
def test_a_json_file_that_is_none_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=r"x\.json: (broken JSON|it is empty)"):
        read_json(tmp_path / "x.json")


def test_what_is_nested_as_deep_as_may_be_is_read_again_wherever_sloop_puts_it(tmp_path: Path) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(57):
        schema = {"items": schema}
    row = {"type": "function", "function": {"name": "deep", "parameters": {"properties": {"a": schema}}}}
    (tool,) = load_tools(put(tmp_path / "tools.json", json.dumps([row]).encode()))
    sample = ask("go deep", ToolCall(name="deep", arguments={}), tools=(tool,))
    assert list(read_rows(put(tmp_path / "data.jsonl", line_of(sample).encode()), Sample)) == [sample]
    with pytest.raises(UserError, match="nested more than 64 deep"):
        load_tools(put(tmp_path / "tools.json", json.dumps([[[[[row]]]]]).encode()))


@pytest.mark.parametrize("arguments", [{"a": float("nan")}, {"a": "\ud800"}, {"a": 10**400}, {"a": {1, 2}}])
def test_a_call_holds_nothing_that_no_file_can(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"arguments|JSON|surrogate|digits"):
        ToolCall(name="f", arguments=arguments)
    assert Tool(name="f", parameters={}).name == "f"
