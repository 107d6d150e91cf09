"""One linear layer, for arrays such as embeddings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dualprune.training.models import MODELS, Model

if TYPE_CHECKING:
    import torch
    from torch import nn


@MODELS.register("linear")
class Linear(Model):
    """Logistic regression: one linear layer, for arrays, or images as arrays of pixels."""

    def build(self, num_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(sample_shape), num_classes))

    def features(self, module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1)
