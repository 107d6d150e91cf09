"""Opens the training data of a recorded run, which must be what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.data.source import Source, open_source
from dualprune.errors import DataError


def recorded_source(run: RunDirectory, config: Config) -> Source:
    """Return the source of a run; a DataError where its training data have changed since they were indexed.

    Positions identify the kept rows: with changed or reordered rows, they would name other samples.
    """
    if config.data.source == "imported":
        # This source has no data that could have changed.
        return open_source(config.data)
    settings = run.require("index", "record")["settings"]
    source = open_source(config.data, decoding_rule(settings))
    recorded = settings["source"]
    found = source.fingerprint()
    if found != recorded:
        raise DataError(
            f"the training data have changed since {run} recorded them (fingerprint {recorded} there, {found} now): "
            "rows, their order, files or columns differ, so positions no longer name the same samples; restore the "
            "recorded data, or record the new data into another run directory"
        )
    return source


def decoding_rule(settings: Mapping[str, Any]) -> int:
    """Return the rule of decoding that a run began with, given the settings of its index."""
    # Versions that knew one rule only did not store it.
    return int(settings.get("decoding", 1))
