"""Coverage-centric selection (arXiv 2210.15809): the same random number of samples from each stratum of the score.

The share `drop` of the samples, the hardest by AUM or by the score itself, is left out. The range of score of the
others is cut into strata of equal width; from the smallest on, each keeps min(size, left to keep / strata left).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.selection.engine.counts import num_left_out, share_of
from dualprune.selection.engine.quotas import stratum_budgets
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import SAMPLERS, Cut, Ints, Mask, Sampler, Summary
from dualprune.selection.samplers.random import RandomDraw

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


@dataclass(frozen=True)
class StrataDraw(RandomDraw):
    """Equal weights within `num_cells` strata of the scores lowest … highest."""

    num_cells: int = 1
    lowest: float = 0.0
    highest: float = 1.0
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def cell(self, rows: Rows, inside: Sequence[Mask]) -> Ints:
        """Return each row's stratum; -1 for those that are dropped."""
        cell = np.zeros(len(rows), dtype=np.int64)
        if self.num_cells > 1 and self.highest > self.lowest:
            share = (rows.score - self.lowest) / (self.highest - self.lowest)
            cell = np.clip(share * self.num_cells, 0, self.num_cells - 1).astype(np.int64)
        for mask in inside:
            cell[mask] = -1
        return cell

    def budgets(self, sizes: Ints, k: int) -> Ints:
        """Divide `k`: from the smallest stratum on, min(size, left / strata left)."""
        return stratum_budgets(sizes, k)


@SAMPLERS.register("ccs")
class Ccs(Sampler):
    """Coverage-centric selection: random samples from strata of the score, without the hardest samples."""

    source = "CCS, arXiv 2210.15809; haizhongzheng/Coverage-centric-coreset-selection@b37f166"
    cost = "two further passes over the scores"
    differences = (
        Difference(
            "the authors' upper edge of the strata, max · 1.0001, loses the best sample where no key is above 0, and "
            "all where they are constant",
            "not reproduced: it is a fault",
        ),
        Difference("the authors drop 0.3 at ratio 0.9, and 0.2 for ImageNet at 0.8", "drop"),
    )

    class Options(Section):
        """Options of the strata, and of the samples that are left out first."""

        baseline: ClassVar[Mapping[str, Any]] = {"strata": 50, "drop": 0.0, "drop_by": "aum"}

        strata: PositiveInt = Field(50, le=1_000_000, description="Parts of equal width of the score range.")
        drop: Share = Field(0.0, description="Share of the samples, the hardest ones, that is left out first.")
        drop_by: Literal["aum", "score"] = Field("aum", description="The measure by which samples are the hardest.")

    @property
    def _column(self) -> str:
        return str(self.options.drop_by)

    @property
    def reads(self) -> tuple[str, ...]:
        """The score `aum`, where it decides which samples are dropped."""
        return (self._column,) if self.options.drop > 0.0 and self._column != "score" else ()

    def cuts(self, ratio: float, sizes: Ints, kept: int) -> tuple[Cut, ...]:
        """Return the samples that are dropped, where there are any."""
        del ratio, kept
        if self.options.drop == 0.0:
            return ()
        candidates = int(sizes.sum())
        # As published; by the score, halves have always been rounded.
        is_published = self._column != "score"
        count = share_of(candidates, self.options.drop) if is_published else num_left_out(candidates, self.options.drop)
        return (Cut(self._column, "high", np.array([count])),)

    def draw(self, ratio: float, summary: Summary) -> StrataDraw:
        """Return the draw; its parameters are the options, and the lowest and highest score of the strata."""
        del ratio
        others = summary.beyond(0) if self.options.drop > 0.0 and summary.beyond is not None else summary
        facts = {**self.options.model_dump(), "lowest": others.lowest, "highest": others.highest}
        return StrataDraw(self.options.strata, others.lowest, others.highest, facts)
