"""Any dataset as a benchmark: both forms, the pin, what is known to be bad."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from grading import spec_of
from running import questions

from sloop.benchmarks.base import Benchmark
from sloop.benchmarks.jsonl import JsonlBenchmark
from sloop.engine.build import build
from sloop.measures.metrics import grade
from sloop.records import Prediction, Sample, Score, UserError
from sloop.store import Dataset, write_rows


def bench(path: Path, **changes: Any) -> JsonlBenchmark:
    spec = spec_of("jsonl")
    found = build({**spec, "path": str(path), "cache_path": str(path.parent / "cache"), **changes}, "benchmark")
    assert isinstance(found, JsonlBenchmark)
    return found


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    write_rows(tmp_path / "samples.jsonl", islice(Dataset(questions()), 12))
    return tmp_path / "samples.jsonl"


def gold(sample: Sample) -> Prediction:
    assert sample.label is not None
    return Prediction(sample_id=sample.id, calls=sample.label.calls, content=sample.label.content)


def scores(benchmark: JsonlBenchmark, wrong: tuple[str, ...] = ()) -> dict[str, Score]:
    answers = {
        sample.id: Prediction(sample_id=sample.id, error="format") if sample.id in wrong else gold(sample)
        for sample in benchmark.data
    }
    found = benchmark.score([grade(sample, answers[sample.id]) for sample in benchmark.data])
    return {score.name: score for score in found if not score.slice}


def dialogue(sample: Sample) -> str:
    assert sample.label is not None
    row = json.loads(sample.model_dump_json())
    decision = json.loads(sample.label.message().model_dump_json())
    return json.dumps({"tools": row["tools"], "messages": [*row["messages"], decision]})


def test_dialogues_score_as_the_samples_that_they_hold(samples: Path) -> None:
    data = list(Dataset(samples))
    (samples.parent / "dialogues.jsonl").write_text("\n".join(map(dialogue, data)))
    benchmark = bench(samples.parent / "dialogues.jsonl")
    assert isinstance(benchmark, Benchmark)
    assert benchmark.data.ids() == [sample.id for sample in data]
    wrong = data[0].id
    assert scores(benchmark, (wrong,)) == scores(bench(samples), (wrong,))
    assert scores(benchmark)["call_accuracy"].value == 1.0


def test_the_digest_is_pinned_and_told(samples: Path) -> None:
    found = Dataset(samples).sha256
    assert found in bench(samples, sha256=found).notes()[0]
    with pytest.raises(UserError, match=rf"its digest is {found}, and benchmark\.sha256=00 is another.*sha256=null"):
        bench(samples, sha256="00")


@pytest.mark.parametrize("name", ["sloop_bench", "sloop_dev"])
def test_the_packaged_sets_are_the_pinned_ones(name: str, tmp_path: Path) -> None:
    base, own = map(spec_of, ("jsonl", name))
    own.pop("defaults")
    assert len(own["sha256"]) == 64
    spec = {key: value for key, value in {**base, **own}.items() if key not in ("limit", "limit_seed")}  # of a part
    built = build({**spec, "cache_path": str(tmp_path)}, "benchmark")
    assert f"sha256 {own['sha256']}" in built.notes()[0]


def test_scores_are_given_with_and_without_what_is_known_to_be_bad(samples: Path) -> None:
    bad, *rest = (sample.id for sample in Dataset(samples))
    benchmark = bench(samples, known_bad=[bad])
    found = scores(benchmark, (bad, rest[0]))
    assert (found["call_accuracy"].value, found["call_accuracy"].n) == (10 / 12, 12)
    assert (found["call_accuracy_without_known_bad"].value, found["call_accuracy_without_known_bad"].n) == (10 / 11, 11)
    assert "1 samples are known to be bad: counted" in benchmark.notes()[-1]


def test_what_is_known_to_be_bad_can_be_left_out(samples: Path) -> None:
    bad, *rest = (sample.id for sample in Dataset(samples))
    benchmark = bench(samples, known_bad=[bad], skip_known_bad=True)
    assert benchmark.data.ids() == rest
    assert benchmark.data.sha256 != bench(samples, known_bad=[bad]).data.sha256, "other data have another digest"
    assert "call_accuracy_without_known_bad" not in scores(benchmark)
    assert "left out" in benchmark.notes()[-1]


def test_an_unknown_bad_id_is_named(samples: Path) -> None:
    with pytest.raises(UserError, match=r"known_bad: no sample of .* has the id 'nope'"):
        len(bench(samples, known_bad=["nope"]).data)


def test_how_dialogues_were_read_is_told(samples: Path) -> None:
    path = samples.parent / "dialogues.jsonl"
    first, second = islice(Dataset(samples), 2)
    asked = json.loads(dialogue(second))
    asked["messages"].pop()
    path.write_text(f"{dialogue(first)}\n{json.dumps(asked)}\n")
    note = bench(path, max_left_out=0.5).notes()[1]
    assert (
        "1 samples of 2 lines, 1 of which made none, read as openai; left out: 1 lines without an assistant message"
        in note
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"form": "chat"}, r"benchmark\.form='chat'.*'auto'"), ({"decisions": "first"}, r"benchmark\.decisions='first'")],
)
def test_wrong_settings_are_named(changes: dict[str, str], words: str, samples: Path) -> None:
    with pytest.raises(UserError, match=words):
        bench(samples, **changes)


def test_samples_that_cannot_be_graded_are_named_before_anything_is_asked(samples: Path) -> None:
    first, *rest = Dataset(samples)
    write_rows(samples, [*rest, first.blind()])
    with pytest.raises(UserError, match=rf"sample {first.id} has no label"):
        len(bench(samples).data)


def test_a_benchmark_that_holds_nothing_is_refused(samples: Path) -> None:
    with pytest.raises(UserError, match="no sample is left to ask"):
        len(bench(samples, known_bad=list(Dataset(samples).ids()), skip_known_bad=True).data)
    samples.write_text("")
    with pytest.raises(UserError, match="no sample is left to ask"):
        len(bench(samples).data)
