"""The sentences about an evaluation."""

from __future__ import annotations

from typing import Any

from dualprune.report.comparison import comparison_in_words
from dualprune.stages.evaluate.stage import summarise
from tests.stages.evaluate.test_stage import FULL, trainings


def said(random: list[float], beta: list[float], full: list[dict[str, Any]] = FULL) -> str:
    rows = [*full, *trainings("random", 300, random), *trainings("beta-0.7", 300, beta, seconds=3.0)]
    [sentence] = comparison_in_words(summarise(rows))
    return sentence


def test_a_sentence_tells_the_differences_and_whether_they_are_more_than_chance() -> None:
    assert said([0.8, 0.81], [0.85, 0.86]) == (
        "beta-0.7 at equal epochs: 85.5% with 300 samples, 5.0 points above 300 random ones; "
        "5.5 points below all 1,000, in 30% of their training time."
    )
    assert "0.5 points below 300 random ones (within the spread of the seeds)" in said([0.8, 0.83], [0.8, 0.82])
    assert "(one seed: run more to see whether this is chance)" in said([0.8], [0.9])
    assert said([0.8, 0.81], [0.85, 0.86], full=[]).endswith("5.0 points above 300 random ones.")


def test_without_random_subsets_there_is_nothing_to_say() -> None:
    assert comparison_in_words(summarise([*FULL, *trainings("beta-0.7", 300, [0.8])])) == []
