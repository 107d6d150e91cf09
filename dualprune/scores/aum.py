"""AUM, the area under the margin: samples that another class keeps winning come first (arXiv 2001.10528).

    aum(i) = -(mean over the epochs of margin[i, t]),    margin = p_y - max over c ≠ y of p_c, or the same of logits.

High means hard or mislabelled, the reverse of the published value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.means import EpochRange, MeanAccumulator, RangeScore
from dualprune.scores.score import SCORES

Space = Literal["prob", "logit"]


def aum(
    margin: Any,
    *,
    space: Space = "prob",
    first_epoch: int = 0,
    last_epoch: int | None = None,
    axes: Axes | None = None,
    missing: Missing = "raise",
) -> Any:
    """Score samples by minus their mean margin: float64 [n] for margins [n, T]; a high score means: keep first.

    `space` says what the margins are of, probabilities or logits. `first_epoch` and `last_epoch` (both count, None: the
    last) are the method's options; further arguments and errors as for `dualprune.scores.dual`.
    """
    return score_array(Aum, margin, axes, missing, space=space, first_epoch=first_epoch, last_epoch=last_epoch)


@SCORES.register("aum")
class Aum(RangeScore):
    """Samples that another class keeps winning first: minus the area under the margin (arXiv 2001.10528)."""

    signed = True
    source = (
        "AUM, arXiv 2001.10528; of probabilities as in CCS, arXiv 2210.15809, "
        "haizhongzheng/Coverage-centric-coreset-selection@b37f166"
    )
    cost = "none beyond training; while recording 8 bytes per sample"
    differences = (
        Difference("the AUM paper takes margins of logits", "space: logit"),
        Difference("CCS sums over the epochs", "not reproduced: a sum has the order of the mean, and the same strata"),
        Difference("published values are high for easy samples", "not reproduced: high means keep first here"),
        Difference(
            "the DUAL repository sets the sum to zero in every epoch, so that the last one alone counts",
            "first_epoch: T - 1",
        ),
    )

    class Options(EpochRange):
        """Options of `aum`."""

        baseline: ClassVar[Mapping[str, Any]] = {"space": "prob", "first_epoch": 0, "last_epoch": None}
        space: Space = Field("prob", description="Margins of probabilities, or of logits.")

    @property
    def reads(self) -> tuple[str, ...]:
        """The margin of probabilities or of logits."""
        return ("margin",) if self.options.space == "prob" else ("logit_margin",)

    def accumulator(self, num_samples: int) -> MeanAccumulator:
        return MeanAccumulator(num_samples, self, factor=-1.0)
