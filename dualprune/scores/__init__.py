"""Score methods: arrays of recorded statistics [n, T] or features [n, d] in, one score per sample out.

No Ray, no torch, no files here.

`dualprune.scores.NAME` is the function of that name in the file of the method NAME, where there is one.
"""

from __future__ import annotations

from typing import Any

from dualprune.scores.dual import Dual, DualAccumulator, dual, dual_and_mean
from dualprune.scores.features import FeatureScore, from_features
from dualprune.scores.mean_prob import MeanProb, mean_prob
from dualprune.scores.score import SCORES, Accumulator, ColumnScore, EpochScore, ScoreMethod
from dualprune.scores.spread import spread
from dualprune.scores.statistics import from_probs

__all__ = [
    "SCORES",
    "Accumulator",
    "ColumnScore",
    "Dual",
    "DualAccumulator",
    "EpochScore",
    "FeatureScore",
    "MeanProb",
    "ScoreMethod",
    "dual",
    "dual_and_mean",
    "from_features",
    "from_probs",
    "mean_prob",
    "spread",
]


def __getattr__(name: str) -> Any:
    # A method whose file is not named above: the registry imports it, which binds its function here.
    if not name.startswith("_") and name in SCORES and name in globals():
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
