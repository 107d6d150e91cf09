"""Differences of accuracy between subsets, with the doubt that a few seeds leave.

Two subsets that were trained with the same seeds are compared pair by pair (t interval of the differences), others by
Welch's t. Each interval is widened so that it excludes zero exactly where Holm's procedure over its whole family
rejects: of families without any real difference, at most 5 % have an interval that excludes zero, however many ratios
they hold. With one seed there is no interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
PAIRED, WELCH = "paired", "welch"


@dataclass(frozen=True)
class Estimate:
    """A difference of two means, as a share, with its standard error and the degrees of freedom of Student's t.

    Without a standard error nothing is known about chance: there is one seed, or the seeds all have the same result.
    """

    difference: float
    error: float | None = None
    freedom: float = 0.0
    test: str | None = None

    @property
    def p(self) -> float:
        """The probability of a difference at least this large where there is none; 1 where nothing is known."""
        from scipy.special import stdtr

        if self.error is None:
            return 1.0
        return float(2.0 * stdtr(self.freedom, -abs(self.difference) / self.error))

    def interval(self, level: float) -> tuple[float, float] | None:
        """Return the interval that misses the true difference with the probability `level`."""
        from scipy.special import stdtrit

        if self.error is None:
            return None
        half = float(stdtrit(self.freedom, 1.0 - level / 2.0)) * self.error
        return self.difference - half, self.difference + half


def estimate(ours: Mapping[int, float], others: Mapping[int, float]) -> Estimate:
    """Return the difference of the mean accuracies of two subsets, each given by training seed."""
    own, other = np.array(list(ours.values())), np.array(list(others.values()))
    difference = float(own.mean() - other.mean())
    if min(len(own), len(other)) < 2:
        return Estimate(difference)
    if ours.keys() == others.keys():
        pairs = np.array([ours[seed] - others[seed] for seed in ours])
        return _with_error(difference, _squared(pairs), len(pairs) - 1, PAIRED)
    one, two = _squared(own), _squared(other)
    if one + two == 0.0:
        return Estimate(difference)
    freedom = (one + two) ** 2 / (one**2 / (len(own) - 1) + two**2 / (len(other) - 1))
    return _with_error(difference, one + two, freedom, WELCH)


def _squared(values: NDArray[np.float64]) -> float:
    """Return the square of the standard error of a mean; 0 where the values differ by rounding alone."""
    return 0.0 if np.ptp(values) < 1e-12 else float(values.var(ddof=1)) / len(values)


def _with_error(difference: float, squared: float, freedom: float, test: str) -> Estimate:
    return Estimate(difference, sqrt(squared), freedom, test) if squared > 0.0 else Estimate(difference)


def levels(p_values: Sequence[float], level: float = LEVEL) -> list[float]:
    """Return the level of each interval of a family, by Holm's procedure: of the i-th smallest p, level / (m - i).

    Those after the first that is not rejected have its level.
    """
    count = len(p_values)
    found = [0.0] * count
    rejecting, now = True, level
    for rank, number in enumerate(sorted(range(count), key=lambda one: p_values[one])):
        if rejecting:
            now = level / (count - rank)
            rejecting = p_values[number] < now
        found[number] = now
    return found


def differences(trainings: Iterable[Mapping[str, Any]], full: str, random: str) -> list[dict[str, Any]]:
    """Return what `evaluation.json` says about the difference of each selection from random subsets and the full set.

    The rows of `trainings` are those of an evaluation. Each difference: `subset`, `ratio`, `kept`, `budget`; `to`, the
    name of the other side; `difference` of the mean accuracies; `low` and `high` of its interval, null where nothing is
    known; `seeds` of both sides; `test`; `distinguishable`, whether the interval excludes zero; `family`, the number of
    differences it was widened for. All those from random subsets are a family, all those from the full set another.
    """
    groups: dict[tuple[str, float, int, str], dict[int, float]] = {}
    for row in trainings:
        place = (row["subset"], row["ratio"], row["kept"], row["budget"])
        groups.setdefault(place, {})[row["seed"]] = row["accuracy"]
    found: dict[str, list[tuple[dict[str, Any], Estimate]]] = {random: [], full: []}
    for (subset, ratio, kept, budget), ours in groups.items():
        if subset in (full, random):
            continue
        sides = {random: groups.get((random, ratio, kept, budget)), full: _full(groups, full, budget)}
        for to, others in sides.items():
            if others is not None:
                facts = {"subset": subset, "ratio": ratio, "kept": kept, "budget": budget, "to": to}
                facts["seeds"] = [len(ours), len(others)]
                found[to].append((facts, estimate(ours, others)))
    return [row for family in found.values() for row in _judged(family)]


def _full(
    groups: Mapping[tuple[str, float, int, str], dict[int, float]], full: str, budget: str
) -> dict[int, float] | None:
    """Return the full set's accuracies with a budget of its own, or with its only one."""
    found = {place[3]: group for place, group in groups.items() if place[0] == full}
    return found.get(budget, next(iter(found.values()), None))


def _judged(family: Sequence[tuple[dict[str, Any], Estimate]]) -> list[dict[str, Any]]:
    rows = []
    for (facts, found), level in zip(family, levels([one.p for _, one in family]), strict=True):
        low, high = found.interval(level) or (None, None)
        rows.append(
            {
                **facts,
                "difference": found.difference,
                "low": low,
                "high": high,
                "test": found.test,
                "distinguishable": found.p < level,
                "family": len(family),
            }
        )
    return rows
