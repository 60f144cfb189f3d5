"""Some wrong answers of a round, as MLflow shows such: traces with what was expected and why they are wrong, and the
same questions as an evaluation dataset, which alone the Datasets page lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sloop.records import Grade, Prediction, RoundRecord, Sample
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

    @property
    def inputs(self) -> dict[str, Any]:
        """What the student was asked."""
        return {
            "messages": [message.to_openai() for message in self.sample.messages],
            "tools": [tool.to_openai() for tool in self.sample.tools],
        }

    @property
    def expected(self) -> dict[str, Any]:
        """What is right, as the benchmark's label says."""
        label = self.sample.label
        return label.model_dump(mode="json") if label else {}


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
    samples = dict(_questions(run, benchmark, set(chosen)))
    chosen = [id for id in chosen if id in samples][:most]
    answers = run.folder / f"round_{number}" / "evaluate" / benchmark / PREDICTIONS
    if not chosen or not holds(run.folder, answers):
        return []
    given = {row.sample_id: row for row in read_rows(answers, Prediction) if row.trial == 0}
    return [Failure(benchmark, samples[id], given[id], wrong[id]) for id in chosen if id in given]


def _questions(run: Run, benchmark: str, ids: set[str]) -> Iterator[tuple[str, Sample]]:
    for path in questions_of(run.folder):
        if path.name == f"{benchmark}.jsonl.gz" and holds(run.folder, path):
            yield from ((sample.id, sample) for sample in read_rows(path, Sample) if sample.id in ids)


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
    from mlflow.genai import datasets
    from mlflow.tracing.client import TracingClient

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        when, said = milliseconds(round.finished) * 1_000_000, TracingClient(uri)
        label, rule = AssessmentSource("CODE", "label"), AssessmentSource("CODE", "sloop")
        known = client.search_traces(locations=[experiment], run_id=run_id, max_results=500, include_spans=False)
        logged = {trace.info.tags.get(KEY) for trace in known}
        made: dict[str, Failure] = {}
        for failure in found:
            if failure.key not in logged:
                tags = {KEY: failure.key}
                name = f"wrong on {failure.benchmark}"
                span = client.start_trace(
                    name, inputs=failure.inputs, tags=tags, experiment_id=experiment, start_time_ns=when, run_id=run_id
                )
                answer = failure.answer.model_dump(mode="json", include={"calls", "content", "text"})
                client.end_trace(span.trace_id, outputs=answer, end_time_ns=when)
                made[span.trace_id] = failure
        if made:
            mlflow.flush_trace_async_logging()
        for trace_id, failure in made.items():
            said.log_assessment(trace_id, Expectation(name="label", value=failure.expected, source=label))
            why = failure.grade.reason or failure.grade.error
            said.log_assessment(trace_id, Feedback(name="correct", value=False, rationale=why, source=rule))
        for benchmark in dict.fromkeys(failure.benchmark for failure in found):
            name = f"{run.label} round {round.round}: wrong on {benchmark}"
            there = client.search_datasets(experiment_ids=[experiment], filter_string=f"name = '{name}'")
            dataset = there[0] if there else datasets.create_dataset(name=name, experiment_id=experiment)
            dataset.merge_records(
                [
                    {"inputs": one.inputs, "expectations": one.expected, "tags": {"sloop.sample": one.sample.id}}
                    for one in found
                    if one.benchmark == benchmark
                ]
            )
    finally:
        mlflow.set_tracking_uri(before)
