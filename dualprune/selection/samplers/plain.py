"""The samplers without a density: the highest scores, chance, strata of score, a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dualprune.core.config import SelectConfig
from dualprune.errors import ConfigError
from dualprune.selection.engine.ranking import TOP_BIT, Part, key_rank, ordered_bits, rank_key, weighted_rank
from dualprune.selection.sampler import SAMPLERS, Chance, Sampler, Summary


@dataclass(frozen=True)
class ScoreDraw:
    """The highest scores, or the lowest; ties by the hash of the id."""

    seed: int
    end: Literal["hardest", "easiest"] = "hardest"
    lowest: float = 0.0
    highest: float = 1.0
    chance: Chance = "none"

    def rank(self, part: Part) -> NDArray[np.uint64]:
        """Rank by score."""
        return ordered_bits(part.score if self.end == "hardest" else -part.score)

    def possible(self, part: Part, floor: int) -> None:
        """Return None: nothing is faster than the rank."""

    def weight(self, part: Part) -> NDArray[np.float64]:
        """Return ones."""
        return np.ones(len(part))

    def focus(self) -> tuple[int, int]:
        """Return the range of the scores, without the many powers of two next to zero."""
        ends = np.array([self.lowest, self.highest] if self.end == "hardest" else [-self.highest, -self.lowest])
        small = np.abs(ends).max() * 2.0**-24
        ends = np.where(np.abs(ends) < small, np.array([small, -small]), ends)
        low, high = (int(bits) for bits in ordered_bits(ends))
        return min(low, high), max(low, high)


@dataclass(frozen=True)
class RandomDraw:
    """Every sample with the same weight."""

    seed: int
    chance: Chance = "equal"

    def rank(self, part: Part) -> NDArray[np.uint64]:
        """Rank by chance."""
        return weighted_rank(part, None, self.seed)

    def possible(self, part: Part, floor: int) -> NDArray[np.bool_] | None:
        """Return which samples may rank from `floor` on, by their hashes, of which noise is a rising function."""
        if floor < TOP_BIT:
            return None
        with np.errstate(over="ignore"):
            lowest = np.exp(-np.exp(-rank_key(np.array([floor], dtype=np.uint64))[0]))
        # A little less, for the arithmetic; and back from a uniform number to the upper bits of a hash.
        return part.hash(self.seed) >= np.uint64(max(0.0, lowest - 1e-9) * 2.0**52) << np.uint64(12)

    def weight(self, part: Part) -> NDArray[np.float64]:
        """Return ones."""
        return np.ones(len(part))

    def focus(self) -> tuple[int, int]:
        """Return the range of Gumbel noise of 52 bits."""
        low, high = (int(rank) for rank in key_rank(np.array([-4.0, 37.0])))
        return low, high


@SAMPLERS.register("top_k")
class TopK(Sampler):
    """Keeps the samples at one end of the score, or a window of ranks behind it."""

    def __init__(self, config: SelectConfig) -> None:
        self._config = config
        self.skipped, self.skipped_end = config.skip, config.order

    def draw(self, ratio: float, summary: Summary) -> tuple[ScoreDraw, dict[str, Any]]:
        """Return the draw and its parameters: order, skip."""
        del ratio
        order = self._config.order
        facts = {"order": order, "skip": self._config.skip}
        return ScoreDraw(self._config.seed, order, summary.lowest, summary.highest), facts


@SAMPLERS.register("random")
class Random(Sampler):
    """Keeps samples by chance alone."""

    def __init__(self, config: SelectConfig) -> None:
        self._seed = config.seed

    def draw(self, ratio: float, summary: Summary) -> tuple[RandomDraw, dict[str, Any]]:
        """Return the draw; it has no parameters."""
        del ratio, summary
        return RandomDraw(self._seed), {}


@SAMPLERS.register("stratified")
class Stratified(Sampler):
    """Coverage-centric selection (arXiv 2210.15809): the same number by chance from each stratum of score.

    The share `drop_hardest` of the samples is passed over, the scores of the others are cut into `strata` parts of
    equal width. From the smallest on, each gives min(size, what is left to keep / strata left), at random.
    """

    def __init__(self, config: SelectConfig) -> None:
        self._config = config
        self.num_strata, self.skipped = config.strata, config.drop_hardest

    def draw(self, ratio: float, summary: Summary) -> tuple[RandomDraw, dict[str, Any]]:
        """Return the draw and its parameters: strata, drop_hardest, lowest and highest score of the strata."""
        del ratio
        facts = {
            "strata": self._config.strata,
            "drop_hardest": self._config.drop_hardest,
            "lowest": summary.lowest,
            "highest": summary.highest,
        }
        return RandomDraw(self._config.seed), facts


@SAMPLERS.register("threshold")
class Threshold(Sampler):
    """Keeps every sample whose score lies in [min_score, max_score], however many they are."""

    has_ratio: ClassVar[bool] = False

    def __init__(self, config: SelectConfig) -> None:
        low, high = config.min_score, config.max_score
        if low is None and high is None:
            raise ConfigError("select.min_score, select.max_score: threshold needs one of them; both are null")
        self.score_range = (-np.inf if low is None else low, np.inf if high is None else high)
        if self.score_range[0] > self.score_range[1]:
            raise ConfigError(f"select.min_score: {low} is above select.max_score = {high}; nothing lies between them")
        self._seed = config.seed
        self._facts = {"min_score": low, "max_score": high}

    def draw(self, ratio: float, summary: Summary) -> tuple[ScoreDraw, dict[str, Any]]:
        """Return the draw and its parameters: min_score, max_score."""
        del ratio
        return ScoreDraw(self._seed, "hardest", summary.lowest, summary.highest), self._facts
