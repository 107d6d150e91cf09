"""Every score within limits, without a fixed number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from dualprune.core.section import Section
from dualprune.errors import ConfigError
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import SAMPLERS, ColumnDraw, Ints, Mask, Sampler, Summary


@dataclass(frozen=True)
class ThresholdDraw(ColumnDraw):
    """The scores in [lowest, highest]."""

    lowest: float = -np.inf
    highest: float = np.inf

    def cell(self, rows: Rows, inside: Sequence[Mask]) -> Ints:
        """Return cell 0 for the scores within the limits, -1 for the others."""
        del inside
        return np.where((rows.score >= self.lowest) & (rows.score <= self.highest), 0, -1)


@SAMPLERS.register("threshold")
class Threshold(Sampler):
    """Every sample whose score lies in [min_score, max_score], without a fixed number."""

    has_ratio: ClassVar[bool] = False

    class Options(Section):
        """Options: the limits, at least one of which is needed."""

        baseline: ClassVar[Mapping[str, Any]] = {"min_score": None, "max_score": None}

        min_score: float | None = Field(None, description="Keep scores from here on.")
        max_score: float | None = Field(None, description="Keep scores up to here.")

    def draw(self, ratio: float, summary: Summary) -> ThresholdDraw:
        """Return the draw; its parameters are the options."""
        del ratio
        low, high = self.options.min_score, self.options.max_score
        if low is None and high is None:
            raise ConfigError("select.min_score, select.max_score: threshold needs one of them; both are null")
        if low is not None and high is not None and low > high:
            raise ConfigError(f"select.min_score: {low} is above select.max_score = {high}; swap or change them")
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        if low > summary.highest or high < summary.lowest:
            raise ConfigError(
                f"select.min_score, select.max_score: no score lies in {[low, high]}; scores go from "
                f"{summary.lowest:g} to {summary.highest:g}"
            )
        return ThresholdDraw("score", "high", self.options.model_dump(), low, high)
