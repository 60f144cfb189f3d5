"""Files of records: rows and datasets."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from sloop.records import (
    EnvSpec,
    Label,
    Lineage,
    Message,
    Sample,
    Score,
    Tool,
    ToolCall,
    UserError,
    canonical_json,
)
from sloop.store import (
    Dataset,
    Rows,
    checkpoint_at,
    file_digest,
    folder_digest,
    from_datasets,
    line_of,
    read_json,
    read_rows,
    to_datasets,
    write_bytes,
    write_json,
    write_rows,
    writing,
)


def _tool(name, **properties):
    return Tool(name=name, parameters={"type": "object", "properties": properties})


TIMER = _tool("set_timer", minutes={"type": "integer", "minimum": 1})


ROOM = _tool("heat_room", target={"type": "object", "properties": {"room": {"type": "string"}}})


def _sample(number, value=None, tools=(TIMER, ROOM), **changes):
    arguments = {"minutes": number} if value is None else value
    return Sample(
        tools=tools,
        messages=(Message(role="user", content=f"request {number} – “é”\u2028"),),
        label=Label(calls=(ToolCall(name="set_timer", arguments=arguments),)),
        group=f"g{number}",
        **changes,
    )


SAMPLES = [_sample(n) for n in range(5)]


MIXED = [
    _sample(1, {"minutes": 1}),
    _sample(2, {"minutes": 1.0}, kind="single"),
    _sample(3, {"target": {"room": "attic", "degrees": None}}, tools=(ROOM,), copies=2),
    _sample(4, {"days": [1, 2.0, "x"], "on": True}, tools=(), env=EnvSpec(toolkit="bank", state={"a": [1.0, None]})),
    _sample(5, {}, source="expanded", lineage=Lineage(stage="expand", round=2, parents=("p", "q"), axis="values")),
    Sample(tools=(TIMER,), messages=(Message(role="tool", content="ok", tool_call_id="call_0"),), label=None),
]


def _dataset(path, samples):
    write_rows(path, samples)
    return Dataset(path)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_rows_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.jsonl"

    def broken():
        yield SAMPLES[0]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_rows(path, broken())
    assert not path.exists()


def test_a_row_of_a_sample_begins_with_its_id():
    assert line_of(SAMPLES[0]).startswith(f'{{"id": "{SAMPLES[0].id}"')


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_rows_come_back_equal_and_in_order(tmp_path, name):
    assert write_rows(tmp_path / name, MIXED) == len(MIXED)
    assert list(read_rows(tmp_path / name, Sample)) == MIXED


def test_arguments_keep_1_and_1_0_apart_through_a_row(tmp_path):
    data = _dataset(tmp_path / "x.jsonl", MIXED)
    said = [canonical_json(s.label.calls[0].arguments) for s in data if s.label]
    assert said[:2] == ['{"minutes":1}', '{"minutes":1.0}']


@pytest.mark.filterwarnings("error")
def test_gzipped_text_repeats_its_bytes_and_is_closed(tmp_path):
    for name in ("a.gz", "b.gz"):
        with writing(tmp_path / name, pack=name.endswith(".gz")) as file:
            file.write("é\n".encode())
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == "é\n".encode()


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"tools": []}', '{"turn": NaN}', '{"tools": [], "messages": [], "nonsense": 1}']
)
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    path = tmp_path / "x.jsonl"
    path.write_text(line_of(SAMPLES[0]) + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.jsonl, line 2, is not a Sample"):
        list(read_rows(path, Sample))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*gone"):
        Dataset(tmp_path / "gone.jsonl")


def test_a_folder_digest_covers_names_and_bytes_but_no_sidecar(tmp_path):
    (tmp_path / "a").write_text("1")
    before = folder_digest(tmp_path)
    (tmp_path / "sidecar").mkdir()
    (tmp_path / "sidecar" / "clock").write_text("now")
    (tmp_path / ".cache").write_text("x")
    assert folder_digest(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder_digest(tmp_path) != before


def test_a_checkpoint_is_a_folder_with_config_json(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at"):
        checkpoint_at(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert checkpoint_at(tmp_path).digest == folder_digest(tmp_path)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_samples_are_picked_in_the_order_asked_for(tmp_path, name):
    data = _dataset(tmp_path / name, SAMPLES)
    wanted = [SAMPLES[i].id for i in (3, 0, 3, 4)]
    assert [s.id for s in data.pick(wanted)] == wanted


def test_a_dataset_knows_its_ids_columns_and_size(tmp_path):
    data = _dataset(tmp_path / "x.jsonl", SAMPLES)
    assert len(data) == 5
    assert data.ids() == [s.id for s in SAMPLES]
    assert data.column("group") == ["g0", "g1", "g2", "g3", "g4"]
    assert SAMPLES[2].id in data
    assert "nonsense" not in data


def test_a_repeated_id_is_an_error(tmp_path):
    data = _dataset(tmp_path / "x.jsonl", [*SAMPLES, SAMPLES[1].model_copy(update={"label": None})])
    with pytest.raises(UserError, match=f"{SAMPLES[1].id} twice"):
        data.ids()


def test_a_stated_digest_of_a_dataset_is_that_of_its_bytes(tmp_path):
    data = _dataset(tmp_path / "x.jsonl", SAMPLES)
    assert data.sha256 == file_digest(data.path)


def test_samples_survive_hugging_face_datasets(tmp_path):
    table = to_datasets(_dataset(tmp_path / "x.jsonl", MIXED))
    back = list(from_datasets(table))
    assert back == MIXED
    assert [line_of(sample) for sample in back] == [line_of(sample) for sample in MIXED]


def test_samples_survive_parquet(tmp_path):
    import datasets

    to_datasets(_dataset(tmp_path / "x.jsonl", MIXED)).to_parquet(str(tmp_path / "x.parquet"))
    table = datasets.Dataset.from_parquet(str(tmp_path / "x.parquet"), cache_dir=str(tmp_path / "cache"))
    assert [line_of(sample) for sample in from_datasets(table)] == [line_of(sample) for sample in MIXED]


def test_rows_of_any_record_are_known_by_their_key(tmp_path):
    write_rows(tmp_path / "x.jsonl", [Score(name="a", value=1, n=1), Score(name="b", value=None, n=0)])
    rows = Rows(tmp_path / "x.jsonl", Score, lambda score: score.name)
    assert next(rows.pick(["b"])).value is None


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
@pytest.mark.parametrize("blank", ["\n", "\r\n", " \t\n\n", "\n   "])
def test_blank_lines_hold_no_record(tmp_path, name, blank):
    lines = [line_of(sample) for sample in SAMPLES[:3]]
    with writing(tmp_path / name, pack=name.endswith(".gz")) as file:
        file.write((blank.rstrip(" ").join(lines) + blank).encode())
    data = Dataset(tmp_path / name)
    assert list(data) == SAMPLES[:3]
    assert len(data) == 3
    wanted = [SAMPLES[i].id for i in (2, 0, 1)]
    assert [sample.id for sample in data.pick(wanted)] == wanted


def test_a_blank_line_counts_as_a_line_in_messages(tmp_path):
    (tmp_path / "x.jsonl").write_text("\n\n{\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.jsonl, line 3, is not a Sample"):
        list(read_rows(tmp_path / "x.jsonl", Sample))


def test_nothing_is_written_through_a_link_in_the_place_of_a_partial_file(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"theirs")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / f".run.json.{os.getpid()}.partial").symlink_to(outside)
    write_bytes(folder / "run.json", b"{}")
    assert outside.read_bytes() == b"theirs"
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    assert (folder / "run.json").read_bytes() == b"{}"
