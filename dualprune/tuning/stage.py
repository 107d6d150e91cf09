"""The tune stage: searches `tune.space` for the best settings to select by, and checks them on the test set.

tune/_started.json   the settings of the sweep whose trials are there
"""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import Any

import numpy as np
import ray
from ray import tune

from dualprune.config import Config
from dualprune.data.resident import ResidentData, load_resident
from dualprune.data.source import open_source
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import RunError
from dualprune.evaluation import summarise
from dualprune.pipeline import run_stages
from dualprune.ray_session import ensure_ray, user_errors
from dualprune.run import RunDirectory
from dualprune.training.record import training_workers
from dualprune.tuning import check, results, search
from dualprune.tuning.loggers import check_loggers, make_loggers
from dualprune.tuning.objective import ACCURACY, LARGEST_RATIO, METRIC, PARETO, Objective
from dualprune.tuning.scores import ScoreCache, check_methods, compute_scores
from dualprune.tuning.space import Space, config_at, parse_space
from dualprune.tuning.split import validation_positions
from dualprune.tuning.trial import Plan, Trial
from dualprune.tuning.trial_log import FAILED, Record, TrialLog, count_states
from dualprune.tuning.watch import LogWriter, board
from dualprune.tuning.worker import SELECTED, Job, Workshop

logger = logging.getLogger(__name__)
STARTED = "_started.json"


def run_tune(
    run: RunDirectory,
    config: Config,
    *,
    resume: bool = False,
    force: bool = False,
    max_trials: int | None = None,
    time_budget_s: float | None = None,
) -> dict[str, Any]:
    """Search the space of `config.tune`, recording first where that is not done; returns what `tune/summary.json` has.

    With `resume`, a sweep that was interrupted, or that is to have more trials, goes on; with `force`, it begins anew.
    `max_trials` (of the whole sweep) and `time_budget_s` (of this call) stand in for `tune.num_trials` and
    `tune.time_budget_s`.

    Raises:
        ConfigError: the space or the settings are wrong; nothing was begun.
        RunError: an unfinished sweep is there and neither `resume` nor `force` is given, or no trial succeeded.
    """
    space = parse_space(config)
    search.check_settings(config, space)
    check_loggers(config.tune.loggers)
    wanted = search.wanted_trials(config.tune, space, max_trials)
    run_stages(run, config, ("record",))
    with run.exclusive():
        store = DynamicsStore(run)
        check_methods(str(run.root.address), _methods(config, space))
        inputs = [run.require("index", "record")["fingerprint"], run.require("record", "record")["fingerprint"]]
        settings = {**_identity(config), "recorded_epochs": len(store.epochs)}
        log = _prepare(run, settings, inputs, resume, force)
        done_before = run.manifest("tune")
        left = _left(config, space, wanted, log)
        more = left > 0 and (resume or done_before is None or done_before["summary"]["wanted"] != wanted)
        with run.stage("tune", settings, inputs, force=force, more=more) as stage:
            place = run.root / "tune" / "summary.json"
            if stage.done:
                stored: dict[str, Any] = place.read_json()
                return stored
            budget_s = time_budget_s if time_budget_s is not None else config.tune.time_budget_s
            summary = _Sweep(run, config, space, store, log).run(wanted, budget_s)
            place.write_json(summary)
            stage.summary = {"wanted": wanted, **summary["num_trials"], "best": summary["best"][0]["accuracy"]}
            return summary


def _methods(config: Config, space: Space) -> list[str]:
    values = space["select.score"].extremes if "select.score" in space else (config.select_score,)
    return [name for name in values if name is not None]


def _identity(config: Config) -> dict[str, Any]:
    """Return the settings that trials depend on: with others, they are trials of another sweep."""
    evaluate = config.evaluate
    apart = {"num_trials", "max_concurrent", "max_failures", "time_budget_s", "test_points", "loggers"}
    return {
        "model": config.model.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json"),
        "score": config.score.model_dump(mode="json", exclude={"methods"}),
        "select": config.select.model_dump(mode="json", exclude={"name", "nested"}),
        "select_score": config.select_score,
        "evaluate": {"epochs": evaluate.epochs, "batch_size": evaluate.batch_size, "budget": evaluate.budget},
        "tune": config.tune.model_dump(mode="json", exclude=apart),
    }


def _prepare(run: RunDirectory, settings: dict[str, Any], inputs: list[str], resume: bool, force: bool) -> TrialLog:
    """Return the log to go on with, or an empty one."""
    folder = run.root / "tune"
    log, started = TrialLog(folder / "trials"), folder / STARTED
    body = {"settings": settings, "inputs": inputs}
    known = started.read_json() if started.exists() else None
    if known == body and not force:
        num = len(log.records())
        if num and not resume and run.manifest("tune") is None:
            raise RunError(
                f"{run}: a sweep with these settings was interrupted after {num} trials; --resume goes on with it, "
                "--force begins anew"
            )
        return log
    if known is not None and resume and not force:
        raise RunError(
            f"{run}: the sweep there has other settings, so its trials are no part of this one; leave out --resume to "
            "begin anew, or use another run directory"
        )
    folder.delete()
    started.write_json(body)
    return log


def _left(config: Config, space: Space, wanted: int, log: TrialLog) -> int:
    points = search.remaining_points(config.tune, space, wanted, log)
    return search.remaining_trials(points, wanted, log.records())


class _Sweep:
    """One session of a sweep on a run with a recording."""

    def __init__(self, run: RunDirectory, config: Config, space: Space, store: DynamicsStore, log: TrialLog) -> None:
        self._run, self._config, self._space, self._log = run, config, space, log
        self._folder = run.root / "tune"
        index = store.index
        self._classes = tuple(index.classes)
        self._validation = validation_positions(index.labels, config.tune.validation_fraction, config.tune.seed)
        ensure_ray(config.scaling)
        self._workers = training_workers(config)
        self._slots = search.trial_slots(config, self._workers)

    def run(self, wanted: int, budget_s: float | None) -> dict[str, Any]:
        """Do the trials that are left, check the best points, write the results and return the summary."""
        started = time.monotonic()
        config = self._config
        with user_errors():
            data = load_resident(open_source(config.data))
            shop = self._shop(data, self._validation)
            baseline = None
            if config.tune.objective != ACCURACY:
                baseline = self._jobs(shop, check.baseline_jobs(config), "baseline")
            full = None if baseline is None else float(np.mean([row["accuracy"] for row in baseline]))
            objective = Objective.of(config.tune, full)
            self._search(shop, objective, wanted, budget_s)
            records = self._log.records()
            best = self._best(records, objective, budget_s)
            computed = ray.get(shop.scores.computed.remote())
            ray.kill(shop.scores)
            searched_s = time.monotonic() - started
            (self._folder / "trials.parquet").write_table(results.trials_table(records, self._space))
            (self._folder / "best.yaml").write_text(results.best_config(config, best[0]))
            test = self._test(data, best)
        return {
            "objective": config.tune.objective,
            "best": results.best_points(best),
            "num_trials": count_states(records),
            "full_accuracy": full,
            "test": test,
            "importance": results.importance(
                records, self._space, METRIC if config.tune.objective == LARGEST_RATIO else "accuracy"
            ),
            "validation_samples": len(self._validation),
            "candidates": shop.num_candidates,
            "scores_computed": sum(computed.values()),
            **results.costs(records),
            "searched_s": searched_s,
            "seconds": time.monotonic() - started,
        }

    def _shop(self, data: ResidentData, validation: np.ndarray | None) -> Workshop:
        compute = partial(compute_scores, str(self._run.root.address), validation)
        return Workshop(
            config=self._config,
            data=data,
            scores=ray.remote(num_cpus=0)(ScoreCache).remote(compute),
            classes=self._classes,
            num_candidates=data.num_train - (0 if validation is None else len(validation)),
            validation=validation,
            use_gpu=self._workers.use_gpu,
        )

    def _jobs(self, shop: Workshop, jobs: list[Job], name: str) -> list[dict[str, Any]]:
        return check.run_jobs(shop, jobs, self._folder / name, self._workers, self._slots or self._workers.count)

    def _search(self, shop: Workshop, objective: Objective, wanted: int, budget_s: float | None) -> None:
        config, settings, records = self._config, self._config.tune, self._log.records()
        points = search.remaining_points(settings, self._space, wanted, self._log)
        left = search.remaining_trials(points, wanted, records)
        if not left:
            return
        if records:
            logger.info("tune: %d of %d trials are there, %d are left", len(records), wanted, left)
        algorithm, param_space, samples = search.suggest(settings, self._space, objective, records, points)
        plan = Plan(shop, objective, self._log, settings.seeds, by_epoch=settings.scheduler != "none")
        resources = {"cpu": self._workers.cpus_each, "gpu": 1 if self._workers.use_gpu else 0}
        named = {} if objective.kind == PARETO else {"metric": METRIC, "mode": "max"}
        logs = self._folder / "logs"
        # Which loggers there are is said by tune.loggers alone.
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        # The board and the log say what happens; Ray Tune would say it again, a page a failure.
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with board(left) as shown:
            tune.Tuner(
                tune.with_resources(tune.with_parameters(Trial, plan=plan), resources),
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
                    # A trial has nothing to go on from: one that fails begins anew.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=settings.max_failures),
                    callbacks=[
                        LogWriter(self._log, budget_s),
                        shown,
                        *make_loggers(settings.loggers, self._run.root.name),
                    ],
                    verbose=0,
                ),
            ).fit()

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

    def _test(self, data: ResidentData, best: list[Record]) -> list[dict[str, Any]] | None:
        """Return the best points' accuracy on the test set, beside random subsets and the full set."""
        number = self._config.tune.test_points
        if not number or not data.chunks["test"]:
            logger.info(
                "tune: no check on the test set (%s)", "tune.test_points is 0" if not number else "there is none"
            )
            return None
        chosen = [config_at(self._config, record["point"]) for record in best[:number]]
        shop = self._shop(data, None)
        jobs = check.test_jobs(self._config, chosen)
        rows = self._jobs(shop, jobs, "test")
        ray.kill(shop.scores)
        named = []
        for job, row in zip(jobs, rows, strict=True):
            subset = row["subset"]
            if subset == SELECTED:
                subset = f"best-{chosen.index(job.config)}"
            named.append({**row, "subset": subset})
        return summarise(named)
