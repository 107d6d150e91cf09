"""Prune a training set as a Ray job: `python -m pipelines.prune --config CONFIG --run ADDRESS`."""

from __future__ import annotations

from typing import Any

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.report import facts
from dualprune.stages.pipeline import prune_run
from pipelines.entry import entry_point


def prune(run: RunDirectory, config: Config, force: bool) -> dict[str, Any]:
    """Run all stages: record, score, select, export and, with evaluate.enabled, evaluate."""
    done = prune_run(run, config, force=force)
    kept = {selection["name"]: selection["num_kept"] for selection in facts.selections(run, done.selections)}
    recorded = run.require("record", "record")["summary"]
    result: dict[str, Any] = {"kept": kept, "epochs": recorded["epochs"], "samples_per_s": recorded["samples_per_s"]}
    if done.evaluation is not None:
        result["evaluation"] = done.evaluation["summary"]
    return result


if __name__ == "__main__":
    entry_point("prune", prune)
