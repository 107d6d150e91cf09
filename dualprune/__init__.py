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
    from dualprune.core.registry import Difference as Difference
    from dualprune.core.registry import Plugin as Plugin
    from dualprune.core.run import RunDirectory as RunDirectory
    from dualprune.core.section import Section as Section
    from dualprune.data.choice import Choice as Choice
    from dualprune.data.source import SOURCES as SOURCES
    from dualprune.data.source import ImageBatch as ImageBatch
    from dualprune.data.source import Shard as Shard
    from dualprune.data.source import Source as Source
    from dualprune.data.source import even_shards as even_shards
    from dualprune.dynamics.statistics import STATISTICS as STATISTICS
    from dualprune.dynamics.statistics import Forward as Forward
    from dualprune.dynamics.statistics import Statistic as Statistic
    from dualprune.dynamics.store import DynamicsStore as DynamicsStore
    from dualprune.exchange.exporting import export_dynamics as export_dynamics
    from dualprune.exchange.importing import import_dynamics as import_dynamics
    from dualprune.exchange.importing import import_file as import_file
    from dualprune.exchange.pruned import PrunedDataset as PrunedDataset
    from dualprune.exchange.streams import KeptIds as KeptIds
    from dualprune.exchange.streams import keep_samples as keep_samples
    from dualprune.scores.score import SCORES as SCORES
    from dualprune.scores.score import Accumulator as Accumulator
    from dualprune.scores.score import ColumnScore as ColumnScore
    from dualprune.scores.score import EpochScore as EpochScore
    from dualprune.selection.sampler import SAMPLERS as SAMPLERS
    from dualprune.selection.sampler import Cut as Cut
    from dualprune.selection.sampler import Draw as Draw
    from dualprune.selection.sampler import Sampler as Sampler
    from dualprune.stages.pipeline import prune as prune
    from dualprune.training.curricula import CURRICULA as CURRICULA
    from dualprune.training.curricula import Curriculum as Curriculum
    from dualprune.training.models import MODELS as MODELS
    from dualprune.training.models import Model as Model

    __version__: str

_HOMES = {
    "dualprune.api": ("Kept", "Run"),
    "dualprune.core.config": ("Config",),
    "dualprune.core.config_file": ("load_config",),
    "dualprune.core.registry": ("Difference", "Plugin"),
    "dualprune.core.run": ("RunDirectory",),
    "dualprune.core.section": ("Section",),
    "dualprune.data.choice": ("Choice",),
    "dualprune.data.source": ("SOURCES", "ImageBatch", "Shard", "Source", "even_shards"),
    "dualprune.dynamics.statistics": ("STATISTICS", "Forward", "Statistic"),
    "dualprune.dynamics.store": ("DynamicsStore",),
    "dualprune.exchange.exporting": ("export_dynamics",),
    "dualprune.exchange.importing": ("import_dynamics", "import_file"),
    "dualprune.exchange.pruned": ("PrunedDataset",),
    "dualprune.exchange.streams": ("KeptIds", "keep_samples"),
    "dualprune.scores.score": ("SCORES", "Accumulator", "ColumnScore", "EpochScore"),
    "dualprune.selection.sampler": ("SAMPLERS", "Cut", "Draw", "Sampler"),
    "dualprune.stages.pipeline": ("prune",),
    "dualprune.training.curricula": ("CURRICULA", "Curriculum"),
    "dualprune.training.measurements": ("MEASUREMENTS", "Measurement"),
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
