"""Prune training sets: record training dynamics, score every sample, keep what is worth training on.

Importing this starts nothing: Ray and torch are imported when they are used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualprune import scores as scores
    from dualprune import selection as selection
    from dualprune.core.config import Config as Config
    from dualprune.core.config_file import load_config as load_config
    from dualprune.core.run import RunDirectory as RunDirectory
    from dualprune.dynamics.store import DynamicsStore as DynamicsStore
    from dualprune.exchange.exporting import export_dynamics as export_dynamics
    from dualprune.exchange.importing import import_dynamics as import_dynamics
    from dualprune.exchange.importing import import_file as import_file
    from dualprune.exchange.pruned import PrunedDataset as PrunedDataset
    from dualprune.stages.pipeline import prune as prune

__version__ = version("dualprune")

_HOMES = {
    "Config": "dualprune.core.config",
    "DynamicsStore": "dualprune.dynamics.store",
    "PrunedDataset": "dualprune.exchange.pruned",
    "RunDirectory": "dualprune.core.run",
    "export_dynamics": "dualprune.exchange.exporting",
    "import_dynamics": "dualprune.exchange.importing",
    "import_file": "dualprune.exchange.importing",
    "load_config": "dualprune.core.config_file",
    "prune": "dualprune.stages.pipeline",
}
_MODULES = ("scores", "selection")

__all__ = sorted([*_HOMES, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"dualprune.{name}")
    raise AttributeError(f"module 'dualprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
