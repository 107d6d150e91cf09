from __future__ import annotations

import pytest
import torch

from dualprune.core.config import ModelConfig
from dualprune.errors import ConfigError
from dualprune.training.models.builtin import build_model


@pytest.mark.parametrize(
    ("name", "options", "channels", "side"),
    [
        ("small_cnn", {"width": 8}, 1, 8),
        ("resnet18", {"width": 8}, 3, 32),
        ("resnet18", {"width": 8}, 1, 8),
        ("torchvision/mobilenet_v3_small", {}, 3, 64),
    ],
)
def test_models_give_a_logit_a_class(name: str, options: dict, channels: int, side: int) -> None:
    model = build_model(ModelConfig(name=name, options=options), num_classes=7, in_channels=channels)
    assert model(torch.randn(2, channels, side, side)).shape == (2, 7)


def test_cifar_resnet18_has_the_papers_size() -> None:
    model = build_model(ModelConfig(name="resnet18"), num_classes=10, in_channels=3)
    assert sum(p.numel() for p in model.parameters()) == 11_173_962


@pytest.mark.parametrize(
    ("config", "channels", "message"),
    [
        ({"name": "resnet81"}, 3, "unknown model 'resnet81'; there are: resnet18, small_cnn; did you mean 'resnet18'"),
        ({"name": "torchvision/resnt50"}, 3, "torchvision has no classification model 'resnt50'; did you mean 'resnet"),
        ({"name": "torchvision/resnet18"}, 1, "takes images of 3 channels, the data have 1"),
        ({"name": "small_cnn", "options": {"depth": 3}}, 1, r"model\.options: {'depth': 3} does not fit"),
    ],
)
def test_bad_models_are_named(config: dict, channels: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(ModelConfig(**config), num_classes=2, in_channels=channels)
