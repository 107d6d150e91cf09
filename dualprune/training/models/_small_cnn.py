"""The module of the model `small_cnn`."""

from __future__ import annotations

import torch
from torch import nn

from dualprune.training.models._layers import conv_norm_relu


class SmallCNNModule(nn.Module):
    """Three convolutions with batch normalisation and global average pooling."""

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *conv_norm_relu(in_channels, width),
            nn.MaxPool2d(2),
            *conv_norm_relu(width, 2 * width),
            *conv_norm_relu(2 * width, 4 * width),
        )
        self.classify = nn.Linear(4 * width, num_classes)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Return features [b, 4 · width]."""
        pooled: torch.Tensor = self.features(images).mean(dim=(2, 3))
        return pooled

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [b, num_classes]."""
        logits: torch.Tensor = self.classify(self.pooled(images))
        return logits
