"""How many samples a pruning ratio keeps."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from dualprune.errors import ConfigError


def num_kept(num_samples: int, ratio: float) -> int:
    """Return (1 - ratio) · num_samples, rounded half up in exact decimal arithmetic; ratio is the share removed."""
    check_ratio(ratio)
    # Digits after the twelfth decimal are noise of arithmetic, as in 3 * 0.05.
    share = Decimal(1) - Decimal(f"{ratio:.12f}")
    return int((share * num_samples).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def some_kept(num_samples: int, ratio: float) -> int:
    """Return `num_kept`; a ConfigError where that is 0."""
    kept = num_kept(num_samples, ratio)
    if kept == 0:
        raise ConfigError(
            f"select.ratio: {ratio:g} of {num_samples} samples leaves none; choose a smaller pruning ratio"
        )
    return kept


def check_ratio(ratio: float) -> None:
    """Raise a ConfigError for a ratio outside [0, 1)."""
    if not 0.0 <= ratio < 1.0:
        raise ConfigError(f"select.ratio: {ratio} is not in [0, 1); it is the share of samples that is removed")
