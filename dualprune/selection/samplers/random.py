"""Random selection: every sample has the same weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dualprune.selection.rows import Rows
from dualprune.selection.sampler import SAMPLERS, Draw, Floats, Sampler, Summary


@dataclass(frozen=True)
class RandomDraw(Draw):
    """Every sample with the same weight."""

    weighted: ClassVar[bool] = True
    uniform: ClassVar[bool] = True

    def order(self, rows: Rows) -> Floats:
        """Return zeros."""
        return np.zeros(len(rows))


@SAMPLERS.register("random")
class Random(Sampler):
    """Every sample with the same chance."""

    def draw(self, ratio: float, summary: Summary) -> RandomDraw:
        """Return the draw; it has no parameters."""
        del ratio, summary
        return RandomDraw()
