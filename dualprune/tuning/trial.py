"""A trial of a sweep as Ray Tune runs it: an actor that keeps its data from trial to trial."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from ray import tune

from dualprune.training.scratch import num_epochs
from dualprune.tuning.objective import Objective
from dualprune.tuning.space import Point, config_at
from dualprune.tuning.trial_log import TrialLog
from dualprune.tuning.worker import SELECTED, Job, Training, Worker, Workshop


@dataclass(frozen=True)
class Plan:
    """What every trial of a sweep knows."""

    shop: Workshop
    objective: Objective
    log: TrialLog
    seeds: int
    # Whether a scheduler wants to see every epoch.
    by_epoch: bool


def point_of(config: dict[str, Any]) -> Point:
    """Return the point that Ray Tune's configuration of a trial stands for."""
    return dict(config.get("point", config))


class Trial(tune.Trainable):  # type: ignore[misc]
    """Draws and trains a point with each seed, and reports the mean accuracy.

    With a scheduler, a step is an epoch of every seed's training, which then go side by side; else it is all of them.
    """

    def setup(self, config: dict[str, Any], plan: Plan) -> None:
        """Bring the data into this process."""
        self._plan = plan
        self._worker = Worker(plan.shop)
        self._ended_at: float | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._point = point_of(config)
        self._trainings: list[Training] = []
        self._began = False
        self._busy_s = 0.0
        # What lies between the end of the last trial and this one's is the price of a trial, but for its training.
        self._since = self._ended_at

    def step(self) -> dict[str, Any]:
        """Train, measure, and report."""
        if not self._began:
            self._began = True
            known = self._plan.log.find(self._point)
            if known is not None:
                self._ended_at = time.monotonic()
                return {**reported(known), "repeated": True, "done": True}
            self._config = config_at(self._plan.shop.config, self._point)
        if not self._plan.by_epoch:
            return self._all_at_once()
        if not self._trainings:
            self._trainings = [self._worker.begin(self._job(seed)) for seed in range(self._plan.seeds)]
        for training in self._trainings:
            if not training.scratch.finished:
                training.scratch.train_epoch()
        return self._result([self._measured(training) for training in self._trainings])

    def _all_at_once(self) -> dict[str, Any]:
        accuracies = []
        for seed in range(self._plan.seeds):
            training = self._worker.begin(self._job(seed))
            training.scratch.train()
            accuracies.append(self._measured(training))
            # One model at a time stays in memory.
            self._trainings = [training]
            self._busy_s += training.scratch.seconds
        return self._result(accuracies)

    def _job(self, seed: int) -> Job:
        return Job(SELECTED, self._config, seed)

    def _measured(self, training: Training) -> float:
        started = time.monotonic()
        accuracy = self._worker.accuracy(training)
        self._busy_s += time.monotonic() - started
        return accuracy

    def _result(self, accuracies: list[float]) -> dict[str, Any]:
        last = self._trainings[-1]
        finished = all(training.scratch.finished for training in self._trainings)
        now = time.monotonic()
        busy_s = self._busy_s
        if self._plan.by_epoch:
            busy_s += sum(training.scratch.seconds for training in self._trainings)
        self._ended_at = now
        accuracy = fmean(accuracies)
        return {
            "accuracy": accuracy,
            "stderr": stdev(accuracies) / sqrt(len(accuracies)) if len(accuracies) > 1 else None,
            "accuracies": accuracies,
            "ratio": last.ratio,
            "kept": last.kept,
            "objective": self._plan.objective.value(accuracy, last.ratio),
            # In epochs of the full schedule, however many steps a subset's epoch has.
            "progress": last.scratch.progress * num_epochs(self._config),
            "seconds": busy_s,
            "overhead_s": None if self._since is None else max(0.0, now - self._since - busy_s),
            "finished": finished,
            "done": finished,
        }


REPORTED = ("accuracy", "stderr", "accuracies", "ratio", "kept", "objective", "progress", "seconds", "overhead_s")


def reported(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a trial measured, without what Ray Tune adds."""
    return {name: values.get(name) for name in REPORTED}
