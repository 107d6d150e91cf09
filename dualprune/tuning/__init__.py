"""Sweeps of sampling settings and pruning ratios with Ray Tune: a recorded run in, the best points out."""

from __future__ import annotations

from dualprune.tuning.stage import run_tune

__all__ = ["run_tune"]
