"""The module of the model `resnet18`."""

from __future__ import annotations

import torch
from torch import nn

from dualprune.training.models._layers import PooledClassifier, conv_norm_relu


class ResNet18Module(PooledClassifier):
    """Four stages of two basic blocks behind a 3×3 stem, with global average pooling."""

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            out = width * 2**stage
            blocks += [BasicBlock(channels, out, stride=1 if stage == 0 else 2), BasicBlock(out, out, stride=1)]
            channels = out
        features = nn.Sequential(*conv_norm_relu(in_channels, width), *blocks)
        super().__init__(features, channels, num_classes)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut, as in arXiv 1512.03385."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(in_channels, out_channels, stride),
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


def he_normal(module: nn.Module) -> None:
    """Draw the weights of every convolution anew, normal with variance 2 / fan-out (arXiv 1502.01852)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
