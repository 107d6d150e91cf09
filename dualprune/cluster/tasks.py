"""Runs a function over buckets by Ray Data: a task each, no shuffle, results in order as they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import ray
import ray.data

from dualprune.errors import RunError, UserError

# Of `light` work: enough that no core is idle at the end, few enough that starting them does not count.
TASKS_PER_CPU = 4


def over_buckets(function: Callable[[int], Any], buckets: Sequence[int], *, light: bool = False) -> Iterator[Any]:
    """Give function(bucket) for each bucket, in their order; at most a few results wait on the driver.

    With `light`, a task does several buckets, one after the other: for work that takes no longer than a task's start.
    """
    if not buckets:
        return
    # It reports every execution; the stages say what a user wants to know.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    shared = ray.put(function)

    def work(batch: dict[str, Any]) -> pa.Table:
        results = [cloudpickle.dumps(_result(shared, int(bucket))) for bucket in batch["bucket"][0]]
        return pa.table({"result": pa.array(results, type=pa.large_binary())})

    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    # The stages draw their own.
    context.enable_progress_bars = False
    # It would hold a part of the processors back for further stages, of which there are none: on two, one of them.
    context.op_resource_reservation_enabled = False
    with ray.data.DataContext.current(context):
        tasks = min(len(buckets), TASKS_PER_CPU * int(ray.cluster_resources().get("CPU", 1))) if light else len(buckets)
        groups = [part.tolist() for part in np.array_split(np.asarray(buckets), tasks)]
        items = ray.data.from_items([{"bucket": group} for group in groups], override_num_blocks=tasks)
        for batch in items.map_batches(work, batch_size=1).iter_batches(batch_size=None, batch_format="pyarrow"):
            for result in batch["result"]:
                value = cloudpickle.loads(result.as_py())
                if isinstance(value, UserError):
                    raise value
                yield value


def with_progress(title: str, function: Callable[[int], Any], buckets: Sequence[int]) -> Iterator[Any]:
    """Give what `over_buckets` does, with a bar, on a cluster that is started where there is none.

    One bucket alone is not worth a cluster, and is worked on here.
    """
    from dualprune.cluster.progress import counted
    from dualprune.cluster.session import ensure_ray
    from dualprune.core.config import ScalingConfig

    if len(buckets) == 1:
        yield function(buckets[0])
        return
    ensure_ray(ScalingConfig())
    with counted(title, total=len(buckets)) as one_more:
        for result in over_buckets(function, buckets):
            yield result
            one_more()


def _result(shared: Any, bucket: int) -> Any:
    try:
        return ray.get(shared)(bucket)
    except ray.exceptions.RaySystemError as error:
        # Ray Data would try again for ever.
        reason = str(error.__cause__ or error).strip().splitlines()[-1]
        return RunError(
            f"a worker cannot load what it is to do: {reason}; make the modules of plug-ins importable on every node, "
            "by installing them or by the runtime environment's working_dir or py_modules"
        )
    except UserError as error:
        # Ray Data would wrap it in its own, without the cause.
        return error
