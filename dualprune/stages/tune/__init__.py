"""Sweeps of sampling settings and pruning ratios with Ray Tune: a recorded run in, the best points out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualprune.stages.tune.stage import run_tune as run_tune

__all__ = ["run_tune"]


def __getattr__(name: str) -> Any:
    # The process that computes scores imports a part of this package, and must not wait for torch and Ray Tune.
    if name == "run_tune":
        from dualprune.stages.tune.stage import run_tune

        return run_tune
    raise AttributeError(f"module 'dualprune.stages.tune' has no attribute {name!r}")
