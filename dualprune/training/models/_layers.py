"""Layers that several models share."""

from __future__ import annotations

from torch import nn


def conv_norm_relu(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """Return a 3×3 convolution, batch normalisation and a ReLU."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
