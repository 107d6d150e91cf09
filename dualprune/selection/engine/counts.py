"""How many samples a pruning ratio keeps."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from numbers import Real
from typing import Any

from dualprune.errors import ConfigError


def num_kept(num_samples: int, ratio: float) -> int:
    """Return (1 - ratio) · num_samples, rounded half up in exact decimal arithmetic; ratio is the share removed."""
    check_ratio(ratio)
    # Digits after the twelfth decimal are noise of arithmetic, as in 3 * 0.05.
    share = Decimal(1) - Decimal(f"{ratio:.12f}")
    return int((share * num_samples).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def num_left_out(num_samples: int, share: float) -> int:
    """Return the number of samples that `num_kept` leaves out."""
    return num_samples - num_kept(num_samples, share)


def share_of(number: int, share: float) -> int:
    """Return share · number, rounded down in exact decimal arithmetic."""
    return int((Decimal(f"{share:.12f}") * number).quantize(Decimal(1), rounding=ROUND_DOWN))


def some_kept(num_samples: int, ratio: float) -> int:
    """Return `num_kept`; a ConfigError where that is 0."""
    kept = num_kept(num_samples, ratio)
    if kept == 0:
        raise ConfigError(
            f"select.ratio: {ratio:g} of {num_samples} samples leaves none; choose a smaller pruning ratio"
        )
    return kept


def check_ratio(ratio: Any) -> None:
    """Raise a ConfigError unless the ratio is a number in [0, 1)."""
    if not isinstance(ratio, Real) or not 0.0 <= float(ratio) < 1.0:
        raise ConfigError(f"select.ratio: {ratio!r} is not in [0, 1); it is the share of samples that is removed")
