"""Prune a training set as a Ray job: `python -m pipelines.prune --config CONFIG --run ADDRESS`."""

from __future__ import annotations

from typing import Any

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.stages.pipeline import prune as prune_set
from pipelines.entry import entry_point


def prune(run: RunDirectory, config: Config, force: bool) -> dict[str, Any]:
    """Do all stages: record, score, select, export and, where evaluate.enabled, evaluate."""
    done = prune_set(config, run, force=force)
    kept = {name: (run.selection(name) / "selection.json").read_json()["num_kept"] for name in done.selections}
    recorded = run.require("record", "record")["summary"]
    result: dict[str, Any] = {"kept": kept, "epochs": recorded["epochs"], "samples_per_s": recorded["samples_per_s"]}
    if done.evaluation is not None:
        result["evaluation"] = done.evaluation["summary"]
    return result


if __name__ == "__main__":
    entry_point("prune", prune)
