"""Spread: how far a kept set is from the hardest held-out examples; a figure of a set, not of a sample.

    d_i = distance of held-out example i from the nearest kept sample,
    spread = mean of the d_i at or above their 99.9th percentile.

The hardness of the set is -spread (EMNLP 2022, arXiv 2211.09113). That the distance is that of the nearest kept sample
is our reading: the authors' reduction is not published.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dualprune.errors import ConfigError, DataError
from dualprune.scores.features import checked_features
from dualprune.scores.neighbours import neighbours


def spread(kept_features: Any, held_out_features: Any, *, percentile: float = 99.9) -> float:
    """Return the spread of a kept set [k, d] against held-out examples [m, d]: high means that it covers them badly.

    Of up to 1,000 examples it is the largest distance.

    Raises:
        ConfigError: a percentile that is not in [0, 100].
        DataError: no samples or examples, values that are not finite, or vectors of other lengths.
    """
    if not 0.0 <= percentile <= 100.0:
        raise ConfigError(f"percentile: {percentile!r} is not in [0, 100]")
    kept = checked_features(kept_features, "kept_features")
    held_out = checked_features(held_out_features, "held_out_features")
    if kept.shape[1] != held_out.shape[1]:
        raise DataError(
            f"held_out_features have {held_out.shape[1]} values per example, kept_features {kept.shape[1]}; expected "
            "features of the same model and layer"
        )
    distance = neighbours(held_out, kept, 1).distances[:, 0]
    return float(distance[distance >= np.percentile(distance, percentile)].mean())
