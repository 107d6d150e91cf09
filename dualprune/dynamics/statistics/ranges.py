"""The values that a statistic can have; what lies outside was recorded or copied wrongly."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_RANGES = {
    "target_prob": (0.0, 1.0),
    "loss": (0.0, math.inf),
    "margin": (-1.0, 1.0),
    "entropy": (0.0, math.inf),
    "el2n": (0.0, math.sqrt(2.0)),
    "correct": (0.0, 1.0),
    "kl": (0.0, math.inf),
}
# The rounding of float32 may go a little over.
_SLACK = 1e-5


def value_range(statistic: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a statistic; any finite number where it is not one of ours."""
    return _RANGES.get(statistic, (-math.inf, math.inf))


def outside(statistic: str, values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which values are out of the statistic's range or infinite; a NaN is not, as it stands for no value."""
    low, high = value_range(statistic)
    wrong: NDArray[np.bool_] = (values < low - _SLACK) | (values > high + _SLACK) | np.isinf(values)
    return wrong
