"""Figures for Prometheus by Ray's metrics: a few values an epoch and a stage, nothing a step.

Ray puts `ray_` before the names. Nothing happens where Ray is not joined, or where its metrics are off
(`RAY_enable_metrics_collection=0`).
"""

from __future__ import annotations

import os
import sys
from typing import Any

# Ray spells its settings so.
SWITCH = "RAY_enable_metrics_collection"

# name: (what it is, its tags)
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "dualprune_epoch": ("Last epoch that was trained while recording, from 0.", ("run",)),
    "dualprune_epochs_planned": ("Epochs that recording will train.", ("run",)),
    "dualprune_samples_per_second": ("Samples trained on a second in the last epoch, over all workers.", ("run",)),
    "dualprune_loss": ("Mean training loss of the last epoch.", ("run",)),
    "dualprune_train_accuracy": ("Share of training samples predicted right in the last epoch.", ("run",)),
    "dualprune_commit_seconds": ("Seconds that the last commit of an epoch held training up.", ("run",)),
    "dualprune_stage_seconds": ("Seconds that a stage took, interruptions included.", ("run", "stage")),
}

_gauges: dict[str, Any] = {}


def gauge(name: str, value: float, **tags: str) -> None:
    """Set a gauge of `GAUGES`; every one of its tags must be given."""
    description, tag_keys = GAUGES[name]
    assert set(tags) == set(tag_keys), f"{name} has the tags {tag_keys}, not {sorted(tags)}"
    if not _on():
        return
    if name not in _gauges:
        from ray.util.metrics import Gauge

        _gauges[name] = Gauge(name, description=description, tag_keys=tag_keys)
    _gauges[name].set(float(value), tags=tags)


def _on() -> bool:
    if os.environ.get(SWITCH, "1").lower() in {"0", "false"}:
        return False
    # Not imported here: a command that needs no Ray must not load it for the sake of a figure.
    ray = sys.modules.get("ray")
    return bool(ray is not None and ray.is_initialized())
