"""Joins a Ray cluster or starts one on this machine, and raises errors from inside Ray as they were raised there.

Ray is imported when a function here needs it, so that importing this module costs stages nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dualprune.cluster import gauges
from dualprune.cluster.train import num_workers
from dualprune.core.sections import ScalingConfig
from dualprune.errors import RunError, UserError

# The address that starts a cluster on this machine.
LOCAL = "local"
KNOCK_S = 10.0
_LOCAL_ENVIRONMENT = {
    # Each barrier of Ray Train waits for the controller's next poll, which comes every two seconds by default.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Nobody preempts the machine that we are on; watching for it takes a process.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
}


def cluster_address(scaling: ScalingConfig) -> str | None:
    """Return the address of the cluster to join, `scaling.address` or `RAY_ADDRESS`; None to start one on this machine.

    A cluster that merely runs on this machine is not joined.
    """
    address = scaling.address or os.environ.get("RAY_ADDRESS")
    return None if address == LOCAL else address or None


def ensure_ray(scaling: ScalingConfig) -> None:
    """Join or start the cluster of `cluster_address`; a RunError where that is not possible."""
    import ray

    if not ray.is_initialized():
        address = cluster_address(scaling)
        if address is None:
            _start(scaling)
        else:
            _join(address, "scaling.address" if scaling.address else "RAY_ADDRESS")
    gauges.install()


def _join(address: str, named_by: str) -> None:
    import ray

    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
    # Ray raises these for an address that it cannot read, a cluster that does not answer, and one of another version.
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise RunError(
            f"{named_by}: the Ray cluster at {address} cannot be joined: {_first_line(error)}; give the address of one "
            f"that runs, or `{LOCAL}` to start one on this machine"
        ) from error


def _knock(address: str) -> None:
    """Raise an OSError where nobody listens at HOST:PORT, for which Ray would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


def _start(scaling: ScalingConfig) -> None:
    import ray

    for name, value in _LOCAL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    workers = num_workers(scaling, num_gpus=0)
    # CPUs are Ray's tickets, not cores: training must not take the tickets that Ray Data needs.
    num_cpus = max(os.cpu_count() or 1, int(workers * scaling.cpus_per_worker) + 2)
    quiet: dict[str, Any] = {"include_dashboard": False, "logging_level": logging.ERROR, "log_to_driver": False}
    try:
        # Without an address Ray would look for a cluster on this machine, and find anybody's, or one that has ended.
        ray.init(address=LOCAL, num_cpus=num_cpus, **quiet)
    except OSError as error:
        raise RunError(
            f"Ray cannot start on this machine: {_first_line(error)}; set RAY_TMPDIR to a folder of yours with a short "
            "path"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def user_errors() -> Iterator[None]:
    """Raise a `UserError` from inside a Ray task, actor or training worker as itself."""
    try:
        yield
    except UserError as error:
        # Ray's error for a task also has the user's class, but its text is the traceback.
        raise (user_error(error) or error) from None
    except Exception as error:
        cause = user_error(error)
        if cause is None:
            raise
        raise cause from None


def user_error(error: BaseException | None, depth: int = 0) -> UserError | None:
    """Return the `UserError` that caused an error of Ray, or None."""
    if error is None or depth > 8:
        return None
    # A RayTaskError has the class of its cause, too; this method identifies it without importing Ray.
    if isinstance(error, UserError) and not hasattr(error, "as_instanceof_cause"):
        return error
    failures = getattr(error, "worker_failures", None) or {}
    inner = [getattr(error, "cause", None), *failures.values(), error.__cause__, error.__context__]
    found = (user_error(item, depth + 1) for item in inner if isinstance(item, BaseException))
    return next((item for item in found if item is not None), None)


def on_terminal() -> bool:
    """Return whether a person is watching: only they get progress bars."""
    return sys.stderr.isatty()
