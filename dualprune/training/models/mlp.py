"""A perceptron with hidden layers, for arrays such as embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt

from dualprune.core.section import Section
from dualprune.training.models import MODELS, Model

if TYPE_CHECKING:
    import torch
    from torch import nn


@MODELS.register("mlp")
class Perceptron(Model):
    """Hidden layers with layer normalisation, ReLU and dropout, for arrays, or images as arrays of pixels.

    Layer normalisation, unlike that of batches, does the same on any number of workers.
    """

    class Options(Section):
        """Options of mlp."""

        baseline: ClassVar[Mapping[str, Any]] = {"hidden": 256, "layers": 1, "dropout": 0.0}

        hidden: PositiveInt = Field(256, description="Units of each hidden layer.")
        layers: PositiveInt = Field(1, description="Hidden layers.")
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.0, description="Share of hidden units left out.")

    def build(self, num_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
        from torch import nn

        width, parts = math.prod(sample_shape), list[nn.Module]([nn.Flatten()])
        for _ in range(self.options.layers):
            parts += [nn.Linear(width, self.options.hidden), nn.LayerNorm(self.options.hidden), nn.ReLU()]
            if self.options.dropout:
                parts.append(nn.Dropout(self.options.dropout))
            width = self.options.hidden
        return nn.Sequential(*parts, nn.Linear(width, num_classes))

    def features(self, module: Any, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = module[:-1](inputs)
        return found
