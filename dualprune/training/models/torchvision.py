"""The classification models of torchvision, by torchvision's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from dualprune.core.registry import nearest
from dualprune.core.section import Section
from dualprune.errors import ConfigError
from dualprune.training.models import MODELS, Model, need_images

if TYPE_CHECKING:
    import torch
    from torch import nn


@MODELS.register("torchvision")
class TorchvisionModel(Model):
    """A classification model of torchvision by torchvision's name, such as torchvision/resnet50."""

    family = True

    class Options(Section):
        """Keyword arguments of the model's builder in torchvision."""

        model_config = ConfigDict(extra="allow")

    def check_member(self) -> None:
        from torchvision import models

        known = models.list_models(module=models)
        if self.member not in known:
            raise ConfigError(
                f"config.model.name: torchvision has no classification model {self.member!r}"
                f"{nearest(self.member, known)}"
            )

    def build(self, num_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
        from torchvision import models

        self.check_member()
        name = self.member
        need_images(f"torchvision/{name}", sample_shape)
        if sample_shape[0] != 3:
            raise ConfigError(
                f"config.model.name: torchvision/{name} takes images of 3 channels, the data have {sample_shape[0]}; "
                "use small_cnn or resnet18"
            )
        arguments = self.options.model_extra or {}
        try:
            module: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **arguments)
        except TypeError as error:
            raise ConfigError(f"config.model.options: {arguments!r} does not fit torchvision/{name}: {error}") from None
        return module

    def features(self, module: Any, inputs: torch.Tensor) -> torch.Tensor:
        from torch import nn

        seen: list[torch.Tensor] = []
        # Nearly all architectures end with a linear layer; nothing else is common to them.
        linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise ConfigError(
                f"config.model.name: torchvision/{self.member} has no linear layer, whose input its features would be; "
                "choose another model"
            )
        hook = linear[-1].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        try:
            module(inputs)
        finally:
            hook.remove()
        return seen[-1].flatten(1)
