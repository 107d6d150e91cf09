"""Beta sampling: a draw whose weight is the score times a Beta density over the mean probability.

With anchor = mean μ of the 10 samples of the highest score, r the pruning ratio and c_D the data set's constant,

    b = 15 · (1 - anchor) · (1 - r^c_D),    a = 16 - b,    weight_i = BetaPDF(μ_i; a, b) · score_i

(arXiv 2502.06905). As r grows the Beta moves to easier samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.compiled import compiled
from dualprune.core.config import SelectConfig
from dualprune.errors import DataError
from dualprune.selection.engine.ranking import TOP_BIT, Part, key_rank, rank_key, weighted_rank
from dualprune.selection.engine.screen import may_reach
from dualprune.selection.sampler import SAMPLERS, Chance, Sampler, Summary

SMALLEST = 1e-6
# Parts of [0, 1] in which the density is bounded: so few that the bounds stay in the nearest cache.
BINS = 2048


@dataclass(frozen=True)
class BetaDraw:
    """Beta sampling with its a and b; the keys of scores up to `highest` lie near its logarithm."""

    a: float
    b: float
    seed: int
    highest: float = 1.0
    chance: Chance = "weight"

    def rank(self, part: Part) -> NDArray[np.uint64]:
        """Rank by weighted sampling without replacement."""
        return weighted_rank(part, self.log_weight(part), self.seed)

    def possible(self, part: Part, floor: int) -> NDArray[np.bool_] | None:
        """Return which samples may rank from `floor` on, by the density's highest value near their mean_prob."""
        if floor < TOP_BIT or part.mean_prob is None:
            return None
        bound = _highest_densities(self.a, self.b, floor)
        return may_reach(part.hash(self.seed), part.score, part.mean_prob, bound)

    def weight(self, part: Part) -> NDArray[np.float64]:
        """Return BetaPDF(mean_prob; a, b) · score; 0 where the score is not positive."""
        return np.exp(self.log_weight(part))

    def log_weight(self, part: Part) -> NDArray[np.float64]:
        """Return log(BetaPDF(mean_prob; a, b) · score), float64 [n]; -inf where the score is not positive."""
        if part.mean_prob is None:
            raise DataError("beta needs mean_prob beside the score; use another sampler, or a score that has it")
        log_mean = part.once(("log mean",), lambda: np.log(_inside(part.mean_prob)))
        log_rest = part.once(("log rest",), lambda: np.log1p(-_inside(part.mean_prob)))
        log_score = part.once(("log score",), lambda: _log(part.score))
        result: NDArray[np.float64] = _log_weight(
            self.a, self.b, _log_beta(self.a, self.b), log_mean, log_rest, log_score
        )
        return result

    def focus(self) -> tuple[int, int]:
        """Return the range of keys from 88 below to 40 above the logarithm of the highest score."""
        centre = math.log(self.highest) if self.highest > 0.0 else 0.0
        low, high = (int(rank) for rank in key_rank(np.array([centre - 88.0, centre + 40.0])))
        return low, high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@lru_cache(maxsize=64)
def _highest_densities(a: float, b: float, floor: int) -> NDArray[np.float64]:
    """Return the highest BetaPDF(·; a, b) in each of BINS equal parts of [0, 1], over exp(key of the rank `floor`)."""
    edges = _inside(np.linspace(0.0, 1.0, BINS + 1))
    logs = (a - 1.0) * np.log(edges) + (b - 1.0) * np.log1p(-edges)
    highest = np.maximum(logs[:-1], logs[1:])
    # Between its edges a part is higher only where the density's one peak is.
    if a > 1.0 and b > 1.0:
        peak = (a - 1.0) / (a + b - 2.0)
        at = min(int(peak * BINS), BINS - 1)
        highest[at] = max(highest[at], (a - 1.0) * math.log(peak) + (b - 1.0) * math.log1p(-peak))
    key = float(rank_key(np.array([floor], dtype=np.uint64))[0])
    with np.errstate(over="ignore"):
        return np.exp(highest - _log_beta(a, b) - key)


def _inside(mean_prob: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values moved off 0 and 1, where logarithms end."""
    return np.clip(mean_prob, np.finfo(np.float64).tiny, 1.0 - np.finfo(np.float64).epsneg)


def _log(score: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(score, 0.0))


@compiled
def _log_weight(
    a: float,
    b: float,
    log_beta: float,
    log_mean: NDArray[np.float64],
    log_rest: NDArray[np.float64],
    log_score: NDArray[np.float64],
) -> NDArray[np.float64]:
    result = np.empty(len(log_mean))
    for i in range(len(log_mean)):
        result[i] = (a - 1.0) * log_mean[i] + (b - 1.0) * log_rest[i] - log_beta + log_score[i]
    return result


def beta_parameters(
    anchor: float, ratio: float, c_d: float, exponent: str, concentration: float, scale: float
) -> tuple[float, float]:
    """Return a and b of the Beta; both stay above 0."""
    power = c_d + 2.0 if exponent == "2+c_d" else c_d
    b = scale * (1.0 - anchor) * (1.0 - ratio**power)
    b = min(max(b, SMALLEST), concentration - SMALLEST)
    return concentration - b, b


@SAMPLERS.register("beta")
class Beta(Sampler):
    """Beta sampling as configured."""

    needs_mean_prob = True

    def __init__(self, config: SelectConfig) -> None:
        self._config = config

    def draw(self, ratio: float, summary: Summary) -> tuple[BetaDraw, dict[str, Any]]:
        """Return the draw for a ratio and its parameters: c_d, exponent, constants, anchor, a, b."""
        config = self._config
        constants = {
            "c_d": config.c_d,
            "exponent": config.exponent,
            "concentration": config.concentration,
            "scale": config.scale,
        }
        anchor = summary.anchor
        a, b = beta_parameters(anchor, ratio, **constants)  # type: ignore[arg-type]
        facts = {**constants, "anchor_size": config.anchor_size, "anchor": anchor, "a": a, "b": b}
        return BetaDraw(a, b, config.seed, summary.highest), facts
