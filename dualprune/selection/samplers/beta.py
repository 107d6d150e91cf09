"""Beta sampling: a draw whose weight is the score times a Beta density over the mean probability.

With anchor = mean μ of the 10 samples of the highest score, r the pruning ratio and c_D the data set's constant,

    b = 15 · (1 - anchor) · (1 - r^c_D),    a = 16 - b,    weight_i = BetaPDF(μ_i; a, b) · score_i

(arXiv 2502.06905). As r grows the Beta moves to easier samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from dualprune.core.compiled import compiled
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.errors import ConfigError
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import SAMPLERS, Draw, Floats, Ranking, Sampler, Summary

SMALLEST = 1e-6
# Larger parameters are mistakes; the density stays in range below.
MOST = 1e6
# Parts of [0, 1] for which the density is bounded: few enough that the bounds fit into the nearest cache.
BINS = 2048
# Smaller bounds would lose digits, and are multiplied by scores of any size.
SMALLEST_BOUND = 1e-290


@dataclass(frozen=True)
class BetaDraw(Draw):
    """Beta sampling with its a and b."""

    weighted: ClassVar[bool] = True

    a: float
    b: float
    parameters: Mapping[str, Any] = field(default_factory=dict)
    ranking: Ranking | None = None

    def _weights(self, rows: Rows) -> Floats:
        """Return the scores, or their ranks as shares."""
        ranking = self.ranking
        return rows.score if ranking is None else rows.once(("ranked", id(ranking)), lambda: ranking.of(rows.score))

    def order(self, rows: Rows) -> Floats:
        """Return log(BetaPDF(mean_prob; a, b) · weight), float64 [n]; -inf where the weight is not positive."""
        log_mean = rows.once(("log mean",), lambda: np.log(_inside(rows.mean_prob)))
        log_rest = rows.once(("log rest",), lambda: np.log1p(-_inside(rows.mean_prob)))
        log_score = rows.once(("log weight", id(self.ranking)), lambda: _log(self._weights(rows)))
        result: Floats = _log_weight(self.a, self.b, _log_beta(self.a, self.b), log_mean, log_rest, log_score)
        return result

    def bound(self, rows: Rows, floor: float) -> Floats:
        """Return the weight times the density's highest value near mean_prob, over exp(floor)."""
        bound: Floats = _bound(rows.mean_prob, self._weights(rows), _highest_densities(self.a, self.b, floor))
        return bound


@SAMPLERS.register("beta")
class Beta(Sampler):
    """A draw by BetaPDF(mean_prob; a, b) · score, which moves to easier samples as the ratio grows."""

    source = "DUAL, arXiv 2502.06905; behaapyy/dual-pruning@4ab525d"
    cost = "a further pass over the scores"
    differences = (
        Difference("the authors' code sums a + b to 16, earlier versions to 15", "concentration: 15"),
        Difference(
            "the authors cut the number kept, and keep one fewer at ratios 0.8 and 0.9",
            "not reproduced: the number kept is exact",
        ),
    )

    class Options(Section):
        """Options of Beta sampling."""

        baseline: ClassVar[Mapping[str, Any]] = {
            "c_d": 4.0,
            "exponent": "c_d",
            "concentration": 16.0,
            "scale": 15.0,
            "anchor_size": 10,
            "weight": "score",
        }

        c_d: PositiveFloat = Field(4.0, le=MOST, description="The data set's constant in the exponent of the ratio.")
        exponent: Literal["c_d", "2+c_d"] = Field("c_d", description="Exponent of the ratio.")
        concentration: PositiveFloat = Field(16.0, le=MOST, description="The sum a + b.")
        scale: PositiveFloat = Field(15.0, le=MOST, description="The factor of b.")
        anchor_size: PositiveInt = Field(10, description="The anchor is the mean of this many highest-scored samples.")
        weight: Literal["score", "rank"] = Field(
            "score",
            description="What the density is multiplied by: the score, or its rank, (rank - 1/2) / n, for scores that "
            "can be negative; ranks take 16 bytes of memory per sample.",
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """The mean probability."""
        return ("mean_prob",)

    @property
    def num_top(self) -> int:
        """The samples that make the anchor."""
        return int(self.options.anchor_size)

    def draw(self, ratio: float, summary: Summary) -> BetaDraw:
        """Return the draw for a ratio; its parameters are the options, the anchor, a and b."""
        options = self.options
        if options.weight == "score" and summary.lowest < 0.0:
            raise ConfigError(
                f"select.options.beta.weight: score: the draw weights samples by their scores, but the lowest is "
                f"{summary.lowest:g}; set select.options.beta.weight: rank, or use a sampler without weights, such as "
                "top_k"
            )
        ranking = summary.ranking() if options.weight == "rank" and summary.ranking is not None else None
        anchor = float(np.mean(summary.top_mean_prob))
        a, b = beta_parameters(anchor, ratio, options.c_d, options.exponent, options.concentration, options.scale)
        return BetaDraw(a, b, {**options.model_dump(), "anchor": anchor, "a": a, "b": b}, ranking)


def beta_parameters(
    anchor: float, ratio: float, c_d: float, exponent: str, concentration: float, scale: float
) -> tuple[float, float]:
    """Return a and b of the Beta; both stay above 0."""
    power = c_d + 2.0 if exponent == "2+c_d" else c_d
    b = scale * (1.0 - anchor) * (1.0 - ratio**power)
    b = min(max(b, SMALLEST), concentration - SMALLEST)
    return concentration - b, b


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@lru_cache(maxsize=64)
def _highest_densities(a: float, b: float, floor: float) -> Floats:
    """Return the highest BetaPDF(·; a, b) in each of BINS equal parts of [0, 1], over exp(floor)."""
    edges = _inside(np.linspace(0.0, 1.0, BINS + 1))
    logs = (a - 1.0) * np.log(edges) + (b - 1.0) * np.log1p(-edges)
    highest = np.maximum(logs[:-1], logs[1:])
    # Between its edges a part is higher only where the density's one peak is.
    if a > 1.0 and b > 1.0:
        peak = (a - 1.0) / (a + b - 2.0)
        at = min(int(peak * BINS), BINS - 1)
        highest[at] = max(highest[at], (a - 1.0) * math.log(peak) + (b - 1.0) * math.log1p(-peak))
    with np.errstate(over="ignore"):
        return np.maximum(np.exp(highest - _log_beta(a, b) - floor), SMALLEST_BOUND)


def _inside(mean_prob: Floats) -> Floats:
    """Return the values moved off 0 and 1, where logarithms are infinite."""
    return np.clip(mean_prob, np.finfo(np.float64).tiny, 1.0 - np.finfo(np.float64).epsneg)


def _log(score: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(score, 0.0))


@compiled
def _bound(mean_prob: Floats, score: Floats, highest: Floats) -> Floats:
    result = np.empty(len(score))
    bins = len(highest)
    for i in range(len(score)):
        result[i] = highest[max(0, min(int(mean_prob[i] * bins), bins - 1))] * score[i]
    return result


@compiled
def _log_weight(a: float, b: float, log_beta: float, log_mean: Floats, log_rest: Floats, log_score: Floats) -> Floats:
    result = np.empty(len(log_mean))
    for i in range(len(log_mean)):
        result[i] = (a - 1.0) * log_mean[i] + (b - 1.0) * log_rest[i] - log_beta + log_score[i]
    return result
