"""Runs a function over buckets: one bucket in this process, several with Ray Data, a task each and no shuffle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa

from dualprune.cluster.session import ensure_ray, user_errors
from dualprune.core.sections import ScalingConfig
from dualprune.errors import RunError, UserError

# For `light` work: enough tasks that no core idles at the end, few enough that starting them costs little.
TASKS_PER_CPU = 4


def over_buckets(
    function: Callable[[int], Any],
    buckets: Sequence[int],
    scaling: ScalingConfig | None = None,
    *,
    light: bool = False,
    title: str | None = None,
) -> Iterator[Any]:
    """Yield function(bucket) for each bucket, in order; only a few results at a time wait on the driver.

    A single bucket is processed here, and Ray is not even imported. For several, the cluster of `scaling` is joined or
    started where that has not happened yet. A `UserError` is raised as the task raised it.

    Args:
        function: what to do with a bucket; it is pickled.
        buckets: their numbers.
        scaling: which cluster to join; None: that of `RAY_ADDRESS`, or a local one.
        light: let a task process several buckets in turn, for work that takes no longer than starting a task.
        title: show a progress bar of this title.
    """
    if len(buckets) == 1:
        yield function(int(buckets[0]))
    elif buckets:
        ensure_ray(scaling or ScalingConfig())
        with ExitStack() as stack:
            stack.enter_context(user_errors())
            done = None
            if title is not None:
                from dualprune.cluster.progress import progress_bar

                done = stack.enter_context(progress_bar(title, total=len(buckets)))
            for result in _with_ray_data(function, buckets, light):
                yield result
                if done is not None:
                    done()


def _with_ray_data(function: Callable[[int], Any], buckets: Sequence[int], light: bool) -> Iterator[Any]:
    import ray
    import ray.data

    # Ray Data reports every execution; the stages log what a user wants to know.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    shared = ray.put(function)

    def work(batch: dict[str, Any]) -> pa.Table:
        results = [cloudpickle.dumps(_result(shared, int(bucket))) for bucket in batch["bucket"][0]]
        return pa.table({"result": pa.array(results, type=pa.large_binary())})

    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    # The stages draw their own.
    context.enable_progress_bars = False
    # Ray Data reserves CPUs for downstream operators; there are none here.
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


def _result(shared: Any, bucket: int) -> Any:
    import ray

    try:
        return ray.get(shared)(bucket)
    except ray.exceptions.RaySystemError as error:
        # Ray Data would retry this forever.
        reason = str(error.__cause__ or error).strip().splitlines()[-1]
        return RunError(
            f"a worker cannot load the function that it is to run: {reason}; make the modules of plug-ins importable "
            "on every node: install them, or name them in the runtime environment's working_dir or py_modules"
        )
    except UserError as error:
        # Ray Data would wrap the error in one of its own, without the cause.
        return error
