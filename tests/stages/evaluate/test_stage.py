"""The summary of an evaluation."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dualprune.core.run import RunDirectory
from dualprune.errors import DataError
from dualprune.stages.evaluate.cost import pruning_cost
from dualprune.stages.evaluate.summary import comparison_of, stored_comparison, summarise

RUNS = Path(__file__).parents[2] / "runs"


def trainings(
    subset: str, kept: int, accuracies: list[float], seconds: float = 1.0, budget: str = "epochs", **facts: Any
) -> list[dict[str, Any]]:
    ratio = 0.0 if subset == "full" else 1 - kept / 1000
    # Ten epochs at batch 100; the full set sees 10,000 samples.
    visits = 10 * kept if budget == "epochs" else 10_000
    same = {"subset": subset, "ratio": ratio, "kept": kept, "budget": budget, "visits": visits, "steps": visits // 100}
    rows = [{**same, "seed": n, "draw": n if subset == "random" else 0} for n in range(len(accuracies))]
    return [{**row, "accuracy": own, "seconds": seconds, **facts} for row, own in zip(rows, accuracies, strict=True)]


FULL = trainings("full", 1000, [0.9, 0.92], seconds=10.0)


def test_means_spreads_and_shares_of_the_full_set() -> None:
    rows = summarise([*FULL, *trainings("random", 300, [0.8, 0.82], seconds=3.0), *trainings("beta-0.7", 300, [0.85])])
    seeds_and_draws = [(row["subset"], row["seeds"], row["draws"]) for row in rows]
    assert seeds_and_draws == [("full", 2, 1), ("random", 2, 2), ("beta-0.7", 1, 1)]
    random, beta = rows[1:]
    assert random["accuracy"] == pytest.approx(0.81)
    assert random["accuracy_std"] == pytest.approx(0.02 / 2**0.5)
    assert (random["relative_accuracy"], random["relative_seconds"]) == pytest.approx((0.81 / 0.91, 0.3))
    assert (random["visits"], random["steps"]) == (3000, 30)
    assert (random["relative_visits"], random["relative_steps"]) == pytest.approx((0.3, 0.3))
    assert beta["accuracy_std"] is None


def test_a_fixed_number_of_steps_is_compared_with_the_full_sets() -> None:
    fixed = trainings("full", 1000, [0.5], budget="steps", visits=500, steps=5)
    rows = summarise([*FULL, *fixed, *trainings("beta-0.7", 300, [0.4], budget="steps", visits=500, steps=5)])
    assert rows[-1]["relative_steps"] == rows[-1]["relative_visits"] == 1.0
    assert rows[-1]["relative_accuracy"] == pytest.approx(0.8)


def test_the_draws_of_a_subset_are_counted() -> None:
    rows = trainings("beta-0.7", 300, [0.8, 0.9, 0.7])
    assert [row["draws"] for row in summarise(rows)] == [1]
    assert [row["draws"] for row in summarise([{**row, "draw": row["seed"]} for row in rows])] == [3]


@pytest.fixture
def old_run(tmp_path: Path) -> RunDirectory:
    with tarfile.open(RUNS / "9e3f2f6.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    return RunDirectory(tmp_path / "finished")


def test_an_older_evaluation_is_read_in_todays_form_and_stays_as_it_is(old_run: RunDirectory) -> None:
    place = Path(str(old_run.evaluation))
    values = json.loads(place.read_text())
    for row in values["trainings"]:
        if row["subset"] != "full":
            row["budget"] = "steps"
    place.write_text(json.dumps(values))
    before = place.read_bytes()
    found = stored_comparison(old_run)
    assert {row["budget"] for row in found["summary"] if row["subset"] != "full"} == {"samples"}
    assert all(row["steps"] > 0 and row["visits"] is None for row in found["summary"])
    assert [(one["to"], one["seeds"], one["test"]) for one in found["differences"]] == [
        ("random", [2, 2], "paired"),
        ("random", [2, 2], None),
        ("full", [2, 2], "paired"),
        ("full", [2, 2], "paired"),
    ]
    assert found["cost"] is None
    assert place.read_bytes() == before


@pytest.mark.parametrize("change", [{"accuracy": "high"}, {"seed": None}, {"budget": 3}])
def test_a_damaged_evaluation_is_an_error(old_run: RunDirectory, change: dict[str, Any]) -> None:
    place = Path(str(old_run.evaluation))
    values = json.loads(place.read_text())
    values["trainings"][3].update(change)
    place.write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"evaluation.json is damaged"):
        stored_comparison(old_run)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    made = comparison_of([*FULL, *trainings("beta-0.7", 300, [0.8, 0.81])], {"visits": 3})
    run.evaluation.write_json(made)
    assert stored_comparison(run) == made


def test_what_pruning_cost_is_read_from_the_manifests(old_run: RunDirectory) -> None:
    # 240 samples for 6 epochs, at batch 32.
    cost = pruning_cost(old_run, old_run.load_config(), ["beta-0.5", "beta-0.7"])
    assert (cost["visits"], cost["steps"]) == (6 * 240, 6 * 8)
    manifests = old_run.manifests()
    assert cost["record_s"] == manifests["record"]["seconds"]
    assert cost["score_s"] == manifests["score.dual"]["seconds"]
    assert cost["select_s"] == sum(manifests[f"select.beta-{ratio}"]["seconds"] for ratio in (0.5, 0.7))
    # A curriculum left samples out.
    manifests["record"]["summary"]["curriculum"] = {"visits": 1000, "steps": 33}
    (old_run.root / "manifests" / "record.json").write_json(manifests["record"])
    cost = pruning_cost(old_run, old_run.load_config(), ["beta-0.7"])
    assert (cost["visits"], cost["steps"]) == (1000, 33)
    imported = RunDirectory(Path(str(old_run)).parent / "imported")
    cost = pruning_cost(imported, imported.load_config(), ["beta-0.7"])
    assert (cost["visits"], cost["steps"]) == (None, None)
