"""Runs stages in their order on one run directory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dualprune.core.config import Config
from dualprune.core.config_file import load_config, make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.stages.checks import check_before
from dualprune.stages.table import pruning_stages, stage_named


@dataclass(frozen=True)
class PruneResult:
    """A pruned run: the directory, the names of its selections, and the comparison if it was made."""

    run: RunDirectory
    selections: list[str]
    evaluation: dict[str, Any] | None


def prune(
    config: Config | Mapping[str, Any] | str | os.PathLike[str],
    run: RunDirectory | Location | str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
) -> PruneResult:
    """Run all stages: record, score, select, export and, where `evaluate.enabled`, evaluate.

    `config` is a `Config`, nested plain values, or the path of a YAML file. `run` is the run directory; without it,
    `runs/NAME` after the YAML file's or the source's name. Stages that are done already are skipped.
    """
    if isinstance(config, Config | Mapping):
        checked = config if isinstance(config, Config) else make_config(config)
        place = f"runs/{checked.data.source}"
    else:
        checked, place = load_config(config), default_run(Location.of(config))
    return prune_run(RunDirectory(place if run is None else run), checked, force=force)


def prune_run(run: RunDirectory, config: Config, *, force: bool = False) -> PruneResult:
    """Run all stages that the configuration asks for on a run directory."""
    from dualprune.stages.evaluate.summary import stored_comparison
    from dualprune.stages.select.names import selection_names

    run_stages(run, config, pruning_stages(config), force=force)
    evaluation = stored_comparison(run) if config.evaluate.enabled else None
    return PruneResult(run, selection_names(config), evaluation)


def run_stages(
    run: RunDirectory, config: Config, stages: Sequence[str], *, force: bool = False, **options: Any
) -> list[Any]:
    """Run the named stages in order and return their results, while holding the run directory against other writers.

    `options` are passed on to each stage; only `tune` takes some. An unknown stage is a ConfigError.
    """
    rows = [stage_named(stage) for stage in stages]
    config = run.settled_config(config)
    check_before(stages, run, config)
    results = []
    with run.exclusive():
        if not run.has_config:
            # Stored first, so that the run directory alone is enough to continue after an interruption.
            run.save_config(config)
        for row in rows:
            results.append(row.function()(run, config, force=force, **options))
            if len(results) == 1:
                # Not earlier: a directory that belongs to another configuration keeps its own.
                run.save_config(config)
    return results


def default_run(config: Location) -> str:
    """Return the run directory that follows from the name of a configuration file."""
    return f"runs/{config.name.rpartition('.')[0]}"
