"""Beta sampling: a draw whose weight is the score times a Beta density over the mean probability.

With anchor = mean μ of the 10 samples of the highest score, r the pruning ratio and c_D the data set's constant,

    b = 15 · (1 - anchor) · (1 - r^c_D),    a = 16 - b,    weight_i = BetaPDF(μ_i; a, b) · score_i

(arXiv 2502.06905). As r grows the Beta moves to easier samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.config import SelectConfig
from dualprune.errors import DataError
from dualprune.selection.ranking import Ranked, Samples, by_weight
from dualprune.selection.registry import SAMPLERS, Sampler, Summary

SMALLEST = 1e-6


@dataclass(frozen=True)
class BetaDraw:
    """Beta sampling with its a and b."""

    a: float
    b: float
    seed: int

    def ranked(self, samples: Samples) -> Ranked:
        """Rank by weighted sampling without replacement."""
        if samples.mean_prob is None:
            raise DataError("beta needs mean_prob beside the score; use another sampler, or a score that has it")
        return by_weight(samples, self.log_weight(samples.score, samples.mean_prob), self.seed)

    def log_weight(self, score: NDArray[np.float64], mean_prob: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log(BetaPDF(mean_prob; a, b) · score), float64 [n]; -inf where the score is not positive."""
        inside = np.clip(mean_prob, np.finfo(np.float64).tiny, 1.0 - np.finfo(np.float64).epsneg)
        log_beta = math.lgamma(self.a) + math.lgamma(self.b) - math.lgamma(self.a + self.b)
        log_pdf = (self.a - 1.0) * np.log(inside) + (self.b - 1.0) * np.log1p(-inside) - log_beta
        positive = score > 0.0
        result: NDArray[np.float64] = np.where(positive, log_pdf + np.log(np.where(positive, score, 1.0)), -np.inf)
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
        return BetaDraw(a, b, config.seed), facts
