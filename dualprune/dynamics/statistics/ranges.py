"""The values that a statistic can have; a value outside was recorded or copied wrongly."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dualprune.dynamics.statistics import STATISTICS

# The rounding of float32 may exceed a bound slightly.
_SLACK = 1e-5


def value_range(statistic: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a statistic; any finite number where none is registered."""
    if statistic in STATISTICS:
        known = STATISTICS[statistic]
        return known.low, known.high
    return -math.inf, math.inf


def outside(statistic: str, values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which values are out of the statistic's range or infinite; not NaN, which means a missing value."""
    low, high = value_range(statistic)
    wrong: NDArray[np.bool_] = (values < low - _SLACK) | (values > high + _SLACK) | np.isinf(values)
    return wrong
