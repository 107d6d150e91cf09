"""What a sampler is, and the registry of them: adding a sampler is adding one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dualprune.core.config import SelectConfig
from dualprune.core.registry import Registry
from dualprune.selection.engine.ranking import Part

Chance = Literal["weight", "equal", "none"]


@dataclass(frozen=True)
class Summary:
    """What a sampler knows of all samples: number, mean μ of the highest-scored ones (NaN without μ), score range."""

    num_samples: int
    anchor: float
    lowest: float = 0.0
    highest: float = 1.0


class Draw(Protocol):
    """A sampler whose parameters are all known: it ranks any part of the samples by itself."""

    @property
    def seed(self) -> int:
        """Seed of the hash that decides between equal ranks."""
        ...

    @property
    def chance(self) -> Chance:
        """What an inclusion probability follows from: the weight, the numbers alone, or nothing (it is 1)."""
        ...

    def rank(self, part: Part) -> NDArray[np.uint64]:
        """Return uint64 [n]; higher is kept first."""
        ...

    def possible(self, part: Part, floor: int) -> NDArray[np.bool_] | None:
        """Return which samples may rank from `floor` on, bool [n], faster than by `rank`; None where all may."""
        ...

    def weight(self, part: Part) -> NDArray[np.float64]:
        """Return the sampling weight, float64 [n]."""
        ...

    def focus(self) -> tuple[int, int]:
        """Return the ranks between which the last kept one is looked for first; any are right, good ones are fast."""
        ...


class Sampler(ABC):
    """One way to choose the samples to keep; built from `config.select`."""

    needs_mean_prob: ClassVar[bool] = False
    # Without a ratio, every sample inside `score_range` is kept.
    has_ratio: ClassVar[bool] = True
    # Above 1: samples are drawn from strata of equal width of score.
    num_strata: int = 1
    # This share of the samples, from this end of the score, is passed over first.
    skipped: float = 0.0
    skipped_end: Literal["hardest", "easiest"] = "hardest"
    score_range: tuple[float, float] = (-np.inf, np.inf)

    @abstractmethod
    def __init__(self, config: SelectConfig) -> None: ...

    @abstractmethod
    def draw(self, ratio: float, summary: Summary) -> tuple[Draw, dict[str, Any]]:
        """Return what ranks samples for a ratio, and the parameters that it came to, as JSON values."""


SAMPLERS: Registry[type[Sampler]] = Registry("sampler", "dualprune.selection.samplers", "dualprune.samplers")
