"""Models, one file each, and their contract. Listing them needs no torch: each file imports it inside its methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from dualprune.core.plugins import options_of
from dualprune.core.registry import Plugin, Registry
from dualprune.core.section import Section
from dualprune.core.sections import ModelConfig
from dualprune.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn


class Model(Plugin, ABC):
    """An architecture that can be trained to classify, or a family of them.

    `torchvision/resnet50` names the member `resnet50` of the family `torchvision`; `member` is empty for others.
    """

    family: ClassVar[bool] = False

    def __init__(self, options: Section | None = None, member: str = "") -> None:
        super().__init__(options)
        self.member = member

    @classmethod
    def check_name(cls, name: str) -> None:
        """Raise a ConfigError where a name has a member that this model cannot have, or lacks one."""
        family, mark, member = name.partition("/")
        if bool(mark and member) != cls.family or (mark and not member):
            expected = f"name one of its members, such as {family}/resnet50" if cls.family else f"use {family!r} alone"
            raise ConfigError(f"{name!r} is not a model; {expected}")

    def check_member(self) -> None:
        """Raise a ConfigError where the family has no such member; it may import what knows."""

    @abstractmethod
    def build(self, num_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
        """Return a new module with random weights, drawn from torch's global generator.

        It takes inputs [b, *sample_shape] and returns logits [b, num_classes]. A ConfigError where it cannot.
        """

    @abstractmethod
    def features(self, module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return the input of the module's last layer for inputs [b, *sample_shape], float [b, d]."""


def need_images(name: str, sample_shape: tuple[int, ...]) -> None:
    """Raise a ConfigError where a model of images is to be built for arrays."""
    if len(sample_shape) != 3:
        raise ConfigError(
            f"config.model.name: {name} takes images, the data are arrays of {sample_shape[0]} numbers; "
            "use linear or mlp"
        )


MODELS: Registry[type[Model]] = Registry("model", "dualprune.training.models", "dualprune.models")


def make_model(config: ModelConfig) -> Model:
    """Return the model that the configuration names; a ConfigError for an unknown model or option."""
    family, _, member = config.name.partition("/")
    kind = MODELS[family]
    try:
        kind.check_name(config.name)
    except ConfigError as error:
        raise ConfigError(f"config.model.name: {error}") from None
    return kind(options_of("model", family, config.options, "model.options"), member)
