"""The evaluate stage: trains from scratch on the full set, on random subsets and on selections, and compares them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from dualprune.cluster.progress import worker_progress
from dualprune.cluster.session import ensure_ray, user_errors
from dualprune.cluster.train import Workers, fit
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import fingerprint
from dualprune.data.source import open_source
from dualprune.errors import RunError
from dualprune.stages.evaluate.worker import EvaluateJob, Training, evaluate_worker
from dualprune.stages.inputs import selection_inputs
from dualprune.stages.record.decode import load_resident
from dualprune.stages.select.names import selection_names

logger = logging.getLogger(__name__)
FULL = "full"
RANDOM = "random"


def run_evaluate(run: RunDirectory, config: Config, *, force: bool = False) -> dict[str, Any]:
    """Compare the selections of the configuration; returns what `evaluation.json` holds.

    Every single training leaves its result in `evaluation/`, so that an interrupted comparison goes on.
    """
    names = config.evaluate.selections or selection_names(config)
    inputs = selection_inputs(run, names)
    settings = {
        "model": config.identity("model"),
        "train": config.identity("train"),
        "evaluate": config.identity("evaluate"),
        "selections": names,
    }
    with run.stage("evaluate", settings, inputs, force=force) as stage:
        if stage.done:
            stored: dict[str, Any] = run.evaluation.read_json()
            return stored
        if force:
            (run.root / "evaluation").delete()
        trainings = plan_trainings(run, config, names, inputs)
        todo = [training for training in trainings if not training.result_place(run).exists()]
        if todo:
            _train(run, config, todo)
        results = [training.result_place(run).read_json() for training in trainings]
        comparison = {"summary": summarise(results), "trainings": results}
        run.evaluation.write_json(comparison)
        stage.summary = {"trainings": len(results), "trained_now": len(todo)}
        return comparison


def plan_trainings(
    run: RunDirectory, config: Config, names: Sequence[str], fingerprints: Sequence[str]
) -> list[Training]:
    """Return every training of the comparison, the full set first."""
    evaluate = config.evaluate
    recipe = {
        "model": config.identity("model"),
        "train": config.identity("train"),
        "evaluate": [evaluate.epochs, evaluate.batch_size],
    }
    budgets = ["epochs", "steps"] if evaluate.budget == "both" else [evaluate.budget]
    index = run.require("index", "record")
    whole = fingerprint([index["fingerprint"], recipe])
    subsets: list[tuple[str, float, int, str, str]] = []
    for name, drawn in zip(names, fingerprints, strict=True):
        facts = (run.selection(name) / "selection.json").read_json()
        subsets.append((name, facts["ratio"], facts["num_kept"], fingerprint([drawn, recipe]), name))
    if evaluate.random:
        sizes = dict.fromkeys((ratio, kept) for _, ratio, kept, _, _ in subsets)
        subsets = [(RANDOM, ratio, kept, whole, "") for ratio, kept in sizes] + subsets
    trainings = [
        Training(subset, ratio, kept, seed, budget, drawn, selection)
        for subset, ratio, kept, drawn, selection in subsets
        for budget in budgets
        for seed in range(evaluate.seeds)
    ]
    if evaluate.full:
        total = index["summary"]["samples"]
        trainings = [
            *(Training(FULL, 0.0, total, seed, "epochs", whole, "") for seed in range(evaluate.seeds)),
            *trainings,
        ]
    if not trainings:
        raise RunError("there is nothing to evaluate: no selection, and evaluate.full and evaluate.random are off")
    return trainings


def _train(run: RunDirectory, config: Config, trainings: list[Training]) -> None:
    ensure_ray(config.scaling)
    workers = Workers.of(config.scaling)
    with user_errors():
        data = load_resident(open_source(config.data))
        with worker_progress("evaluate", total=len(trainings)) as board:
            job = EvaluateJob(config, str(run.root.address), tuple(trainings), data, board)
            # A name of its own each time: Ray Train has nothing to resume, what is done lies in evaluation/.
            fit(
                evaluate_worker,
                job,
                workers,
                run.root / "evaluation" / "ray",
                job.name(),
                max_failures=config.scaling.max_failures,
            )
    (run.root / "evaluation" / "ray").delete()


def summarise(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a subset and budget: mean and standard deviation of the accuracy over seeds, and the cost."""
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["subset"], result["ratio"], result["budget"]), []).append(result)
    rows = []
    for (subset, ratio, budget), group in groups.items():
        accuracies = [result["accuracy"] for result in group]
        rows.append(
            {
                "subset": subset,
                "ratio": ratio,
                "kept": group[0]["kept"],
                "budget": budget,
                "seeds": len(group),
                "accuracy": fmean(accuracies),
                "accuracy_std": stdev(accuracies) if len(accuracies) > 1 else None,
                "seconds": fmean(result["seconds"] for result in group),
            }
        )
    full = next((row for row in rows if row["subset"] == FULL), None)
    for row in rows:
        row["relative_accuracy"] = row["accuracy"] / full["accuracy"] if full else None
        row["relative_seconds"] = row["seconds"] / full["seconds"] if full else None
    return rows
