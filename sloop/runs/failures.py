"""Questions, as MLflow shows such: some of each slice of a benchmark as an evaluation dataset, which alone the Datasets
page lists; and some that a round answered wrong, as one too, and as traces with what was expected and why it is wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sloop.records import Grade, Prediction, RoundRecord, Sample
from sloop.runs.destination import led
from sloop.runs.entries import milliseconds
from sloop.runs.files import holds
from sloop.runs.questions import questions_of
from sloop.runs.read import Run
from sloop.stages.probe import PREDICTIONS
from sloop.store import read_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "sloop.failure"
"""Tag of a trace, so that logging twice gives one."""


class Failure(NamedTuple):
    """A wrong answer."""

    benchmark: str
    sample: Sample
    answer: Prediction
    grade: Grade

    @property
    def key(self) -> str:
        """What it is known by in its round."""
        return f"{self.benchmark}/{self.sample.id}"


def failures_of(run: Run, number: int, benchmark: str, most: int) -> list[Failure]:
    """Wrong first answers of a round, by id, so that rounds and runs show the same questions where they fail at them.

    Args:
        run: a loop.
        number: of the round.
        benchmark: its name.
        most: so many at most; of a benchmark whose questions the run does not keep, none.
    """
    wrong = {id: grade for id, grade in run.grades(benchmark, number).items() if grade.correct is False}
    chosen = sorted(id for id, grade in wrong.items() if grade.trial == 0)
    wanted = set(chosen)
    samples = {sample.id: sample for sample in _questions(run, benchmark) if sample.id in wanted}
    chosen = [id for id in chosen if id in samples][:most]
    answers = run.folder / f"round_{number}" / "evaluate" / benchmark / PREDICTIONS
    if not chosen or not holds(run.folder, answers):
        return []
    given = {row.sample_id: row for row in read_rows(answers, Prediction) if row.trial == 0}
    return [Failure(benchmark, samples[id], given[id], wrong[id]) for id in chosen if id in given]


def _questions(run: Run, benchmark: str) -> Iterator[Sample]:
    for path in questions_of(run.folder):
        if path.name == f"{benchmark}.jsonl.gz" and holds(run.folder, path):
            yield from read_rows(path, Sample)


def _row(sample: Sample) -> dict[str, Any]:
    """A question as a row of an evaluation dataset: what the student is asked, and what is right by its label."""
    asked = {
        "messages": [message.to_openai() for message in sample.messages],
        "tools": [tool.to_openai() for tool in sample.tools],
    }
    expected = sample.label.model_dump(mode="json") if sample.label else {}
    return {"inputs": asked, "expectations": expected, "tags": {"sloop.sample": sample.id, "sloop.slice": sample.slice}}


def _log_dataset(client: MlflowClient, experiment: str, name: str, samples: Sequence[Sample]) -> None:
    """Log questions under a name; what is there under it is not doubled. Within `led`."""
    from mlflow.genai import datasets

    quoted = name.replace("'", "_")  # it could not be searched for otherwise
    there = client.search_datasets(experiment_ids=[experiment], filter_string=f"name = '{quoted}'")
    dataset = there[0] if there else datasets.create_dataset(name=quoted, experiment_id=experiment)
    dataset.merge_records([_row(sample) for sample in samples])


def log_questions(
    client: MlflowClient, uri: str, experiment: str, run: Run, asked: Mapping[str, str], most: int
) -> None:
    """Log the first questions of every slice of a run's benchmarks, by id: the same for every run that was asked them.

    Args:
        client: of the server.
        uri: its address.
        experiment: its id.
        run: that keeps the questions; of a benchmark whose questions it does not keep, none are logged.
        asked: SHA-256 of the data of each benchmark, by name; the beginning stands in the name of the dataset.
        most: questions of a slice.
    """
    with led(uri, experiment):
        for benchmark, sha256 in asked.items():
            slices: defaultdict[str, list[Sample]] = defaultdict(list)
            for sample in sorted(_questions(run, benchmark), key=lambda sample: sample.id):
                slices[sample.slice].append(sample)
            for name, samples in sorted(slices.items()):
                told = " ".join(filter(None, (benchmark, name, sha256[:8])))
                _log_dataset(client, experiment, told, samples[:most])


def log_failures(
    client: MlflowClient, uri: str, experiment: str, run_id: str, run: Run, round: RoundRecord, found: Sequence[Failure]
) -> None:
    """Log them as traces of a round's run and as one evaluation dataset a benchmark.

    Args:
        client: of the server.
        uri: its address; what of MLflow knows no client is led there.
        experiment: its id.
        run_id: of the round.
        run: the loop.
        round: of it.
        found: at least one.
    """
    import mlflow
    from mlflow.entities import AssessmentSource, Expectation, Feedback
    from mlflow.tracing.client import TracingClient

    with led(uri, experiment):
        when, said = milliseconds(round.finished) * 1_000_000, TracingClient(uri)
        label, rule = AssessmentSource("CODE", "label"), AssessmentSource("CODE", "sloop")
        known = client.search_traces(locations=[experiment], run_id=run_id, max_results=500, include_spans=False)
        logged = {trace.info.tags.get(KEY) for trace in known}
        made: dict[str, Failure] = {}
        for failure in found:
            if failure.key not in logged:
                tags, asked = {KEY: failure.key}, _row(failure.sample)["inputs"]
                name = f"wrong on {failure.benchmark}"
                span = client.start_trace(
                    name, inputs=asked, tags=tags, experiment_id=experiment, start_time_ns=when, run_id=run_id
                )
                answer = failure.answer.model_dump(mode="json", include={"calls", "content", "text"})
                client.end_trace(span.trace_id, outputs=answer, end_time_ns=when)
                made[span.trace_id] = failure
        if made:
            mlflow.flush_trace_async_logging()
        for trace_id, failure in made.items():
            expected = _row(failure.sample)["expectations"]
            said.log_assessment(trace_id, Expectation(name="label", value=expected, source=label))
            why = failure.grade.reason or failure.grade.error
            said.log_assessment(trace_id, Feedback(name="correct", value=False, rationale=why, source=rule))
        for benchmark in dict.fromkeys(failure.benchmark for failure in found):
            name = f"{run.label} round {round.round}: wrong on {benchmark}"
            _log_dataset(client, experiment, name, [one.sample for one in found if one.benchmark == benchmark])
