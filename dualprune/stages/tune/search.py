"""Builds Ray Tune's parts from `config.tune`: the search algorithm, the scheduler, and the resources of a trial."""

from __future__ import annotations

import os
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import SearchAlgorithm, Searcher
from ray.tune.search.optuna import OptunaSearch

from dualprune.cluster.session import cluster_address
from dualprune.cluster.train import Workers
from dualprune.core.config import Config
from dualprune.core.sections import TuneConfig
from dualprune.errors import ConfigError
from dualprune.stages.tune.objective import ACCURACY, METRIC, METRICS, PARETO, Objective
from dualprune.stages.tune.space import Point, Space, grid_points, random_points
from dualprune.stages.tune.trial_log import FAILED, Record, TrialLog, num_suggested
from dualprune.training.subset import num_epochs

STUDY = "dualprune"


def check_settings(whole: Config, space: Space) -> None:
    """Raise a ConfigError for settings that do not go together, or that trials cannot follow."""
    config = whole.tune
    _check_select(whole, space)
    if len(whole.evaluate.budget) > 1:
        raise ConfigError(
            f"config.evaluate.budget: [{', '.join(whole.evaluate.budget)}]; a trial trains once, so set it to one of "
            "these"
        )
    if config.objective != ACCURACY:
        if config.scheduler != "none":
            raise ConfigError(
                f"config.tune.scheduler: {config.scheduler} stops trials by their accuracy, which would stop the high "
                f"ratios that objective {config.objective} looks for; set it to none, or tune.objective to accuracy"
            )
        if "select.ratio" not in space:
            raise ConfigError(
                f"config.tune.space: has no select.ratio, which objective {config.objective} needs; add it"
            )
    if config.scheduler != "none" and config.grace_epochs >= (longest := num_epochs(whole)):
        raise ConfigError(
            f"config.tune.grace_epochs: {config.grace_epochs} leaves nothing to stop in trainings of {longest} epochs; "
            "lower it"
        )


def _check_select(config: Config, space: Space) -> None:
    select = config.select
    if "select.ratio" not in space and len(select.ratios) > 1:
        raise ConfigError(
            f"config.select.ratio: {select.ratios} are several, but a trial has one; set one, or add select.ratio to "
            "tune.space"
        )
    for name in ("always_keep", "never_keep", "deduplicate"):
        if getattr(select, name):
            raise ConfigError(
                f"config.select.{name}: a sweep does not support it; unset it, and set it again for `prune`"
            )
    if select.balance.active and select.balance.by != "label":
        raise ConfigError(
            f"config.select.balance.by: {select.balance.by}, but a sweep balances by label alone; set it to label"
        )


def wanted_trials(config: TuneConfig, space: Space, max_trials: int | None) -> int:
    """Return how many points the whole sweep tries."""
    wanted = config.num_trials if max_trials is None else max_trials
    return min(wanted, len(grid_points(space))) if config.search == "grid" else wanted


def remaining_points(config: TuneConfig, space: Space, wanted: int, log: TrialLog) -> list[Point] | None:
    """Return the grid or random points that are not tried yet, in order; None where Optuna suggests them."""
    if config.search == "optuna":
        return None
    points = grid_points(space) if config.search == "grid" else random_points(space, wanted, config.seed)
    return [point for point in points[:wanted] if log.find(point) is None]


def remaining_trials(points: list[Point] | None, wanted: int, records: list[Record]) -> int:
    """Return how many trials are left for this session."""
    return len(points) if points is not None else max(0, wanted - num_suggested(records))


def suggest(
    config: TuneConfig, space: Space, objective: Objective, records: list[Record], points: list[Point] | None
) -> tuple[SearchAlgorithm | Searcher | None, dict[str, Any], int | None]:
    """Return Ray Tune's search algorithm and parameter space, and the number of samples where points are listed."""
    if points is not None:
        return None, {"point": tune.grid_search(points)}, 1
    metrics = METRICS if objective.kind == PARETO else METRIC
    modes = ["max"] * len(METRICS) if objective.kind == PARETO else "max"
    done = [record for record in records if record["state"] != FAILED]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    # A resumed search draws other points than the first one, and knows the results of those.
    sampler = optuna.samplers.TPESampler(seed=config.seed + len(done))
    known = optuna.create_study(
        storage=storage, study_name=STUDY, directions=["maximize"] * (len(METRICS) if objective.kind == PARETO else 1)
    )
    distributions = {key: domain.distribution() for key, domain in space.items()}
    for record in done:
        known.add_trial(
            optuna.trial.create_trial(
                params=record["point"], distributions=distributions, values=objective.values(record)
            )
        )
    search = OptunaSearch(distributions, metric=metrics, mode=modes, sampler=sampler, storage=storage, study_name=STUDY)
    return search, {}, None


def scheduler(config: Config) -> TrialScheduler:
    """Return the scheduler that stops trials early; it compares them by epochs of the full schedule."""
    settings, longest = config.tune, num_epochs(config)
    if settings.scheduler == "none":
        return FIFOScheduler()
    if settings.scheduler == "median":
        return MedianStoppingRule(time_attr="progress", grace_period=settings.grace_epochs, min_samples_required=3)
    return ASHAScheduler(
        time_attr="progress",
        max_t=longest,
        grace_period=settings.grace_epochs,
        reduction_factor=settings.reduction_factor,
    )


def trial_slots(config: Config, workers: Workers) -> int | None:
    """Return how many trials run at a time; None: as many as the cluster, which may grow, has room for.

    On a cluster of one node without a GPU it is one per core, as Ray may count more CPUs there than exist.
    """
    each = config.tune.workers_per_trial
    if config.tune.max_concurrent is not None:
        return config.tune.max_concurrent
    if each > 1:
        # Each trial's Ray Train requests its own workers; more trials than have room would wait for each other.
        kind, size = ("GPU", 1.0) if workers.use_gpu else ("CPU", workers.cpus_each)
        return max(1, int(ray.cluster_resources().get(kind, 1.0) / size / each))
    if workers.use_gpu:
        return None
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1 or cluster_address(config.scaling) is not None:
        return None
    cpus = min(ray.cluster_resources().get("CPU", 1.0), os.cpu_count() or 1)
    return max(1, int(cpus / workers.cpus_each))
