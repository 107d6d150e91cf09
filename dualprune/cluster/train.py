"""Runs a function on several training workers with Ray Train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualprune.core.sections import ScalingConfig
from dualprune.core.storage import Location

if TYPE_CHECKING:
    import ray.train


@dataclass(frozen=True)
class Workers:
    """Training workers of a cluster, each with one GPU or with `cpus_each` CPUs alone."""

    count: int
    use_gpu: bool
    cpus_each: float

    @classmethod
    def of(cls, scaling: ScalingConfig) -> Workers:
        """Return the workers that the joined cluster has for training."""
        import ray

        gpus = float(ray.cluster_resources().get("GPU", 0.0))
        use_gpu = scaling.use_gpu if scaling.use_gpu is not None else gpus >= 1
        return cls(num_workers(scaling, gpus), use_gpu, scaling.cpus_per_worker)

    def scaling_config(self) -> ray.train.ScalingConfig:
        """Return these workers as Ray Train's ScalingConfig."""
        import ray.train

        each = {"CPU": self.cpus_each} | ({"GPU": 1.0} if self.use_gpu else {})
        return ray.train.ScalingConfig(num_workers=self.count, use_gpu=self.use_gpu, resources_per_worker=each)


def num_workers(scaling: ScalingConfig, num_gpus: float) -> int:
    """Return the number of training workers: as configured, else one per GPU, else two."""
    if scaling.num_workers is not None:
        return scaling.num_workers
    on_gpus = scaling.use_gpu if scaling.use_gpu is not None else num_gpus >= 1
    return int(num_gpus) if on_gpus else 2


def fit(
    work: Callable[[dict[str, Any]], dict[str, Any]],
    job: Any,
    workers: Workers,
    storage: Location,
    name: str,
    *,
    max_failures: int,
    num_to_keep: int | None = 3,
) -> dict[str, Any]:
    """Run `work({"job": job})` on every worker and return rank 0's result.

    Ray Train keeps its state and the newest `num_to_keep` checkpoints in `storage`; a run of the same `name` there
    resumes where it ended.
    """
    import ray.train
    import ray.train.torch

    where: dict[str, Any] = {"storage_path": storage.path}
    if not storage.is_local:
        where["storage_filesystem"] = storage.filesystem
    trainer = ray.train.torch.TorchTrainer(
        work,
        train_loop_config={"job": job},
        scaling_config=workers.scaling_config(),
        run_config=ray.train.RunConfig(
            name=name,
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=num_to_keep),
            **where,
        ),
    )
    result: dict[str, Any] = trainer.fit().return_value
    return result
