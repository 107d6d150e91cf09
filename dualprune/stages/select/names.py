"""The names of the selections that a configuration draws."""

from __future__ import annotations

from dualprune.core.config import Config
from dualprune.selection.sampler import SAMPLERS


def selection_names(config: Config) -> list[str]:
    """Return the names of the selections that the configuration draws, one per ratio."""
    select = config.select
    if select.name is not None:
        return [select.name]
    if not SAMPLERS[select.method].has_ratio:
        return [select.method]
    return [f"{select.method}-{ratio:g}" for ratio in select.ratios]
