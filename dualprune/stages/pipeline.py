"""Runs stages in their order on one run directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dualprune.core.config import Config
from dualprune.core.config_file import load_config, make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.errors import DataError

logger = logging.getLogger(__name__)

STAGES = ("record", "score", "select", "export", "evaluate")


@dataclass(frozen=True)
class PruneResult:
    """What a pruned run has: the directory, the names of its selections, the comparison where it was made."""

    run: RunDirectory
    selections: list[str]
    evaluation: dict[str, Any] | None


def prune(
    config: Config | Mapping[str, Any] | str | os.PathLike[str],
    run: RunDirectory | Location | str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
) -> PruneResult:
    """Do all stages: record, score, select, export and, where `evaluate.enabled`, evaluate.

    `config` is a `Config`, nested plain values, or the path of a YAML file. `run` is the run directory; without it,
    `runs/NAME` after the YAML file's or the source's name. Stages that are done already are skipped.
    """
    name, checked = _named_config(config)
    directory = RunDirectory(run if run is not None else default_run(name))
    wanted = STAGES if checked.evaluate.enabled else STAGES[:-1]
    run_stages(directory, checked, wanted, force=force)
    evaluation = directory.evaluation.read_json() if checked.evaluate.enabled else None
    from dualprune.stages.select.stage import selection_names

    return PruneResult(directory, selection_names(checked), evaluation)


def run_stages(run: RunDirectory, config: Config, stages: Sequence[str], *, force: bool = False) -> None:
    """Run the named stages in order, while holding the run directory against other writers."""
    check_names(config)
    if "record" in stages and "evaluate" in stages:
        check_test_set(config)
    with run.exclusive():
        if not run.has_config:
            # What is interrupted in its first stage goes on by the run directory alone.
            run.save_config(config)
        for number, stage in enumerate(stages):
            _stage_function(stage)(run, config, force=force)
            if number == 0:
                # Not before: a directory that belongs to another configuration keeps its own.
                run.save_config(config)


def check_names(config: Config) -> None:
    """Raise a ConfigError for a method, model, sampler or source that is not registered, before anything is spent."""
    from dualprune.data.source import SOURCES
    from dualprune.scores.score import SCORES
    from dualprune.selection.sampler import SAMPLERS
    from dualprune.stages.record.stage import statistics_of
    from dualprune.training.models import MODELS
    from dualprune.training.models.builtin import TORCHVISION

    SOURCES[config.data.source]
    if not config.model.name.startswith(TORCHVISION):
        MODELS[config.model.name]
    for method in [*config.score.methods, config.select_score]:
        SCORES[method]
    SAMPLERS[config.select.method]
    statistics_of(config)


def check_test_set(config: Config) -> None:
    """Raise a DataError where there is nothing to measure accuracy on, before hours of recording are spent."""
    from dualprune.data.source import open_source

    if not open_source(config.data).chunks("test"):
        raise DataError(
            "evaluate.enabled: there is no test set to measure accuracy on; "
            "set data.test_path or data.test_fraction, or turn evaluate.enabled off"
        )


def default_run(name: str) -> str:
    """Return the run directory of a configuration that names none."""
    return f"runs/{name}"


def _named_config(config: Config | Mapping[str, Any] | str | os.PathLike[str]) -> tuple[str, Config]:
    if isinstance(config, Config):
        return config.data.source, config
    if isinstance(config, Mapping):
        checked = make_config(config)
        return checked.data.source, checked
    return Location.of(config).name.rpartition(".")[0], load_config(config)


def _stage_function(stage: str) -> Callable[..., Any]:
    # Each stage is imported when it runs: scoring alone does not wait for torch.
    if stage == "record":
        from dualprune.stages.record.stage import run_record

        return run_record
    if stage == "score":
        from dualprune.stages.score.stage import run_score

        return run_score
    if stage == "select":
        from dualprune.stages.select.stage import run_select

        return run_select
    if stage == "export":
        from dualprune.stages.export import run_export

        return run_export
    from dualprune.stages.evaluate.stage import run_evaluate

    return run_evaluate
