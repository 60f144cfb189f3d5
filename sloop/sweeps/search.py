"""A search by Optuna: the same sweep, whose cells are chosen as it goes, by what a metric of the earlier ones was."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from sloop.config import Config, benchmark_sections, parse_config
from sloop.engine.identity import config_hash
from sloop.records import Cell, Score, UserError, digest
from sloop.runs.read import Run, metric_name
from sloop.runs.sweeps import is_over
from sloop.show.console import console
from sloop.show.tables import print_note
from sloop.sweeps.grid import Grid, check_apart, plain_of

if TYPE_CHECKING:
    import optuna

TEST_SETS = ("sloop_bench", "sloop_bench_v2", "bfcl_v4", "acebench_en")
"""Benchmarks to report on: what was chosen by its score there has no score there any more."""


class Search(Grid):
    """Trials that Optuna's sampler (TPE) asks for; its study lies in SQLite beside the sweep's record, and goes on."""

    retries_failed = False

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        metric: str,
        direction: str,
        seed: int,
        on_test_set: bool,
        params: dict[str, str],
    ) -> None:
        """Take the settings of ``conf/hydra/sweeper/optuna.yaml``."""
        super().__init__(n_jobs, params)
        self.n_trials, self.n_jobs, self.seed = n_trials, n_jobs, seed
        self.metric, self.direction, self.on_test_set = metric, direction, on_test_set

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are ``n_trials``, those of earlier sweeps of the same search included.

        Raises:
            UserError: there is nothing to search over, a range has values that its setting cannot have, the metric is
                none of the runs, or one of a test set, or a setting of the search is none.
        """
        optuna = _optuna()
        self._check_settings()
        overrides = self.parsed(arguments)
        space = {one.get_key_element(): _distribution(one) for one in overrides if one.is_sweep_override()}
        if not space:
            raise UserError(
                "hydra/sweeper=optuna: no setting has a range to search, such as "
                "'trainer.learning_rate=tag(log,interval(1e-4,1e-2))' or trainer.lora.rank=8,16,32"
            )
        fixed = [
            f"{o.get_key_element()}={o.get_value_element_as_str()}" for o in overrides if not o.is_sweep_override()
        ]
        plain = plain_of(self._context.config_loader.load_sweep_config(self._given, fixed))
        settings = parse_config(plain)
        self._check_metric(settings)
        self._check_ends(fixed, space, settings)
        spaces = {name: repr(values) for name, values in space.items()}
        key = digest(["optuna", config_hash(plain), spaces, self.metric, self.direction, self.seed])
        with self.kept(key, settings, ()):
            study = optuna.create_study(
                storage=f"sqlite:///{self.folder / 'optuna.db'}",
                study_name=key[:16],
                direction=self.direction,
                load_if_exists=True,
            )
            # A seed of its own where the search goes on, or it would draw the same again
            study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(study.trials))
            self._search(study, space, fixed)

    def _search(self, study: optuna.Study, space: dict[str, Any], fixed: Sequence[str]) -> None:
        trials = {trial.number: trial.params for trial in study.trials}
        cells = {number: self._trial(fixed, params) for number, params in trials.items()}
        ended = {trial.number for trial in study.trials if trial.state.is_finished()}
        self.add(cells.values())
        left = [number for number in trials if number not in ended]  # of a search that was interrupted: they go on
        while left or len(cells) < self.n_trials:
            while len(left) < self.n_jobs and len(cells) < self.n_trials:
                trial = study.ask(space)
                trials[trial.number] = trial.params
                cells[trial.number] = self._trial(fixed, trial.params)
                left.append(trial.number)
            batch, left = left[: self.n_jobs], left[self.n_jobs :]
            apart = {cell.config_hash: cell for number in batch if (cell := cells[number])}
            self.run(list(apart.values()), resume=True)
            for number in batch:
                self._tell(study, number, cells[number])
        self._print_best(study, cells)

    def _trial(self, fixed: Sequence[str], params: dict[str, Any]) -> Cell:
        cell, _ = self.cell([*fixed, *(f"{name}={value}" for name, value in params.items())])
        return cell

    def _tell(self, study: optuna.Study, number: int, cell: Cell) -> None:
        """Tell Optuna how a trial ended; one that was killed stays open, and goes on when the search does."""
        score = self._score(cell)
        if score is not None:
            study.tell(number, score.value)
        elif (status := self.now(cell).status) in ("FAILED", "FINISHED"):
            if status == "FINISHED" and all(trial.value is None for trial in study.trials):
                raise self._no_metric(cell)
            study.tell(number, state=_optuna().trial.TrialState.FAIL)
            if status == "FINISHED":
                print_note(f"trial {number} has no {self.metric} and counts as failed: {cell.folder}")

    def _score(self, cell: Cell) -> Score | None:
        """The metric of a finished run, at its last round; None where it has none."""
        if not is_over(cell):
            return None
        run = Run.at(Path(cell.folder))
        scores = run.scores_at(run.last_round())
        return next((s for s in scores if metric_name(s) == self.metric and s.value is not None), None)

    def _no_metric(self, cell: Cell) -> UserError:
        """What to say where the first run that finished lacks the metric: the others will lack it too."""
        run = Run.at(Path(cell.folder))
        known = [metric_name(score) for score in run.scores_at(run.last_round()) if score.value is not None]
        near = difflib.get_close_matches(self.metric, known, 5, 0) or known
        return UserError(
            f"hydra.sweeper.metric={self.metric}: {cell.folder} has no such metric at its last round. The nearest that "
            f"it has: {', '.join(near) or 'none'}. Its run is finished and is not made again."
        )

    def _check_settings(self) -> None:
        for name in ("n_trials", "n_jobs"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise UserError(f"hydra.sweeper.{name}={value}: give a whole number from 1.")
        if self.direction not in ("maximize", "minimize"):
            raise UserError(f"hydra.sweeper.direction={self.direction}: give maximize or minimize.")

    def _check_ends(self, fixed: Sequence[str], space: dict[str, Any], settings: Config) -> None:
        """Compose a cell for every choice and both ends of every range: what cannot be is refused before any runs."""
        ends = {
            name: list(getattr(values, "choices", None) or (values.low, values.high)) for name, values in space.items()
        }
        first = {name: values[0] for name, values in ends.items()}
        cells = [self._trial(fixed, {**first, name: value}) for name, values in ends.items() for value in values]
        check_apart(list({cell.config_hash: cell for cell in cells}.values()), settings)

    def _check_metric(self, settings: Config) -> None:
        kind, _, rest = self.metric.partition("/")
        name = rest.partition("/")[0]
        asked = [str(part.get("name")) for part in benchmark_sections(settings.benchmark).values()]
        if kind == "eval" and name not in asked:
            raise UserError(
                f"hydra.sweeper.metric={self.metric}: the runs ask {', '.join(asked)}, not {name}. Search on the "
                "development set with benchmark=sloop_dev, or name a metric that the runs have."
            )
        if kind == "eval" and name in TEST_SETS and not self.on_test_set:
            raise UserError(
                f"hydra.sweeper.metric={self.metric}: {name} is a test set, and what is chosen by a test "
                "set is no longer tested by it. Search with benchmark=sloop_dev and the metric "
                "eval/sloop_dev/call_accuracy, and evaluate the best on the test set once; or say that you mean it: "
                "hydra.sweeper.on_test_set=true"
            )

    def _print_best(self, study: optuna.Study, cells: dict[int, Cell]) -> None:
        done = [trial for trial in study.trials if trial.value is not None]
        failed = sum(trial.state.name == "FAIL" for trial in study.trials)
        if not done:
            return
        best = study.best_trial
        score = self._score(cells[best.number])
        found = shlex.join(f"{name}={value}" for name, value in best.params.items())
        interval = f" [{score.low:.4f}, {score.high:.4f}]" if score and None not in (score.low, score.high) else ""
        out = console()
        out.say(f"best of {len(done)} trials ({failed} failed): {self.metric} = {best.value:.4f}{interval}")
        out.say(f"  n = {score.n if score else 0}, trial {best.number}: {found}")
        out.say(f"  run: {cells[best.number].folder}")
        print_note("the best of many is also the luckiest: its interval is that of one run. Evaluate it on a test set.")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError("hydra/sweeper=optuna needs Optuna: pip install 'sloop[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(override: Override) -> Any:
    """What Optuna draws from, of Hydra's ``a,b``, ``choice``, ``range``, ``interval``, ``tag(log, interval(...))``.

    Raises:
        UserError: nothing can be drawn from it.
    """
    try:
        return _drawn_from(override)
    except ValueError as error:
        raise UserError(f"{override.input_line}: no range to search: {error}") from error


def _drawn_from(override: Override) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        log, low, high = "log" in value.tags, value.start, value.end
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low or 0), float(high or 0), log=log)
    if isinstance(value, RangeSweep) and isinstance(numbers := value.range(), range):
        return IntDistribution(min(numbers), max(numbers), step=abs(numbers.step))
    return CategoricalDistribution(list(override.sweep_string_iterator()))
