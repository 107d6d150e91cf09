"""Checks that need the data, made before a stage spends hours on a run that cannot succeed."""

from __future__ import annotations

from collections.abc import Collection

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.commit import has_commits
from dualprune.errors import ConfigError, DataError


def check_before(stages: Collection[str], run: RunDirectory, config: Config) -> None:
    """Raise a UserError where the stages cannot succeed, or would destroy data that they read."""
    check_places(run, config)
    if {"record", "evaluate", "tune"} & set(stages) and "/" in config.model.name:
        from dualprune.training.models import make_model

        # Only the model's own package knows its members. The stage needs it in any case.
        make_model(config.model).check_member()
    if "record" in stages:
        check_curriculum(stages, run, config)
        check_data(stages, run, config)
    if "tune" in stages:
        from dualprune.stages.tune.stage import check_tune

        check_tune(config)


def check_curriculum(stages: Collection[str], run: RunDirectory, config: Config) -> None:
    """Raise a ConfigError where scores need what a curriculum leaves out: values of every sample in every epoch."""
    name = config.train.curriculum.name
    if name is None or has_commits(run.dynamics):
        return
    from dualprune.core.plugins import plugin_class

    first = plugin_class("curriculum", name).leaves_out_from
    if first is None:
        return
    if config.record.stop == "stable":
        raise ConfigError(
            f"record.stop: stable follows the scores of every sample, but the curriculum {name!r} leaves samples "
            "out; set it to fixed, or train.curriculum.name to null"
        )
    if "score" in stages and config.score.on_nan == "raise" and (config.score.epochs or config.record.epochs) > first:
        raise ConfigError(
            f"train.curriculum.name: {name!r} leaves samples out from epoch {first} on; they have no values there, and "
            f"{config.select_score!r} needs those of every scored epoch. Score a run without a curriculum, record "
            "alone (`dualprune record`), or set score.on_nan to drop to keep only samples that no epoch left out"
        )


def check_places(run: RunDirectory, config: Config) -> None:
    """Raise a ConfigError where the run, its exports and the data lie inside each other.

    Exports inside their own run are the default, and allowed.
    """
    from dualprune.data.files import base_places
    from dualprune.stages.export import export_place
    from dualprune.stages.select.names import selection_names

    exported = (
        [] if config.export.path is None else [export_place(run, config, name) for name in selection_names(config)]
    )
    for key in ("path", "test_path"):
        paths = getattr(config.data, key)
        for data in base_places(paths):
            _apart(f"data.{key}", data, run.root, "the run directory", "keep data and run apart")
            for place in exported:
                _apart(f"data.{key}", data, place, "what export.path will replace", "export to a folder of its own")
        _unread(f"data.{key}", paths, run.root, "the run directory", "keep data and run apart")
        for place in exported:
            _unread(f"data.{key}", paths, place, "export.path", "export to a folder of its own")


def _unread(key: str, paths: str | list[str] | None, place: Location, what: str, remedy: str) -> None:
    from dualprune.data.files import reading_place

    data = reading_place(paths, place)
    if data is not None:
        raise ConfigError(f"{what}: {place} lies inside {key} ({data}); {remedy}")


def _apart(what: str, place: Location, folder: Location, name: str, remedy: str) -> None:
    if place.is_inside(folder):
        raise ConfigError(f"{what}: {place} lies inside {name} ({folder}); {remedy}")


def check_data(stages: Collection[str], run: RunDirectory, config: Config) -> None:
    """Raise a UserError where the data, or files that the configuration names, would make a later stage fail.

    Once epochs are recorded, there is nothing left to save.
    """
    from dualprune.data.source import open_source

    evaluates = "evaluate" in stages
    if has_commits(run.dynamics) and not evaluates:
        return
    source = open_source(config.data)
    if evaluates and not source.shards("test"):
        raise DataError(
            "evaluate.enabled: there is no test set to measure accuracy on; "
            "set data.test_path or data.test_fraction, or turn evaluate.enabled off"
        )
    if has_commits(run.dynamics):
        return
    source.check()
    if "select" not in stages:
        return
    from dualprune.stages.select.groups import check_column
    from dualprune.stages.select.id_files import listed_ids

    if config.select.balance.active and config.select.balance.by != "label":
        check_column(source, config.select.balance.by)
    for key in ("always_keep", "never_keep"):
        path = getattr(config.select, key)
        if path is not None:
            listed_ids(path, f"select.{key}")
