"""The module of the model `small_cnn`."""

from __future__ import annotations

from torch import nn

from dualprune.training.models._layers import PooledClassifier, conv_norm_relu


class SmallCNNModule(PooledClassifier):
    """Three convolutions with batch normalisation and global average pooling."""

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        features = nn.Sequential(
            *conv_norm_relu(in_channels, width),
            nn.MaxPool2d(2),
            *conv_norm_relu(width, 2 * width),
            *conv_norm_relu(2 * width, 4 * width),
        )
        super().__init__(features, 4 * width, num_classes)
