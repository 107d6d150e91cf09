"""A trial of several workers: Ray Train inside Ray Tune. It starts anew for each trial, so it suits long trials."""

from __future__ import annotations

import uuid
from typing import Any

import ray.train
import ray.train.torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from dualprune.cluster.train import Workers
from dualprune.core.storage import Location
from dualprune.stages.evaluate.worker import Worker
from dualprune.stages.tune.trial import Plan, point_of


def nested_trial(config: dict[str, Any], plan: Plan, workers: Workers, storage: Location) -> None:
    """Run one trial on `workers`; Ray Train's reports become those of the trial."""
    point = point_of(config)
    known = plan.known(point)
    if known is not None:
        tune.report(known)
        return
    trainer = ray.train.torch.TorchTrainer(
        _train,
        train_loop_config={"plan": plan, "point": point},
        scaling_config=workers.scaling_config(),
        run_config=ray.train.RunConfig(
            # Unique, as Ray Train would resume a run of the same name.
            name=f"train-{uuid.uuid4().hex[:8]}",
            storage_path=storage.path,
            storage_filesystem=None if storage.is_local else storage.filesystem,
            callbacks=[TuneReportCallback()],
        ),
    )
    trainer.fit()


def _train(arguments: dict[str, Any]) -> None:
    plan: Plan = arguments["plan"]
    worker = Worker(plan.sweep.training, ray.train.torch.get_device(), ray.train.torch.prepare_model)
    # Every rank draws the same samples and reports; rank 0's numbers, which cover all ranks, count.
    for result in plan.results(worker, arguments["point"]):
        ray.train.report(result)
