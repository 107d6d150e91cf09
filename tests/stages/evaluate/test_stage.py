"""The summary of an evaluation, and what is said of it in words."""

from __future__ import annotations

from typing import Any

import pytest

from dualprune.stages.evaluate.stage import in_words, summarise


def trainings(subset: str, kept: int, accuracies: list[float], seconds: float = 1.0) -> list[dict[str, Any]]:
    same = {"subset": subset, "ratio": 0.0 if subset == "full" else 0.7, "kept": kept, "budget": "epochs"}
    return [{**same, "seed": n, "accuracy": value, "seconds": seconds} for n, value in enumerate(accuracies)]


FULL = trainings("full", 1000, [0.9, 0.92], seconds=10.0)


def test_means_spreads_and_shares_of_the_full_set() -> None:
    rows = summarise([*FULL, *trainings("random", 300, [0.8, 0.82], seconds=3.0), *trainings("beta-0.7", 300, [0.85])])
    assert [(row["subset"], row["seeds"]) for row in rows] == [("full", 2), ("random", 2), ("beta-0.7", 1)]
    random, beta = rows[1:]
    assert random["accuracy"] == pytest.approx(0.81)
    assert random["accuracy_std"] == pytest.approx(0.02 / 2**0.5)
    assert (random["relative_accuracy"], random["relative_seconds"]) == pytest.approx((0.81 / 0.91, 0.3))
    assert beta["accuracy_std"] is None


def said(random: list[float], beta: list[float], full: list[dict[str, Any]] = FULL) -> str:
    rows = [*full, *trainings("random", 300, random), *trainings("beta-0.7", 300, beta, seconds=3.0)]
    [sentence] = in_words(summarise(rows))
    return sentence


def test_a_sentence_tells_the_differences_and_whether_they_are_more_than_chance() -> None:
    assert said([0.8, 0.81], [0.85, 0.86]) == (
        "beta-0.7 at equal epochs: 85.5% with 300 samples, 5.0 points above 300 random ones; "
        "5.5 points below all 1,000, in 30% of their training time."
    )
    assert "0.5 points below 300 random ones (within what the seeds spread)" in said([0.8, 0.83], [0.8, 0.82])
    assert "(one seed: more tell whether that is chance)" in said([0.8], [0.9])
    assert said([0.8, 0.81], [0.85, 0.86], full=[]).endswith("5.0 points above 300 random ones.")


def test_without_random_subsets_there_is_nothing_to_say() -> None:
    assert in_words(summarise([*FULL, *trainings("beta-0.7", 300, [0.8])])) == []
