"""The dynamics store as a Ray Dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import ray.data

from dualprune.cluster.session import ensure_ray
from dualprune.core.sections import ScalingConfig
from dualprune.dynamics.store import DynamicsStore


def dataset_of(store: DynamicsStore, columns: Sequence[str] | None = None) -> ray.data.Dataset:
    """Return a Ray Dataset keyed by `sample_id`, one block per bucket: the rows of `DynamicsStore.bucket_table`."""
    names = store.check_columns(columns)
    # Ray Data by itself would join a cluster that happens to run on this machine.
    ensure_ray(ScalingConfig())
    buckets = ray.data.from_items(
        [{"bucket": bucket} for bucket in range(store.num_buckets)], override_num_blocks=store.num_buckets
    )

    def read(batch: dict[str, np.ndarray]) -> pa.Table:
        return pa.concat_tables(store.bucket_table(int(bucket), names) for bucket in batch["bucket"])

    return buckets.map_batches(read, batch_size=1)
