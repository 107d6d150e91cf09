"""Publishes the figures of `core.metrics` through Ray, for Prometheus; Ray puts `ray_` before their names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dualprune.core import metrics

# Ray spells its settings this way.
SWITCH = "RAY_enable_metrics_collection"

_gauges: dict[str, Any] = {}


def install() -> None:
    """Publish this process's figures through Ray: for the driver once it has joined, and for each worker at its start.

    Nothing is published where Ray's metrics are off (`RAY_enable_metrics_collection=0`), or after Ray is left.
    """
    metrics.install(_publish)


def _publish(name: str, value: float, tags: Mapping[str, str]) -> None:
    import ray

    if os.environ.get(SWITCH, "1").lower() in {"0", "false"} or not ray.is_initialized():
        return
    if name not in _gauges:
        from ray.util.metrics import Gauge

        description, tag_keys = metrics.GAUGES[name]
        _gauges[name] = Gauge(name, description=description, tag_keys=tag_keys)
    _gauges[name].set(value, tags=dict(tags))
