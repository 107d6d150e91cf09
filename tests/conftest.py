"""What the tests share: one Ray cluster a session, and a small data set's dynamics."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Set before Ray is imported: a local cluster needs no token, and usage statistics are never sent.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Start one local Ray cluster for the whole session."""
    import ray

    # More CPUs than the machine may have: training workers must not starve Ray Data.
    ray.init(num_cpus=4, include_dashboard=False, logging_level="warning", log_to_driver=False)
    yield
    ray.shutdown()
