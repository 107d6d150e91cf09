"""Dynamic random pruning: RS2 with replacement under the name that InfoBatch's study gives it."""

from __future__ import annotations

from dualprune.core.registry import Difference
from dualprune.training.curricula import CURRICULA
from dualprune.training.curricula.rs2 import RS2


@CURRICULA.register("dynamic_random")
class DynamicRandom(RS2):
    """A new random subset in every epoch: another name of `rs2`, with the same draws."""

    source = "dynamic random, the baseline of InfoBatch, arXiv 2303.04947; InfoBatch-ImageNet@502f90b"
    differences = (
        Difference(
            "InfoBatch-ImageNet draws int(0.54·N), weights by 1/0.54, and trains on all after 0.875 of the epochs",
            "ratio: 0.46, reweight: true, delta: 0.875",
        ),
        Difference(
            "InfoBatch-ImageNet may draw a sample twice in an epoch",
            "not reproduced: an epoch visits a sample once, and the number is exact",
        ),
    )
