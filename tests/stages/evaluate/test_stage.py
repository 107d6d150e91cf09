"""The summary of an evaluation."""

from __future__ import annotations

from typing import Any

import pytest

from dualprune.stages.evaluate.stage import summarise


def trainings(subset: str, kept: int, accuracies: list[float], seconds: float = 1.0) -> list[dict[str, Any]]:
    same = {"subset": subset, "ratio": 0.0 if subset == "full" else 0.7, "kept": kept, "budget": "epochs"}
    draws = [n if subset == "random" else 0 for n in range(len(accuracies))]
    return [
        {**same, "seed": n, "draw": draw, "accuracy": value, "seconds": seconds}
        for n, (draw, value) in enumerate(zip(draws, accuracies, strict=True))
    ]


FULL = trainings("full", 1000, [0.9, 0.92], seconds=10.0)


def test_means_spreads_and_shares_of_the_full_set() -> None:
    rows = summarise([*FULL, *trainings("random", 300, [0.8, 0.82], seconds=3.0), *trainings("beta-0.7", 300, [0.85])])
    seeds_and_draws = [(row["subset"], row["seeds"], row["draws"]) for row in rows]
    assert seeds_and_draws == [("full", 2, 1), ("random", 2, 2), ("beta-0.7", 1, 1)]
    random, beta = rows[1:]
    assert random["accuracy"] == pytest.approx(0.81)
    assert random["accuracy_std"] == pytest.approx(0.02 / 2**0.5)
    assert (random["relative_accuracy"], random["relative_seconds"]) == pytest.approx((0.81 / 0.91, 0.3))
    assert beta["accuracy_std"] is None
