"""How many samples of each group and each stratum are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dualprune.core.registry import nearest
from dualprune.core.sections import BalanceConfig
from dualprune.errors import ConfigError

Ints = NDArray[np.int64]


def allot(weights: NDArray[np.float64], count: int, floors: Ints, caps: Ints) -> Ints:
    """Divide `count` by weights [G], each part between its floor and its cap, int64 [G] with that sum.

    Webster's divisor method: round(weight · t) with the t for which the sum is right; the first groups win a tie. A
    larger count never makes a group's part smaller.
    """

    def shares(factor: float) -> Ints:
        with np.errstate(over="ignore"):
            rounded = np.floor(np.minimum(weights * factor + 0.5, 2.0**62)).astype(np.int64)
        return np.clip(rounded, floors, caps)

    low, high = 0.0, 1.0
    while shares(high).sum() < count:
        low, high = high, 2.0 * high
    while low < (middle := (low + high) / 2.0) < high:
        if shares(middle).sum() <= count:
            low = middle
        else:
            high = middle
    result, upper = shares(low), shares(high)
    for group in np.flatnonzero(upper > result):
        extra = min(int(upper[group] - result[group]), count - int(result.sum()))
        result[group] += extra
    return result


def group_quotas(balance: BalanceConfig, names: Sequence[str], available: Ints, forced: Ints, count: int) -> Ints:
    """Return the number to keep of each group, int64 [G]; a ConfigError where a group has fewer."""
    spread = balance.short == "redistribute"
    floors = np.maximum(forced, minimums(balance, names, available, count))
    weights = _weights(balance, names, available)
    caps = available if spread else np.full(len(available), np.iinfo(np.int64).max)
    if weights[available > floors].sum() == 0.0 and floors.sum() < count:
        raise ConfigError(
            f"select.balance.quota: the groups with a weight hold fewer than the {count} samples to keep; weight "
            "further groups, or raise the pruning ratio"
        )
    quotas = allot(weights, count, floors, caps)
    _check(quotas, available, names, "select.balance.quota")
    return quotas


def minimums(balance: BalanceConfig, names: Sequence[str], available: Ints, count: int) -> Ints:
    """Return the least number to keep of each group, int64 [G]; 0 for a group without samples."""
    wanted = np.where(available > 0, balance.minimum, 0)
    if balance.short == "redistribute":
        wanted = np.minimum(wanted, available)
    _check(wanted, available, names, "select.balance.minimum")
    if wanted.sum() > count:
        raise ConfigError(
            f"select.balance.minimum: {balance.minimum} of each of {int((available > 0).sum())} groups are "
            f"{int(wanted.sum())} samples, but only {count} are kept; lower the minimum or the pruning ratio"
        )
    return wanted


def stratum_budgets(sizes: Ints, count: int) -> Ints:
    """Divide `count` over strata [S] of these sizes: from the smallest on, min(size, left / strata left)."""
    budgets = np.zeros(len(sizes), dtype=np.int64)
    left = count
    filled = [int(stratum) for stratum in np.argsort(sizes, kind="stable") if sizes[stratum] > 0]
    for done, stratum in enumerate(filled):
        budgets[stratum] = min(int(sizes[stratum]), left // (len(filled) - done))
        left -= int(budgets[stratum])
    return budgets


def _weights(balance: BalanceConfig, names: Sequence[str], available: Ints) -> NDArray[np.float64]:
    quota = balance.quota
    if quota == "proportional":
        return available.astype(np.float64)
    if not isinstance(quota, dict):
        return (available > 0).astype(np.float64)
    for name in quota:
        if name not in names:
            raise ConfigError(
                f"select.balance.quota: there is no group {name!r} in {balance.by!r}{nearest(name, names)}"
            )
    missing = [name for name, size in zip(names, available, strict=True) if size and name not in quota]
    if missing:
        raise ConfigError(
            f"select.balance.quota: {len(missing)} groups of {balance.by!r} have no weight, such as "
            f"{', '.join(missing[:5])}; set a weight for each"
        )
    return np.array([quota.get(name, 0.0) for name in names]) * (available > 0)


def _check(wanted: Ints, available: Ints, names: Sequence[str], key: str) -> None:
    over = np.flatnonzero(wanted > available)
    if len(over):
        group = int(over[0])
        raise ConfigError(
            f"{key}: {len(over)} groups have fewer samples than their quota, first {names[group]!r}: {wanted[group]} "
            f"of {available[group]}; set select.balance.short to redistribute, to keep such groups whole"
        )
