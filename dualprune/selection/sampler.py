"""The contract of samplers, and their registry: a sampler is one class in one file.

A plain sampler is a `Sampler` whose `draw` returns a `Draw` with an `order`. Seeds, hashes, noise, ties, quotas of
groups, ids that are always or never kept, and the exact number kept are handled by the engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dualprune.core.registry import Plugin, Registry
from dualprune.selection.rows import Rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
UInts = NDArray[np.uint64]
Mask = NDArray[np.bool_]
End = Literal["high", "low"]


@dataclass(frozen=True)
class Cut:
    """Exactly `count` samples at one end of a column, ties by hash; the draw decides what they are for.

    `count` is int64 [1], or [G]: the number in each group of a balance.
    """

    column: str
    end: End
    count: Ints


@dataclass(frozen=True, eq=False)
class Ranking:
    """The different scores of some samples, ascending, and the rank of each as a share, (rank - 1/2) / n in (0, 1).

    Equal scores have their mean rank.
    """

    scores: Floats
    shares: Floats

    @classmethod
    def of_all(cls, scores: Floats) -> Ranking:
        """Return the ranking of samples from their scores, float64 [n], in any order."""
        values, counts = np.unique(scores, return_counts=True)
        return cls(values, (np.cumsum(counts) - 0.5 * counts) / len(scores))

    def of(self, scores: Floats) -> Floats:
        """Return the shares float64 [m] of scores that are among those ranked; 0 for -inf, which never is."""
        places = np.minimum(np.searchsorted(self.scores, scores), len(self.scores) - 1)
        return np.where(np.isneginf(scores), 0.0, self.shares[places])


@dataclass(frozen=True)
class Summary:
    """The facts about the candidates before a draw: their number, their range of scores, and the hardest ones.

    `top_mean_prob` is the mean_prob of the `num_top` samples with the highest scores, in that order with ties by id.
    `beyond(i)` is the summary of the candidates outside cut i; it takes a pass over the scores. `ranking()` takes one,
    too, and holds all different scores in memory.
    """

    num_samples: int
    lowest: float = 0.0
    highest: float = 1.0
    top_mean_prob: tuple[float, ...] = ()
    beyond: Callable[[int], Summary] | None = None
    ranking: Callable[[], Ranking] | None = None


class Draw(ABC):
    """A sampler with all its parameters for a ratio: it orders any rows without seeing the others.

    `weighted`: `order` returns log weights, and samples are drawn without replacement with probability proportional to
    the weight; -inf comes last, by score. Otherwise the highest values of `order` are kept, ties by hash.
    `uniform`: all weights are the same, so that the inclusion probability is known exactly.
    `parameters` are JSON values that are stored with the selection.
    """

    weighted: ClassVar[bool] = False
    uniform: ClassVar[bool] = False
    num_cells: int = 1
    parameters: Mapping[str, Any] = {}

    @abstractmethod
    def order(self, rows: Rows) -> Floats:
        """Return the log weight or the key of each row, float64 [n]; it must not depend on the rows beside it."""

    def bound(self, rows: Rows, floor: float) -> Floats | None:
        """Return upper bounds of exp(order - floor), float64 [n], at a fraction of the cost of `order`; None: no bound.

        It is optional, and used for weighted draws alone. A loose bound costs time; one that is too low is wrong.
        """
        with np.errstate(over="ignore"):
            return np.full(len(rows), np.exp(-floor)) if self.uniform else None

    def cell(self, rows: Rows, inside: Sequence[Mask]) -> Ints:
        """Return each row's cell, int64 [n] in 0 … num_cells-1; -1: never kept, by default every row inside a cut.

        `inside` says for each of the sampler's cuts which rows lie in it, bool [n].
        """
        cell = np.zeros(len(rows), dtype=np.int64)
        for mask in inside:
            cell[mask] = -1
        return cell

    def budgets(self, sizes: Ints, k: int) -> Ints:
        """Return the number to keep of each cell, int64 [num_cells] with the sum `k`; `sizes` are the cells'."""
        del sizes
        return np.array([k])


@dataclass(frozen=True)
class ColumnDraw(Draw):
    """The highest values of a column first, or the lowest."""

    column: str = "score"
    end: End = "high"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def order(self, rows: Rows) -> Floats:
        """Return the column, negated for the lowest."""
        values: Floats = getattr(rows, self.column)
        return values if self.end == "high" else -values


class Sampler(Plugin, ABC):
    """One way to choose the samples to keep."""

    # Without a ratio, every sample that has a cell is kept.
    has_ratio: ClassVar[bool] = True
    # Whether each group keeps its share, by its size, also where no balance is set.
    keeps_shares: ClassVar[bool] = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns beside the score that a draw needs; `mean_prob` is one."""
        return ()

    @property
    def num_top(self) -> int:
        """The number of highest-scored samples whose mean_prob the summary must hold."""
        return 0

    @property
    def needs_groups(self) -> bool:
        """Whether its cuts are those of groups, also where no balance is set: then the groups are the classes."""
        return self.keeps_shares

    def cuts(self, ratio: float, sizes: Ints, kept: int) -> tuple[Cut, ...]:
        """Return the cuts to find before the draw, of which `kept` samples are kept (all, without a ratio).

        `sizes` int64 [G] count the candidates of each group, G = 1 where there are no groups. The cuts are found among
        all candidates, including those that `nested` excludes.
        """
        del ratio, sizes, kept
        return ()

    @abstractmethod
    def draw(self, ratio: float, summary: Summary) -> Draw:
        """Return the draw for a ratio, the share that is removed."""


SAMPLERS: Registry[type[Sampler]] = Registry("sampler", "dualprune.selection.samplers", "dualprune.samplers")
