"""What `evaluation.json` says: means per subset, differences with the doubt that is left, and what pruning cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from dualprune.core.budgets import former_budget
from dualprune.core.json_file import Record
from dualprune.core.run import RunDirectory
from dualprune.stages.evaluate.differences import differences
from dualprune.stages.evaluate.jobs import Row
from dualprune.stages.evaluate.plan import FULL, RANDOM


def comparison_of(trainings: Sequence[Row], cost: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what `evaluation.json` holds, given the rows of all trainings and what `pruning_cost` returned."""
    return {
        "summary": summarise(trainings),
        "differences": differences(trainings, FULL, RANDOM),
        "cost": cost,
        "trainings": list(trainings),
    }


def stored_comparison(run: RunDirectory) -> dict[str, Any]:
    """Return what `evaluation.json` holds, that of an older version in the form of this one; the file stays as it is.

    Older versions called a number of samples `steps`. They counted no visits, and did not write what pruning cost.
    """
    stored = run.evaluation.read_record()
    if "differences" in stored:
        stored.records("summary")
        stored.records("differences")
        return stored
    manifest = run.manifest("evaluate")
    steps = None if manifest is None else manifest["settings"].get("evaluate", {}).get("steps")
    rows = [_checked(row) for row in stored.records("trainings")]
    return comparison_of([{**row, "budget": former_budget(row["budget"], steps)} for row in rows], None)


def _checked(row: Record) -> Record:
    return row.expect(subset=str, ratio=float, kept=int, budget=str, seed=int, accuracy=float, seconds=float, steps=int)


def summarise(results: Iterable[Row]) -> list[dict[str, Any]]:
    """Return a row per subset and budget: mean and standard deviation of the accuracy over the seeds, and the cost."""
    groups: dict[tuple[str, float, int, str], list[Row]] = {}
    for result in results:
        place = (result["subset"], result["ratio"], result["kept"], result["budget"])
        groups.setdefault(place, []).append(result)
    rows: list[dict[str, Any]] = []
    for (subset, ratio, kept, budget), group in groups.items():
        accuracies = [result["accuracy"] for result in group]
        rows.append(
            {
                "subset": subset,
                "ratio": ratio,
                "kept": kept,
                "budget": budget,
                "seeds": len(group),
                "draws": len({result.get("draw", 0) for result in group}),
                "accuracy": fmean(accuracies),
                "accuracy_std": stdev(accuracies) if len(accuracies) > 1 else None,
                **{name: _mean(group, name) for name in ("visits", "steps", "seconds")},
            }
        )
    full = {row["budget"]: row for row in rows if row["subset"] == FULL}
    for row in rows:
        # The full set has a training of its own for a fixed number of steps alone.
        beside = full.get(row["budget"], next(iter(full.values()), None))
        for name in ("accuracy", "visits", "steps", "seconds"):
            row[f"relative_{name}"] = _share(row[name], None if beside is None else beside[name])
    return rows


def _mean(group: Sequence[Row], name: str) -> float | None:
    # Older results count no visits.
    return fmean(result[name] for result in group) if all(name in result for result in group) else None


def _share(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None
