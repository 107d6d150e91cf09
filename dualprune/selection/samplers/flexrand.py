"""FlexRand: random samples of an easy and a hard pool of each class (arXiv 2402.05356).

With b = k / n the share of a class of n samples that is kept, and the easy pool the round(s · n) samples of the lowest
scores, e and h are the shares taken from the easy pool and from the others:

    s ≤ 1/2:  e = min(s, b/2),  h = b - e;      else:  h = min(1 - s, b/2),  e = b - h.

round(n · e) samples of the easy pool and round(n · h) of the others are drawn, halves to even; then the larger pool's
number is set so that both sum to k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import SAMPLERS, Cut, Ints, Mask, Sampler, Summary
from dualprune.selection.samplers.random import RandomDraw


@dataclass(frozen=True)
class PoolsDraw(RandomDraw):
    """Equal weights within the easy pool, cell 0, and within the others, cell 1, of each group."""

    num_cells: int = 2
    split: float = 0.5
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def cell(self, rows: Rows, inside: Sequence[Mask]) -> Ints:
        """Return 0 for the easy pool, 1 for the others."""
        [easy] = inside
        return np.where(easy, 0, 1)

    def budgets(self, sizes: Ints, k: int) -> Ints:
        """Divide `k` between the pools."""
        return pool_budgets(int(sizes[0]), int(sizes[1]), k, self.split)


def pool_budgets(easy: int, hard: int, k: int, split: float) -> Ints:
    """Return how many of `easy` and of `hard` samples are kept, int64 [2] with the sum k."""
    number = easy + hard
    if split <= 0.5:
        from_easy = min(split * number, k / 2)
        from_hard = k - from_easy
    else:
        from_hard = min((1.0 - split) * number, k / 2)
        from_easy = k - from_hard
    # Of pools of equal size the easy one counts as the larger.
    larger = 0 if easy >= hard else 1
    other = (round(from_hard), round(from_easy))[larger]
    sizes = (easy, hard)
    other = min(max(other, k - sizes[larger]), sizes[1 - larger], k)
    return np.array([k - other, other] if larger == 0 else [other, k - other])


@SAMPLERS.register("flexrand")
class FlexRand(Sampler):
    """Random samples of an easy and a hard pool of each class, in shares that follow the ratio (arXiv 2402.05356)."""

    keeps_shares: ClassVar[bool] = True
    source = "FlexRand, arXiv 2402.05356; ml-stat-Sustech/Efficient-Dataset-Pruning@6767d0e"
    cost = "a further pass over the scores"
    differences = (
        Difference(
            "the authors' rounding keeps more or fewer than the share of a class, such as 4 of 10 at 0.3",
            "not reproduced: the number kept is exact",
        ),
        Difference("the authors search the split from 0.05 to 0.95", "tune.space: select.options.flexrand.split"),
    )

    class Options(Section):
        """Options of FlexRand."""

        baseline: ClassVar[Mapping[str, Any]] = {"split": 0.5}
        split: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
            0.5, description="Share of each class, of the lowest scores, that is the easy pool."
        )

    def cuts(self, ratio: float, sizes: Ints, kept: int) -> tuple[Cut, ...]:
        """Return the easy pool of each group."""
        del ratio, kept
        # To even, as round does.
        return (Cut("score", "low", np.rint(self.options.split * sizes).astype(np.int64)),)

    def draw(self, ratio: float, summary: Summary) -> PoolsDraw:
        """Return the draw; its parameters are the options."""
        del ratio, summary
        return PoolsDraw(split=self.options.split, parameters=self.options.model_dump())
