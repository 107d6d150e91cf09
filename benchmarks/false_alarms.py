"""Measures how often a comparison calls two equal subsets different: the tables of docs/evaluation.md.

    python benchmarks/false_alarms.py --trials 10000

Simulates accuracies of selections and of random subsets that are equally good on average. A training's accuracy is the
sum of the chance of the draw, half of the variance, and of the training. An alarm is a family, all ratios of an
evaluation, with at least one difference that is called real.
"""

from __future__ import annotations

import argparse
from math import sqrt
from typing import Any

import numpy as np

from dualprune.stages.evaluate.differences import LEVEL, estimate, levels

# Rules: more than two standard errors, as versions before had it; Welch's t for each ratio by itself; today's.
RULES = ("two errors", "welch", "today")
SPREAD = 0.01


def simulated(rng: np.random.Generator, seeds: int, *, one_draw: bool, shared: float) -> tuple[Any, Any]:
    """Return accuracies by seed of a selection and of random subsets; `shared` is the seeds' part of the training."""
    draws = rng.normal(size=(2, seeds))
    if one_draw:
        draws[0] = draws[0, 0]
    seed = rng.normal(size=seeds)
    training = sqrt(shared) * seed + sqrt(1.0 - shared) * rng.normal(size=(2, seeds))
    ours, others = 0.8 + SPREAD * (draws + training) / sqrt(2.0)
    return dict(enumerate(ours)), dict(enumerate(others))


def called_real(rule: str, family: list[tuple[Any, Any]]) -> bool:
    """Whether a rule calls any difference of a family real."""
    if rule == "two errors":
        sides = [[np.array(list(side.values())) for side in pair] for pair in family]
        errors = [sqrt(sum(side.var(ddof=1) / len(side) for side in pair)) for pair in sides]
        return any(abs(a.mean() - b.mean()) > 2 * error for (a, b), error in zip(sides, errors, strict=True))
    if rule == "welch":
        # Seeds of other names make no pairs.
        return any(estimate(a, {-1 - seed: value for seed, value in b.items()}).p < LEVEL for a, b in family)
    found = [estimate(a, b).p for a, b in family]
    return any(p < level for p, level in zip(found, levels(found), strict=True))


def alarm_rate(
    rule: str, seeds: int, ratios: int, trials: int, *, one_draw: bool = False, shared: float = 0.0
) -> float:
    """Return the share of simulated evaluations in which a rule raises a false alarm."""
    rng = np.random.default_rng([seeds, ratios])
    alarms = 0
    for _ in range(trials):
        alarms += called_real(rule, [simulated(rng, seeds, one_draw=one_draw, shared=shared) for _ in range(ratios)])
    return alarms / trials


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    cases: dict[str, dict[str, Any]] = {
        "every seed has a draw of its own": {},
        "the same, half of the training's variance shared by equal seeds": {"shared": 0.5},
        "one draw of the selection for all seeds": {"one_draw": True},
    }
    for name, case in cases.items():
        print(
            f"\n{name} ({trials:,} trials)\n\n| seeds | ratios | {' | '.join(RULES)} |\n|---|---|{'---|' * len(RULES)}"
        )
        for seeds in (2, 3, 5):
            for ratios in (1, 4):
                rates = [alarm_rate(rule, seeds, ratios, trials, **case) for rule in RULES]
                print(f"| {seeds} | {ratios} | {' | '.join(f'{rate:.1%}' for rate in rates)} |", flush=True)


if __name__ == "__main__":
    main()
