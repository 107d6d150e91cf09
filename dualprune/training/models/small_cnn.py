"""A small network for small images and quick runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from dualprune.core.section import Section
from dualprune.training.models import MODELS, Model, need_images

if TYPE_CHECKING:
    import torch
    from torch import nn


@MODELS.register("small_cnn")
class SmallCNN(Model):
    """Three convolutions with batch normalisation and global average pooling, for small images and quick runs."""

    class Options(Section):
        """Options of small_cnn."""

        baseline: ClassVar[Mapping[str, Any]] = {"width": 32}

        width: PositiveInt = Field(
            32, description="Channels of the first convolution; the last has four times as many."
        )

    def build(self, num_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
        from dualprune.training.models._small_cnn import SmallCNNModule

        need_images("small_cnn", sample_shape)
        return SmallCNNModule(num_classes, sample_shape[0], self.options.width)

    def features(self, module: Any, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = module.pooled(inputs)
        return found
