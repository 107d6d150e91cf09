"""The plain samplers: the highest scores, and chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dualprune.config import SelectConfig
from dualprune.selection.ranking import Ranked, Samples, by_score, by_weight
from dualprune.selection.registry import SAMPLERS, Sampler, Summary


@dataclass(frozen=True)
class TopDraw:
    """The highest scores; ties by the hash of the id."""

    seed: int

    def ranked(self, samples: Samples) -> Ranked:
        """Rank by score."""
        return by_score(samples, self.seed)


@dataclass(frozen=True)
class RandomDraw:
    """Every sample with the same weight."""

    seed: int

    def ranked(self, samples: Samples) -> Ranked:
        """Rank by chance."""
        return by_weight(samples, np.zeros(len(samples.score)), self.seed)


@SAMPLERS.register("top_k")
class TopK(Sampler):
    """Keeps the samples of the highest scores."""

    def __init__(self, config: SelectConfig) -> None:
        self._seed = config.seed

    def draw(self, ratio: float, summary: Summary) -> tuple[TopDraw, dict[str, Any]]:
        """Return the draw; it has no parameters."""
        del ratio, summary
        return TopDraw(self._seed), {}


@SAMPLERS.register("random")
class Random(Sampler):
    """Keeps samples by chance alone."""

    def __init__(self, config: SelectConfig) -> None:
        self._seed = config.seed

    def draw(self, ratio: float, summary: Summary) -> tuple[RandomDraw, dict[str, Any]]:
        """Return the draw; it has no parameters."""
        del ratio, summary
        return RandomDraw(self._seed), {}
