"""The highest or the lowest scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dualprune.core.section import Section
from dualprune.selection.engine.counts import num_kept
from dualprune.selection.sampler import SAMPLERS, ColumnDraw, Cut, End, Ints, Sampler, Summary


@SAMPLERS.register("top_k")
class TopK(Sampler):
    """The samples at one end of the score, or a window of ranks behind it; ties by chance."""

    class Options(Section):
        """Options: which end, and how far from it."""

        baseline: ClassVar[Mapping[str, Any]] = {"order": "hardest", "skip": 0.0}

        order: Literal["hardest", "easiest"] = Field("hardest", description="Keep the highest or the lowest scores.")
        skip: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
            0.0, description="Share of the samples at that end to skip."
        )

    @property
    def _end(self) -> End:
        return "high" if self.options.order == "hardest" else "low"

    def cuts(self, ratio: float, sizes: Ints) -> tuple[Cut, ...]:
        """Return the samples that are skipped, if any."""
        del ratio
        if self.options.skip == 0.0:
            return ()
        candidates = int(sizes.sum())
        return (Cut("score", self._end, np.array([candidates - num_kept(candidates, self.options.skip)])),)

    def draw(self, ratio: float, summary: Summary) -> ColumnDraw:
        """Return the draw; its parameters are the options."""
        del ratio, summary
        return ColumnDraw("score", self._end, self.options.model_dump())
