"""The kinds of plug-ins, and where each kind's registry is; imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dualprune.core.registry import Registry

# kind: the registry's address
KINDS = {
    "score method": "dualprune.scores.score:SCORES",
    "sampler": "dualprune.selection.sampler:SAMPLERS",
    "source": "dualprune.data.source:SOURCES",
    "model": "dualprune.training.models:MODELS",
    "statistic": "dualprune.dynamics.statistics:STATISTICS",
    "measurement": "dualprune.training.measurements:MEASUREMENTS",
    "curriculum": "dualprune.training.curricula:CURRICULA",
}


def registry(kind: str) -> Registry[Any]:
    """Return the registry of a kind."""
    module, _, name = KINDS[kind].partition(":")
    found: Registry[Any] = getattr(import_module(module), name)
    return found
