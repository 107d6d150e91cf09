"""Parts that several models share."""

from __future__ import annotations

import torch
from torch import nn


def conv_norm_relu(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """Return a 3×3 convolution, batch normalisation and a ReLU."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


class PooledClassifier(nn.Module):
    """Convolutional features [b, channels, h, w], global average pooling, and a linear layer for the logits."""

    def __init__(self, features: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.classify = nn.Linear(channels, num_classes)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Return features [b, channels]."""
        pooled: torch.Tensor = self.features(images).mean(dim=(2, 3))
        return pooled

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [b, num_classes]."""
        logits: torch.Tensor = self.classify(self.pooled(images))
        return logits
