"""The models that can be trained, by name. A builder takes classes, input channels and options, and gives a module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from dualprune.core.config import ModelConfig
from dualprune.core.registry import nearest
from dualprune.errors import ConfigError
from dualprune.training.models import MODELS

TORCHVISION = "torchvision/"


# Takes the number of classes, the number of channels, and `model.options`; returns a new model.
ModelBuilder = Callable[..., nn.Module]


def build_model(config: ModelConfig, num_classes: int, in_channels: int) -> nn.Module:
    """Return a new model with random weights (drawn from torch's global generator)."""
    if config.name.startswith(TORCHVISION):
        return _torchvision_model(config, num_classes, in_channels)
    builder = MODELS[config.name]
    try:
        return builder(num_classes, in_channels, **config.options)
    except TypeError as error:
        raise ConfigError(
            f"config.model.options: {config.options!r} does not fit model {config.name!r}: {error}"
        ) from None


@MODELS.register("small_cnn")
class SmallCNN(nn.Module):
    """Three convolutions with batch normalisation and global average pooling, for small images and quick runs."""

    def __init__(self, num_classes: int, in_channels: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_conv(in_channels, width), nn.MaxPool2d(2), *_conv(width, 2 * width), *_conv(2 * width, 4 * width)
        )
        self.classify = nn.Linear(4 * width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [b, num_classes]."""
        logits: torch.Tensor = self.classify(self.features(images).mean(dim=(2, 3)))
        return logits


@MODELS.register("resnet18")
class CifarResNet18(nn.Module):
    """ResNet-18 in its form for 32×32 images: a 3×3 stem of stride 1 and no pooling behind it."""

    def __init__(self, num_classes: int, in_channels: int, width: int = 64) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            out = width * 2**stage
            blocks += [BasicBlock(channels, out, stride=1 if stage == 0 else 2), BasicBlock(out, out, stride=1)]
            channels = out
        self.features = nn.Sequential(*_conv(in_channels, width), *blocks)
        self.classify = nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [b, num_classes]."""
        logits: torch.Tensor = self.classify(self.features(images).mean(dim=(2, 3)))
        return logits


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut, as in arXiv 1512.03385."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(in_channels, out_channels, stride),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features [b, out_channels, H/stride, W/stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


def _torchvision_model(config: ModelConfig, num_classes: int, in_channels: int) -> nn.Module:
    from torchvision import models

    name = config.name.removeprefix(TORCHVISION)
    known = models.list_models(module=models)
    if name not in known:
        raise ConfigError(f"torchvision has no classification model {name!r}{nearest(name, known)}")
    if in_channels != 3:
        raise ConfigError(
            f"config.model.name: {config.name} takes images of 3 channels, the data have {in_channels}; "
            "use small_cnn or resnet18"
        )
    model: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **config.options)
    return model
