"""A trial of a sweep as Ray Tune runs it: an actor that keeps its data from trial to trial."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from ray import tune

from dualprune.core.config import Config
from dualprune.stages.evaluate.worker import Training, Worker
from dualprune.stages.tune.context import SweepContext
from dualprune.stages.tune.objective import Objective
from dualprune.stages.tune.space import Point, config_at
from dualprune.stages.tune.trial_log import TrialLog
from dualprune.training.subset import num_epochs


@dataclass(frozen=True)
class Plan:
    """The facts that every trial of a sweep shares."""

    sweep: SweepContext
    objective: Objective
    log: TrialLog
    seeds: int
    # Whether a scheduler wants to see every epoch.
    by_epoch: bool

    def known(self, point: Point) -> dict[str, Any] | None:
        """Return what a point's earlier trial measured, as this one's only result; None for a new point."""
        record = self.log.find(point)
        return None if record is None else {**reported(record), "repeated": True, "done": True}

    def results(self, worker: Worker, point: Point) -> Iterator[dict[str, Any]]:
        """Draw and train a point with each seed, and yield results with the mean accuracy.

        Where a scheduler watches, there is a result per epoch, and the trainings of all seeds advance together. Else
        there is one result, and one model at a time is in memory.
        """
        config = config_at(self.sweep.config, point)
        if not self.by_epoch:
            measured = []
            for seed in range(self.seeds):
                training = worker.begin(self.sweep.selected(config, seed))
                training.scratch.train()
                measured.append((training.scratch.seconds, *worker.measured(training)))
            yield self._result(config, [training], *map(list, zip(*measured, strict=True)))
            return
        trainings = [worker.begin(self.sweep.selected(config, seed)) for seed in range(self.seeds)]
        looked_s = [0.0] * self.seeds
        while not all(training.scratch.finished for training in trainings):
            accuracies = []
            for seed, training in enumerate(trainings):
                if not training.scratch.finished:
                    training.scratch.train_epoch()
                accuracy, seconds = worker.measured(training)
                accuracies.append(accuracy)
                looked_s[seed] += seconds
            yield self._result(config, trainings, [t.scratch.seconds for t in trainings], accuracies, looked_s)

    def _result(
        self,
        config: Config,
        trainings: list[Training],
        trained_s: list[float],
        accuracies: list[float],
        looked_s: list[float],
    ) -> dict[str, Any]:
        last = trainings[-1]
        finished = all(training.scratch.finished for training in trainings)
        accuracy = fmean(accuracies)
        return {
            "accuracy": accuracy,
            "stderr": stdev(accuracies) / sqrt(len(accuracies)) if len(accuracies) > 1 else None,
            "accuracies": accuracies,
            "ratio": last.ratio,
            "kept": last.kept,
            "objective": self.objective.value(accuracy, last.ratio),
            # In epochs of the full schedule, however many steps a subset's epoch has.
            "progress": last.scratch.progress * num_epochs(config),
            "seconds": sum(trained_s) + sum(looked_s),
            "finished": finished,
            "done": finished,
        }


class Trial(tune.Trainable):  # type: ignore[misc]
    """A trial of one worker; the actor runs the next trial without a new start."""

    def setup(self, config: dict[str, Any], plan: Plan) -> None:
        """Move the data to this process's device."""
        self._plan = plan
        self._worker = Worker(plan.sweep.training)
        self._ended_at: float | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare for another trial."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._point = point_of(config)
        self._results: Iterator[dict[str, Any]] | None = None
        # The time since the end of the last trial, without training and measuring, is the overhead of this one.
        self._since = self._ended_at

    def step(self) -> dict[str, Any]:
        """Train, measure, and report."""
        known = self._plan.known(self._point) if self._results is None else None
        if known is None:
            if self._results is None:
                self._results = self._plan.results(self._worker, self._point)
            known = next(self._results)
            if self._since is not None:
                known["overhead_s"] = max(0.0, time.monotonic() - self._since - known["seconds"])
        self._ended_at = time.monotonic()
        return known


def point_of(config: dict[str, Any]) -> Point:
    """Return the point of a trial from Ray Tune's configuration."""
    return dict(config.get("point", config))


REPORTED = ("accuracy", "stderr", "accuracies", "ratio", "kept", "objective", "progress", "seconds", "overhead_s")


def reported(values: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a trial, without what Ray Tune adds."""
    return {name: values.get(name) for name in REPORTED}
