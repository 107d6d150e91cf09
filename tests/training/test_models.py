from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch

from dualprune.core.sections import ModelConfig
from dualprune.errors import ConfigError
from dualprune.training.models import MODELS, make_model


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
    model = make_model(ModelConfig(name=name, options=options))
    module = model.build(7, (channels, side, side)).eval()
    images = torch.randn(2, channels, side, side)
    logits = module(images)
    assert logits.shape == (2, 7)
    features = model.features(module, images)
    # The last layer makes the logits of them.
    last = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
    torch.testing.assert_close(last(features), logits)


@pytest.mark.parametrize(
    ("name", "options"), [("linear", {}), ("mlp", {}), ("mlp", {"hidden": 5, "layers": 3, "dropout": 0.5})]
)
@pytest.mark.parametrize("shape", [(12,), (3, 2, 2)])
def test_models_of_arrays_take_images_too(name: str, options: dict, shape: tuple[int, ...]) -> None:
    model = make_model(ModelConfig(name=name, options=options))
    module = model.build(7, shape).eval()
    inputs = torch.randn(4, *shape)
    logits, features = module(inputs), model.features(module, inputs)
    assert (logits.shape, features.shape) == ((4, 7), (4, {"linear": 12}.get(name, options.get("hidden", 256))))
    last = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    torch.testing.assert_close(last[-1](features), logits)
    assert len(last) == 1 + (name == "mlp") * options.get("layers", 1)
    # A sample's output does not depend on the others of its batch.
    torch.testing.assert_close(module(inputs[:1]), logits[:1])


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "torchvision/resnet18"])
def test_models_of_images_refuse_arrays(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"model\.name: {name} takes images, .* arrays of 12 numbers; use linear or mlp"
    ):
        make_model(ModelConfig(name=name)).build(2, (12,))


def test_cifar_resnet18_has_the_papers_size() -> None:
    model = make_model(ModelConfig(name="resnet18")).build(10, (3, 32, 32))
    assert sum(p.numel() for p in model.parameters()) == 11_173_962


@pytest.mark.parametrize(
    ("config", "channels", "message"),
    [
        (
            {"name": "resnet81"},
            3,
            "unknown model 'resnet81'; there are: linear, mlp, resnet18, small_cnn, torchvision; did you mean 'resnet",
        ),
        ({"name": "torchvision/resnt50"}, 3, "torchvision has no classification model 'resnt50'; did you mean 'resnet"),
        ({"name": "torchvision/resnet18"}, 1, "takes images of 3 channels, the data have 1"),
        ({"name": "small_cnn", "options": {"depth": 3}}, 1, r"config\.model\.options\.depth"),
    ],
)
def test_bad_models_are_named(config: dict, channels: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_model(ModelConfig(**config)).build(2, (channels, 32, 32))


@pytest.mark.parametrize(
    ("name", "options", "shape", "digest"),
    [
        ("small_cnn", {"width": 8}, (1, 8, 8), "dd1e3d8e039b6d7c"),
        ("resnet18", {"width": 8}, (3, 32, 32), "3f48df2616bb21df"),
    ],
)
def test_a_seed_draws_the_weights_that_it_always_drew(name: str, options: dict, shape: tuple, digest: str) -> None:
    # Runs that were recorded by earlier versions resume.
    torch.manual_seed(5)
    state = make_model(ModelConfig(name=name, options=options)).build(7, shape).state_dict()
    content = b"".join(key.encode() + value.numpy().tobytes() for key, value in state.items())
    assert hashlib.sha256(content).hexdigest()[:16] == digest


def test_listing_models_needs_no_torch() -> None:
    code = (
        "import sys; from dualprune.training.models import MODELS; print(MODELS.names()); "
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(MODELS.names())


def test_a_model_of_torchvision_without_a_linear_layer_has_no_features() -> None:
    plugin = make_model(ModelConfig(name="torchvision/squeezenet1_1"))
    module = plugin.build(3, (3, 32, 32))
    with pytest.raises(ConfigError, match="torchvision/squeezenet1_1 has no linear layer, whose input its features"):
        plugin.features(module, torch.zeros(1, 3, 32, 32))
