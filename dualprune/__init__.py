"""Prune training sets: record training dynamics, score every sample, keep what is worth training on.

Importing this starts nothing: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualprune import scores as scores
    from dualprune import selection as selection
    from dualprune.api import Kept as Kept
    from dualprune.api import Run as Run
    from dualprune.core.config import Config as Config
    from dualprune.core.config_file import load_config as load_config
    from dualprune.core.run import RunDirectory as RunDirectory
    from dualprune.data.source import SOURCES as SOURCES
    from dualprune.data.source import Source as Source
    from dualprune.dynamics.statistics import STATISTICS as STATISTICS
    from dualprune.dynamics.store import DynamicsStore as DynamicsStore
    from dualprune.exchange.exporting import export_dynamics as export_dynamics
    from dualprune.exchange.importing import import_dynamics as import_dynamics
    from dualprune.exchange.importing import import_file as import_file
    from dualprune.exchange.pruned import PrunedDataset as PrunedDataset
    from dualprune.scores.score import SCORES as SCORES
    from dualprune.selection.sampler import SAMPLERS as SAMPLERS
    from dualprune.selection.sampler import Sampler as Sampler
    from dualprune.stages.pipeline import prune as prune
    from dualprune.training.models import MODELS as MODELS
    from dualprune.training.models import Model as Model

    __version__: str

_HOMES = {
    "dualprune.api": ("Kept", "Run"),
    "dualprune.core.config": ("Config",),
    "dualprune.core.config_file": ("load_config",),
    "dualprune.core.run": ("RunDirectory",),
    "dualprune.data.source": ("SOURCES", "Source"),
    "dualprune.dynamics.statistics": ("STATISTICS",),
    "dualprune.dynamics.store": ("DynamicsStore",),
    "dualprune.exchange.exporting": ("export_dynamics",),
    "dualprune.exchange.importing": ("import_dynamics", "import_file"),
    "dualprune.exchange.pruned": ("PrunedDataset",),
    "dualprune.scores.score": ("SCORES",),
    "dualprune.selection.sampler": ("SAMPLERS", "Sampler"),
    "dualprune.stages.pipeline": ("prune",),
    "dualprune.training.models": ("MODELS", "Model"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("scores", "selection")

__all__ = sorted([*_HOME_OF, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _MODULES:
        return import_module(f"dualprune.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("dualprune")
    raise AttributeError(f"module 'dualprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
