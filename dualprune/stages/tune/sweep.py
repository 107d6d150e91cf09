"""A session of a sweep: runs the remaining trials, checks the best points, and writes the results."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import ray
from ray import tune

from dualprune.cluster.session import ensure_ray, user_errors
from dualprune.cluster.train import Workers
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import RunError
from dualprune.stages.evaluate.differences import differences
from dualprune.stages.evaluate.jobs import Job, Row, TrainingContext
from dualprune.stages.evaluate.plan import FULL, RANDOM
from dualprune.stages.evaluate.pool import TrainingPool
from dualprune.stages.evaluate.summary import summarise
from dualprune.stages.record.decode import ResidentData, load_resident
from dualprune.stages.recorded_source import recorded_source
from dualprune.stages.tune import check, results, search
from dualprune.stages.tune.context import SweepContext
from dualprune.stages.tune.loggers import make_loggers
from dualprune.stages.tune.nested import nested_trial
from dualprune.stages.tune.objective import ACCURACY, LARGEST_RATIO, METRIC, PARETO, Objective
from dualprune.stages.tune.scores import ScoreCache, compute_scores
from dualprune.stages.tune.space import Space, config_at
from dualprune.stages.tune.split import validation_positions
from dualprune.stages.tune.trial import Plan, Trial
from dualprune.stages.tune.trial_log import FAILED, Record, TrialLog, count_states
from dualprune.stages.tune.watch import LogWriter, trial_progress

logger = logging.getLogger(__name__)


class Sweep:
    """One session of a sweep on a run with a recording."""

    def __init__(self, run: RunDirectory, config: Config, space: Space, index: SampleIndex, log: TrialLog) -> None:
        self._run, self._config, self._space, self._log = run, config, space, log
        self._folder = run.root / "tune"
        self._classes = tuple(index.classes)
        self._validation = validation_positions(index.labels, config.tune.validation_fraction, config.tune.seed)
        ensure_ray(config.scaling)
        self._workers = Workers.of(config.scaling)
        self._slots = search.trial_slots(config, self._workers)

    def run(self, wanted: int, budget_s: float | None) -> dict[str, Any]:
        """Run the remaining trials, check the best points, write the results and return the summary."""
        started = time.monotonic()
        config = self._config
        with user_errors():
            data = load_resident(recorded_source(self._run, config))
            sweep = self._context(data, self._validation)
            baseline = None
            if config.tune.objective != ACCURACY:
                baseline = self._train(sweep, check.baseline_jobs(config), "baseline")
            full = None if baseline is None else float(np.mean([row["accuracy"] for row in baseline]))
            objective = Objective.of(config.tune, full)
            self._search(sweep, objective, wanted, budget_s)
            records = self._log.records()
            best = self._best(records, objective, budget_s)
            computed = ray.get(sweep.scores.computed.remote())
            ray.kill(sweep.scores)
            searched_s = time.monotonic() - started
            (self._folder / "trials.parquet").write_table(results.trials_table(records, self._space))
            (self._folder / "best.yaml").write_text(results.best_config(config, best[0]))
            tested = self._test(data, best)
        return {
            "objective": config.tune.objective,
            "best": results.best_points(best),
            "num_trials": count_states(records),
            "full_accuracy": full,
            "test": None if tested is None else summarise(tested),
            "test_differences": None if tested is None else differences(tested, FULL, RANDOM),
            "importance": results.importance(
                records, self._space, METRIC if config.tune.objective == LARGEST_RATIO else "accuracy"
            ),
            "validation_samples": len(self._validation),
            "candidates": len(sweep.training.candidates),
            "scores_computed": sum(computed.values()),
            **results.costs(records),
            "searched_s": searched_s,
            "seconds": time.monotonic() - started,
        }

    def _context(self, data: ResidentData, validation: np.ndarray | None) -> SweepContext:
        compute = partial(compute_scores, str(self._run.root.address), validation)
        scores = ray.remote(num_cpus=0)(ScoreCache).remote(compute)
        return SweepContext(self._config, TrainingContext(data, self._workers, validation), scores, self._classes)

    def _train(self, sweep: SweepContext, jobs: list[Job], name: str) -> list[Row]:
        files = [check.file_of(job, self._folder / name) for job in jobs]
        size = self._slots or self._workers.count
        with TrainingPool(sweep.training, size, self._config.scaling.max_failures) as pool:
            return pool.train(list(zip(jobs, files, strict=True)), name)

    def _search(self, sweep: SweepContext, objective: Objective, wanted: int, budget_s: float | None) -> None:
        config, settings, records = self._config, self._config.tune, self._log.records()
        points = search.remaining_points(settings, self._space, wanted, self._log)
        left = search.remaining_trials(points, wanted, records)
        if not left:
            return
        if records:
            logger.info("tune: %d of %d trials are done, %d are left", len(records), wanted, left)
        algorithm, param_space, samples = search.suggest(settings, self._space, objective, records, points)
        plan = Plan(sweep, objective, self._log, settings.seeds, by_epoch=settings.scheduler != "none")
        named = {} if objective.kind == PARETO else {"metric": METRIC, "mode": "max"}
        logs = self._folder / "logs"
        # tune.loggers alone chooses the loggers.
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        # The table and the log show what happens; Ray Tune would repeat it, with a page per failure.
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with trial_progress(left) as progress:
            tune.Tuner(
                self._trainable(plan, logs),
                param_space=param_space,
                tune_config=tune.TuneConfig(
                    **named,
                    search_alg=algorithm,
                    scheduler=search.scheduler(config),
                    num_samples=samples if samples is not None else left,
                    max_concurrent_trials=self._slots,
                    time_budget_s=budget_s,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=f"session-{len(logs.children())}",
                    storage_path=logs.path,
                    storage_filesystem=None if logs.is_local else logs.filesystem,
                    # A trial has nothing to resume from: one that fails begins anew.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=settings.max_failures),
                    callbacks=[
                        LogWriter(self._log, budget_s),
                        progress,
                        *make_loggers(settings.loggers, self._run.root.name),
                    ],
                    verbose=0,
                ),
            ).fit()

    def _trainable(self, plan: Plan, storage: Location) -> Any:
        workers, each = self._workers, self._config.tune.workers_per_trial
        if each == 1:
            resources = {"cpu": workers.cpus_each, "gpu": 1 if workers.use_gpu else 0}
            return tune.with_resources(tune.with_parameters(Trial, plan=plan), resources)
        several = tune.with_parameters(
            nested_trial, plan=plan, workers=replace(workers, count=each), storage=storage / "train"
        )
        # The trial itself waits for its workers.
        return tune.with_resources(several, {"cpu": 0.01})

    def _best(self, records: list[Record], objective: Objective, budget_s: float | None) -> list[Record]:
        best = objective.best(records)
        if best:
            return best
        failed = [record for record in records if record["state"] == FAILED]
        if failed:
            raise RunError(
                f"{self._run}: no trial succeeded; {len(failed)} of {len(records)} failed, the first with: "
                f"{failed[0]['error']}"
            )
        time_s = "" if budget_s is None else f" within the time budget of {budget_s:g} s"
        raise RunError(
            f"{self._run}: no trial finished{time_s}, so that no accuracy was reported; give a longer time budget, or "
            "shorter trainings (evaluate.epochs)"
        )

    def _test(self, data: ResidentData, best: list[Record]) -> list[Row] | None:
        """Return the trainings of the best points, random subsets and the full set, measured on the test set."""
        number = self._config.tune.test_points
        if not number or not data.parts["test"]:
            logger.info(
                "tune: no check on the test set (%s)", "tune.test_points is 0" if not number else "there is none"
            )
            return None
        chosen = [config_at(self._config, record["point"]) for record in best[:number]]
        sweep = self._context(data, None)
        rows = self._train(sweep, check.test_jobs(sweep, chosen), "test")
        ray.kill(sweep.scores)
        return rows
