"""Sweeps of sampling settings and pruning ratios with Ray Tune; a run with recorded dynamics in, the best points out."""

from __future__ import annotations

from dualprune.tuning.stage import run_tune

__all__ = ["run_tune"]
