"""What the tests share: one Ray cluster per session, an object-store server, and made-up dynamics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.writer import DynamicsWriter

# Set before Ray is imported: a local cluster needs no token, and usage statistics are never sent.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Start one local Ray cluster for the whole session."""
    import ray

    # More CPUs than the machine may have: training workers must not starve Ray Data.
    ray.init(address="local", num_cpus=5, include_dashboard=False, logging_level="error", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """Run moto's S3 server and yield the options that an `s3://bucket/key` address needs to reach it."""
    import boto3
    from moto.server import ThreadedMotoServer

    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="bucket")
    yield f"endpoint_override=http://{host}:{port}&region=us-east-1&allow_bucket_creation=true"
    server.stop()


@pytest.fixture
def s3(object_store: str, request: pytest.FixtureRequest) -> str:
    """Return an S3 address that is this test's own."""
    return f"s3://bucket/{request.node.name}?{object_store}"


MakeDynamics = Callable[..., RunDirectory]


@pytest.fixture
def make_dynamics(tmp_path: Path) -> MakeDynamics:
    """Return a function that fills a run directory with given dynamics [N, T], as recording would.

    Further statistics are passed by name.
    """

    def make(
        target_prob: np.ndarray,
        *,
        ids: list[str] | np.ndarray | None = None,
        labels: np.ndarray | None = None,
        num_buckets: int = 2,
        num_classes: int = 3,
        place: str | None = None,
        **others: np.ndarray,
    ) -> RunDirectory:
        run = RunDirectory(place or tmp_path / "run")
        num_samples, num_epochs = target_prob.shape
        ids_array = pa.array(np.arange(num_samples) if ids is None else ids)
        label_array = pa.array(np.arange(num_samples) % num_classes if labels is None else labels)
        index = SampleIndex.build(
            run.index,
            [pa.record_batch({"sample_id": ids_array, "label": label_array})],
            num_samples=num_samples,
            num_buckets=num_buckets,
            classes=[str(c) for c in range(num_classes)],
            fingerprint="made-up",
        )
        writer = DynamicsWriter(run.dynamics, index, ("target_prob", *others), "made-up")
        for epoch in range(num_epochs):
            files = []
            for bucket in range(index.num_buckets):
                start, stop = index.bucket_range(bucket)
                every = [array[start:stop, epoch] for array in (target_prob, *others.values())]
                values = np.stack(every).astype(np.float32)
                files.append(writer.write_bucket(epoch, bucket, np.arange(start, stop), values))
            writer.commit(epoch, files)
        return run

    return make


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process all buckets of the score stage in this process, so that no cluster is needed."""

    def here(function: Callable[[int], Any], buckets: Sequence[int], *_: Any, **__: Any) -> Iterator[Any]:
        return map(function, buckets)

    for module in ("stage", "column_scores"):
        monkeypatch.setattr(f"dualprune.stages.score.{module}.over_buckets", here)
