"""Joins a Ray cluster or starts one here, and brings errors out of Ray as they were raised."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from dualprune.core.config import ScalingConfig
from dualprune.errors import UserError

# Each barrier of Ray Train waits for the controller's next look, which is every two seconds by default.
_LOCAL_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
}


def ensure_ray(scaling: ScalingConfig) -> None:
    """Join the cluster at `scaling.address` or `RAY_ADDRESS`; without either, start one on this machine."""
    if ray.is_initialized():
        return
    address = scaling.address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
        return
    for name, value in _LOCAL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    workers = num_workers(scaling, num_gpus=0)
    # CPUs are Ray's tickets, not its cores: training must not take the tickets that Ray Data needs.
    num_cpus = max(os.cpu_count() or 1, int(workers * scaling.cpus_per_worker) + 2)
    ray.init(num_cpus=num_cpus, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)


def num_workers(scaling: ScalingConfig, num_gpus: float) -> int:
    """Return the number of training workers: as configured, else one a GPU, else two."""
    if scaling.num_workers is not None:
        return scaling.num_workers
    return int(num_gpus) if uses_gpu(scaling, num_gpus) else 2


def uses_gpu(scaling: ScalingConfig, num_gpus: float) -> bool:
    """Return whether training runs on GPUs."""
    return scaling.use_gpu if scaling.use_gpu is not None else num_gpus >= 1


def cluster_gpus() -> float:
    """Return the number of GPUs of the whole cluster."""
    return float(ray.cluster_resources().get("GPU", 0.0))


@contextmanager
def user_errors() -> Iterator[None]:
    """Raise a `UserError` from inside a Ray task, actor or training worker as itself."""
    try:
        yield
    except UserError as error:
        # A task's error is of the user's class too, but its text is the traceback.
        raise (_user_error(error) or error) from None
    except Exception as error:
        cause = _user_error(error)
        if cause is None:
            raise
        raise cause from None


def _user_error(error: BaseException | None, depth: int = 0) -> UserError | None:
    if error is None or depth > 8:
        return None
    if isinstance(error, UserError) and not isinstance(error, ray.exceptions.RayTaskError):
        return error
    failures = getattr(error, "worker_failures", None) or {}
    inner = [getattr(error, "cause", None), *failures.values(), error.__cause__, error.__context__]
    found = (_user_error(item, depth + 1) for item in inner if isinstance(item, BaseException))
    return next((item for item in found if item is not None), None)


def on_terminal() -> bool:
    """Whether a person watches: progress bars are for them alone."""
    return sys.stderr.isatty()
