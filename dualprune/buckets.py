"""Runs a function over buckets by Ray Data: a task each, no shuffle, results in order as they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cloudpickle
import pyarrow as pa
import ray
import ray.data

from dualprune.errors import UserError


def over_buckets(function: Callable[[int], Any], buckets: Sequence[int]) -> Iterator[Any]:
    """Give function(bucket) for each bucket, in their order; at most a few results wait on the driver."""
    if not buckets:
        return
    # It reports every execution; the stages say what a user wants to know.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    shared = ray.put(function)

    def work(batch: dict[str, Any]) -> pa.Table:
        results = [cloudpickle.dumps(_result(ray.get(shared), int(bucket))) for bucket in batch["bucket"]]
        return pa.table({"result": pa.array(results, type=pa.large_binary())})

    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    with ray.data.DataContext.current(context):
        items = ray.data.from_items([{"bucket": bucket} for bucket in buckets], override_num_blocks=len(buckets))
        for batch in items.map_batches(work, batch_size=1).iter_batches(batch_size=None, batch_format="pyarrow"):
            for result in batch["result"]:
                value = cloudpickle.loads(result.as_py())
                if isinstance(value, UserError):
                    raise value
                yield value


def _result(function: Callable[[int], Any], bucket: int) -> Any:
    try:
        return function(bucket)
    except UserError as error:
        # Ray Data would wrap it in its own, without the cause.
        return error
