"""Compares what a configuration can select: every score method × sampler × ratio, with a training on each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.stages.pipeline import run_stages
from dualprune.stages.select.names import selection_names
from dualprune.stages.table import STAGES


def run_grid(
    run: RunDirectory, config: Config, samplers: Sequence[str] = (), *, force: bool = False
) -> list[dict[str, Any]]:
    """Record and score once, select by each of `score.methods` × `samplers` × `select.ratio`, train on all of them.

    Without `samplers`, that of `select.method` is used. Return the comparison's rows: subset, ratio, accuracy, cost.
    """
    variants = selections(config, samplers or [config.select.method])
    run_stages(run, config, ("record", "score"), force=force)
    run_select, run_evaluate = STAGES["select"].function(), STAGES["evaluate"].function()
    evaluate = config.evaluate.model_copy(update={"enabled": True, "selections": list(variants)})
    with run.exclusive():
        for variant in variants.values():
            run_select(run, variant, force=force)
        comparison = run_evaluate(run, config.model_copy(update={"evaluate": evaluate}), force=force)
    rows: list[dict[str, Any]] = comparison["summary"]
    return rows


def selections(config: Config, samplers: Sequence[str]) -> dict[str, Config]:
    """Return, by the selection's name, a configuration of one score method, one sampler and one ratio each.

    A selection that `prune` draws from the same configuration has the same name, and is drawn once. A ConfigError names
    a sampler that is not registered.
    """
    found: dict[str, Config] = {}
    for score in dict.fromkeys([config.select_score, *config.score.methods]):
        for sampler in dict.fromkeys(samplers):
            for ratio in config.select.ratios:
                update: dict[str, Any] = {"method": sampler, "score": score, "ratio": ratio}
                if score != config.select_score:
                    update["name"] = f"{sampler}-{score}-{ratio:g}"
                elif sampler != config.select.method:
                    update["name"] = None
                values = config.model_dump(mode="json")
                variant = make_config({**values, "select": {**values["select"], **update}})
                # A sampler that reads no score draws the same set with each of them.
                if score == config.select_score or sampler != "random":
                    found[selection_names(variant)[0]] = variant
    return found
