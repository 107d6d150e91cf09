from __future__ import annotations

from typing import Any

import pytest

from dualprune.stages.tune.objective import Objective, front


def record(ratio: float, accuracy: float, state: str = "finished", **more: Any) -> dict[str, Any]:
    return {"key": f"{ratio}-{accuracy}", "ratio": ratio, "accuracy": accuracy, "state": state, **more}


def test_a_ratio_that_holds_the_accuracy_beats_any_that_does_not() -> None:
    objective = Objective("largest_ratio", 0.02, full_accuracy=0.95)
    assert objective.value(0.94, 0.7) == 0.7
    assert objective.value(0.93, 0.9) == pytest.approx(0.9)
    assert objective.value(0.90, 0.9) == pytest.approx(-0.03)
    assert objective.value(0.91, 0.99) > objective.value(0.90, 0.5)
    rows = [(0.3, 0.95), (0.7, 0.94), (0.7, 0.95), (0.9, 0.92)]
    records = [record(r, a, objective=objective.value(a, r)) for r, a in rows]
    assert [(r["ratio"], r["accuracy"]) for r in objective.best(records)][:2] == [(0.7, 0.95), (0.7, 0.94)]


def test_the_best_of_each_ratio_the_highest_first() -> None:
    rows = [(0.3, 0.95), (0.3, 0.96), (0.9, 0.8), (0.7, 0.97)]
    records = [record(r, a, objective=a) for r, a in rows] + [record(0.3, 0.99, "stopped", objective=0.99)]
    best = Objective("accuracy", 0.01).best(records)
    assert [(r["ratio"], r["accuracy"]) for r in best] == [(0.7, 0.97), (0.3, 0.96), (0.9, 0.8)]


def test_the_front_and_the_point_that_is_chosen_of_it() -> None:
    rows = [(0.1, 0.96), (0.3, 0.955), (0.3, 0.9), (0.5, 0.95), (0.7, 0.94), (0.6, 0.93), (0.9, 0.8)]
    records = [record(r, a) for r, a in rows]
    assert [r["ratio"] for r in front(records)] == [0.1, 0.3, 0.5, 0.7, 0.9]
    best = Objective("pareto", 0.01).best(records)
    assert [r["ratio"] for r in best] == [0.5, 0.1, 0.3, 0.7, 0.9]
    assert Objective("pareto", 0.01).best([]) == []
