"""Any dataset as a benchmark, in whichever form and file, pinned by its digest."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from sloop.benchmarks.base import GRADING, SampleBenchmark, packaged
from sloop.intake import Converted, Decisions, Form, Source, open_dataset
from sloop.intake.convert import MODULES as INTAKE
from sloop.measures.metrics import METRICS
from sloop.measures.stats import rate
from sloop.records import Grade, Score, UserError, digest
from sloop.records.ranges import Name, PathText, Share
from sloop.store import Dataset, write_rows


class JsonlBenchmark(SampleBenchmark):
    """Samples or dialogues, graded by the strict comparator and METHOD's metrics."""

    MODULES = (*GRADING, "sloop.benchmarks.jsonl", *INTAKE)

    NOT_RESULTS = frozenset({"cache_path", "sha256"})
    """Where copies lie, and what the data must be: what they are is known by their digest."""

    def __init__(
        self,
        *,
        name: Name,
        path: PathText,
        form: Form,
        decisions: Decisions,
        sha256: str | None,
        known_bad: list[str],
        skip_known_bad: bool,
        max_left_out: Share,
        cache_path: PathText,
    ) -> None:
        """Take the settings as they stand in ``conf/benchmark/jsonl.yaml``, which says what each value is.

        Raises:
            UserError: no such file, or another one than the pinned one.
        """
        self.name = name
        self.path = path
        self._source = Source(packaged(path))
        self.max_left_out = max_left_out
        self.form: Form = form
        self.decisions: Decisions = decisions
        self.known_bad = frozenset(known_bad)
        self.skip_known_bad = skip_known_bad
        self.cache_path = Path(cache_path)
        found = self._source.sha256
        if sha256 not in (None, found):
            raise UserError(
                f"benchmark.path={path}: its digest is {found}, and benchmark.sha256={sha256} is another: figures of "
                "other data are not comparable. Take the pinned file, or run under another name: benchmark.sha256=null "
                "benchmark.name=MY_NAME"
            )

    @property
    def data(self) -> Dataset:
        """The questions.

        Raises:
            UserError: a line that is neither a sample nor a dialogue, nothing that makes a sample, a sample without a
                label, or a known bad id that no sample has.
        """
        return self._kept

    @cached_property
    def _all(self) -> Dataset:
        return open_dataset(
            self._source,
            form=self.form,
            chosen=self.decisions,
            cache=self.cache_path,
            max_left_out=self.max_left_out,
            section="benchmark.",
        )

    @cached_property
    def _kept(self) -> Dataset:
        """Without what is known to be bad, where that is left out."""
        if unknown := sorted(self.known_bad - set(self._all.ids() if self.known_bad else ())):
            raise UserError(
                f"benchmark.known_bad: no sample of {self.path} has the id {unknown[0]!r}. Ids are 32 hex digits, and "
                "stand in the grades.jsonl of an evaluation."
            )
        kept = self._sound if self.skip_known_bad and self.known_bad else self._all
        if not len(kept):
            raise UserError(f"benchmark.path={self.path}: no sample is left to ask. Give a file that holds some.")
        if unlabelled := next((sample.id for sample in kept if sample.label is None), None):
            raise UserError(
                f"benchmark.path={self.path}: sample {unlabelled} has no label, so no answer to it can be graded. Give "
                "it one, or take it out."
            )
        return kept

    @property
    def _sound(self) -> Dataset:
        name = digest([self._all.sha256, sorted(self.known_bad)])[:32]
        target = self.cache_path / f"{name}.jsonl"
        self.cache_path.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not target.is_file():
                write_rows(target, (sample for sample in self._all if sample.id not in self.known_bad))
        return Dataset(target)

    def score(self, grades: Iterable[Grade]) -> list[Score]:
        """METHOD's metrics, overall and slice by slice; call accuracy also without the samples known to be bad."""
        graded = list(grades)
        found = super().score(graded)
        sound = [grade for grade in graded if grade.sample_id not in self.known_bad]
        if len(sound) < len(graded):
            count = METRICS["call_accuracy"]
            found.append(rate("call_accuracy_without_known_bad", ((g.cluster, *count(g)) for g in sound)))
        return found

    def notes(self) -> list[str]:
        """Which data these are, how they were read, and what of them is known to be bad."""
        told = [f"{self.name}: {len(self.data)} samples of {self.path}, sha256 {self._source.sha256}"]
        if isinstance(self._all, Converted):
            told.append(self._all.intake.note())
        if self.known_bad:
            what = "left out" if self.skip_known_bad else "counted, and left out of call_accuracy_without_known_bad"
            told.append(f"{len(self.known_bad)} samples are known to be bad: {what}")
        return told
