"""ResNet-18 for images of about 32×32 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from dualprune.core.section import Section
from dualprune.training.models import MODELS, Model, need_images

if TYPE_CHECKING:
    import torch
    from torch import nn


@MODELS.register("resnet18")
class ResNet18(Model):
    """ResNet-18 for 32×32 images: a 3×3 stem of stride 1 without pooling."""

    class Options(Section):
        """Options of resnet18."""

        baseline: ClassVar[Mapping[str, Any]] = {"width": 64, "init": "default"}

        width: PositiveInt = Field(64, description="Channels of the stem; the last stage has eight times as many.")
        init: Literal["default", "he_normal"] = Field(
            "default",
            description="Initial weights of the convolutions: torch's own, or normal with variance 2 / fan-out, as in "
            "the program of DUAL's authors.",
        )

    def build(self, num_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
        from dualprune.training.models._resnet import ResNet18Module, he_normal

        need_images("resnet18", sample_shape)
        module = ResNet18Module(num_classes, sample_shape[0], self.options.width)
        if self.options.init == "he_normal":
            he_normal(module)
        return module

    def features(self, module: Any, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = module.pooled(inputs)
        return found
