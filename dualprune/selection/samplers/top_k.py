"""The highest or the lowest scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from dualprune.core.section import Section
from dualprune.selection.engine.counts import num_left_out, share_of
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import SAMPLERS, ColumnDraw, Cut, Draw, End, Ints, Mask, Sampler, Summary

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


@dataclass(frozen=True)
class FloorDraw(ColumnDraw):
    """The first samples of each group in cell 0, which is kept whole, and the best of the others in cell 1."""

    num_cells: int = 2

    def cell(self, rows: Rows, inside: Sequence[Mask]) -> Ints:
        """Return 0 for the first samples of each group, 1 for the others."""
        [first] = inside
        return np.where(first, 0, 1)

    def budgets(self, sizes: Ints, k: int) -> Ints:
        """Keep cell 0 whole."""
        first = min(int(sizes[0]), k)
        return np.array([first, k - first])


@SAMPLERS.register("top_k")
class TopK(Sampler):
    """The samples at one end of the score, or a window of ranks behind it; ties by chance."""

    class Options(Section):
        """Options: which end, how far from it, and how much of each group in any case."""

        baseline: ClassVar[Mapping[str, Any]] = {"order": "hardest", "skip": 0.0, "floor": 0.0}

        order: Literal["hardest", "easiest"] = Field("hardest", description="Keep the highest or the lowest scores.")
        skip: Share = Field(0.0, description="Share of the samples at that end to skip.")
        floor: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
            0.0,
            description="Share of the kept samples that is divided equally among the classes first; the rest is kept "
            "from all.",
        )

        @model_validator(mode="after")
        def _one_at_most(self) -> Any:
            if self.skip > 0.0 and self.floor > 0.0:
                raise ValueError("skip, floor: both are set; a floor keeps the very samples that skip leaves out")
            return self

    @property
    def needs_groups(self) -> bool:
        """With a floor."""
        return bool(self.options.floor > 0.0)

    @property
    def _end(self) -> End:
        return "high" if self.options.order == "hardest" else "low"

    def cuts(self, ratio: float, sizes: Ints, kept: int) -> tuple[Cut, ...]:
        """Return the samples that are skipped, or the first of each group, if any."""
        del ratio
        if self.options.floor > 0.0:
            return (Cut("score", self._end, np.full(len(sizes), share_of(kept, self.options.floor) // len(sizes))),)
        if self.options.skip == 0.0:
            return ()
        return (Cut("score", self._end, np.array([num_left_out(int(sizes.sum()), self.options.skip)])),)

    def draw(self, ratio: float, summary: Summary) -> Draw:
        """Return the draw; its parameters are the options."""
        del ratio, summary
        kind = FloorDraw if self.options.floor > 0.0 else ColumnDraw
        return kind("score", self._end, self.options.model_dump())
