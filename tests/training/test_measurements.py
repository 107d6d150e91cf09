"""Measurements by a model at rest: against hand-worked numbers, plain loops and autograd; batches do not matter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dualprune.core.plugins import make
from dualprune.core.sections import ModelConfig
from dualprune.data.loader import Batch
from dualprune.errors import ConfigError, DataError, RunError
from dualprune.training.measurements import Measurement, Recorded, TrainedModel
from dualprune.training.measurements._models import ModelMeasurement
from dualprune.training.measurements.boundary_distance import BoundaryDistance
from dualprune.training.measurements.dlc import MaskableModel, loss_of, maskable, ranks_of
from dualprune.training.models import Model, make_model

SMALL = ModelConfig(name="small_cnn", options={"width": 2})
SHAPE, CLASSES = (1, 6, 6), 3


def measurement(name: str, **options: Any) -> Measurement:
    made: Measurement = make("measurement", name, options, f"measure.options.{name}")
    return made


def batch_of(inputs: torch.Tensor, targets: list[int]) -> Batch:
    size = len(inputs)
    return Batch(inputs, torch.tensor(targets), torch.arange(size), torch.ones(size), size)


class Plain(Model):
    """A module made elsewhere, whose features are its inputs as vectors."""

    def build(self, num_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
        raise NotImplementedError

    def features(self, module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = module[:-1](inputs) if isinstance(module, nn.Sequential) else inputs
        return found


def linear(weights: list[list[float]], bias: list[float] | None = None) -> TrainedModel:
    layer = nn.Linear(len(weights[0]), len(weights), bias=bias is not None).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return TrainedModel(Plain(), layer)


@pytest.fixture
def trained() -> TrainedModel:
    """A small network in double precision, with the statistics of batch normalisation of a few batches."""
    torch.manual_seed(1)
    plugin = make_model(SMALL)
    module = plugin.build(CLASSES, SHAPE).train()
    for _ in range(5):
        module(torch.randn(16, *SHAPE) + 1.0)
    return TrainedModel(plugin, module.double().eval())


@pytest.fixture
def samples(trained: TrainedModel) -> Batch:
    """Samples most of which the network predicts right."""
    inputs = torch.randn(12, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 1.0
    targets = trained.logits(inputs).argmax(dim=1)
    targets[:2] = (targets[:2] + 1) % CLASSES
    return batch_of(inputs, targets.tolist())


def in_batches(made: Measurement, model: TrainedModel, state: Any, batch: Batch, size: int) -> torch.Tensor:
    parts = []
    for start in range(0, len(batch.inputs), size):
        part = batch_of(batch.inputs[start : start + size], batch.targets[start : start + size].tolist())
        with torch.no_grad():
            parts.append(made.measure(model, state, part))
    return torch.cat(parts)


def test_the_last_layers_gradient_by_hand() -> None:
    # Two classes with equal logits: p - e = (-1/2, 1/2), of length sqrt(1/2); h = (3, 4), ‖h‖² = 25.
    batch = batch_of(torch.tensor([[3.0, 4.0]], dtype=torch.float64), [0])
    for bias, expected in (([0.0, 0.0], 0.5**0.5 * 26**0.5), (None, 0.5**0.5 * 5)):
        found = measurement("grand").measure(linear([[0.0, 0.0], [0.0, 0.0]], bias), None, batch)
        assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("layers", ["last", "all"])
def test_grand_is_the_norm_of_the_gradient(trained: TrainedModel, samples: Batch, layers: str) -> None:
    made = measurement("grand", layers=layers)
    found = in_batches(made, trained, None, samples, 12)
    module: Any = trained.module
    parameters = list((module.classify if layers == "last" else module).parameters())
    for row in range(12):
        loss = nn.functional.cross_entropy(module(samples.inputs[row : row + 1]), samples.targets[row : row + 1])
        gradients = torch.autograd.grad(loss, parameters)
        expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        assert found[row].item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(in_batches(made, trained, None, samples, 5), found, rtol=1e-9, atol=1e-12)


def test_gradients_of_all_layers_are_held_for_few_samples_at_a_time(
    trained: TrainedModel, samples: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = measurement("grand", layers="all")
    whole = in_batches(made, trained, None, samples, 12)
    monkeypatch.setattr("dualprune.training.measurements.grand.MAX_GRADIENT_BYTES", 1)
    torch.testing.assert_close(in_batches(made, trained, None, samples, 12), whole, rtol=1e-9, atol=1e-12)


def test_a_network_that_does_not_end_with_a_linear_layer(samples: Batch) -> None:
    flat = batch_of(samples.inputs.flatten(1), samples.targets.tolist())
    torch.manual_seed(0)
    scaled = TrainedModel(Plain(), nn.Sequential(nn.Linear(36, 3), nn.Softplus()).double())
    with pytest.raises(ConfigError, match="the logits of this model are not the result of a linear layer; set it to"):
        measurement("grand").measure(scaled, None, flat)
    assert (measurement("grand", layers="all").measure(scaled, None, flat) > 0).all()
    without = TrainedModel(Plain(), nn.Softplus())
    with pytest.raises(ConfigError, match=r"measure\.options\.grand\.layers: last"):
        measurement("grand").measure(without, None, flat)


def test_the_distance_from_a_linear_boundary_by_hand() -> None:
    # f = (x, y, 0): from (3, 1) the boundary x = y is 2 / sqrt(2) away, that of the third class 3.
    model = linear([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    batch = batch_of(torch.tensor([[3.0, 1.0], [3.0, -9.0], [3.0, 1.0]], dtype=torch.float64), [0, 0, 1])
    found = measurement("boundary_distance").measure(model, None, batch)
    # The second one is nearest to the third class; the third one is predicted wrong.
    assert found.tolist() == pytest.approx([2**0.5, 3.0, 0.0], rel=1e-12)


def test_a_linear_models_distance_is_the_formulas() -> None:
    generator = torch.Generator().manual_seed(3)
    weights, bias = torch.randn(4, 5, generator=generator), torch.randn(4, generator=generator)
    model = linear(weights.tolist(), bias.tolist())
    inputs = torch.randn(40, 5, dtype=torch.float64, generator=generator)
    logits = model.logits(inputs).detach()
    targets = logits.argmax(dim=1)
    found = measurement("boundary_distance").measure(model, None, batch_of(inputs, targets.tolist()))
    for row, y in enumerate(targets.tolist()):
        lengths = {c: (weights[c] - weights[y]).double().norm() for c in range(4) if c != y}
        expected = min(abs(logits[row, c] - logits[row, y]) / lengths[c] for c in lengths)
        assert found[row].item() == pytest.approx(expected.item(), rel=1e-6)
    # With the nearest in logits alone, it is that one's distance.
    one = measurement("boundary_distance", classes=1).measure(model, None, batch_of(inputs, targets.tolist()))
    second = logits.scatter(1, targets[:, None], -torch.inf).argmax(dim=1)
    lengths = (weights[second] - weights[targets]).double().norm(dim=1)
    gaps = (logits.gather(1, second[:, None]) - logits.gather(1, targets[:, None])).abs()[:, 0]
    assert (one[:, None] >= found[:, None] - 1e-9).all()
    first_step = measurement("boundary_distance", classes=1, iterations=1)
    found = first_step.measure(model, None, batch_of(inputs, targets.tolist()))
    torch.testing.assert_close(found, gaps / lengths, rtol=1e-6, atol=0.0)


def plain_deep_fool(model: TrainedModel, image: torch.Tensor, label: int, iterations: int, overshoot: float) -> float:
    """Return the distance of one sample, class by class and step by step."""
    moved = torch.zeros_like(image)
    for _ in range(iterations):
        x = (image + (1 + overshoot) * moved).requires_grad_()
        logits = model.logits(x[None])[0]
        if int(logits.argmax()) != label:
            break
        best, step = np.inf, None
        for other in range(len(logits)):
            if other == label:
                continue
            gap = logits[other] - logits[label]
            [slope] = torch.autograd.grad(gap, x, retain_graph=True)
            length = slope.norm().item()
            if abs(gap.item()) / length < best:
                best, step = abs(gap.item()) / length, abs(gap.item()) / length**2 * slope
        assert step is not None
        moved = moved + step
    return moved.norm().item()


@pytest.mark.parametrize("options", [{}, {"iterations": 2, "overshoot": 0.0}], ids=["default", "two steps"])
def test_deep_fool_is_the_plain_loop(trained: TrainedModel, samples: Batch, options: dict[str, Any]) -> None:
    made = measurement("boundary_distance", **options)
    found = in_batches(made, trained, None, samples, 12)
    expected = [
        plain_deep_fool(trained, image, label, options.get("iterations", 50), options.get("overshoot", 0.02))
        for image, label in zip(samples.inputs, samples.targets.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert (found[:2] == 0).all()
    assert (found[2:] > 0).all()
    for size in (1, 5):
        torch.testing.assert_close(in_batches(made, trained, None, samples, size), found, rtol=1e-9, atol=0.0)


def test_where_no_gradient_leads_to_the_boundary_it_is_infinitely_far() -> None:
    model = linear([[0.0, 0.0], [0.0, 0.0]], [1.0, 0.0])
    batch = batch_of(torch.ones(2, 2, dtype=torch.float64), [0, 1])
    assert measurement("boundary_distance").measure(model, None, batch).tolist() == [np.inf, 0.0]


def test_the_loss_of_distances_by_hand() -> None:
    # Distances 1 and 2: logits 1 and 1/2. On a centroid the logit is 1e6: the loss is 0, or 1e6 for another class.
    centroids = torch.tensor([[0.0], [3.0], [torch.nan]], dtype=torch.float64)
    found = loss_of(torch.tensor([[1.0], [1.0], [0.0], [0.0]]), centroids, torch.tensor([0, 1, 0, 1]))
    high = np.log(1 + np.exp(-0.5))
    assert found.tolist() == pytest.approx([high, high + 0.5, 0.0, 1e6 - 1 / 3], rel=1e-12)


def test_the_smallest_weights_are_masked_first_by_hand() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.5, -0.1], [0.2, 0.2]]))
        module[1].weight.copy_(torch.tensor([[-0.3, 0.05], [0.9, 0.2]]))
    weights = maskable(module)
    assert [weight is layer.weight for weight, layer in zip(weights, module, strict=False)] == [True, True]
    first, second = ranks_of(weights)
    assert first.tolist() == [[6, 1], [2, 3]]
    assert second.tolist() == [[5, 0], [7, 4]]


def plain_dlc(model: TrainedModel, batch: Batch, passes: int, share: float) -> np.ndarray:
    """Return the mean loss by torch's own pruning, sample by sample."""
    from copy import deepcopy

    from torch.nn.utils import prune

    module = deepcopy(model.module)
    layers = [(layer, "weight") for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    centroids, losses = {}, []
    for number in range(passes):
        if number:
            prune.global_unstructured(layers, prune.L1Unstructured, amount=share)
        with torch.no_grad():
            features = model.plugin.features(module, batch.inputs).numpy()
        labels = batch.targets.numpy()
        if not number:
            centroids = {label: features[labels == label].mean(axis=0) for label in set(labels.tolist())}
        for row, label in enumerate(labels.tolist()):
            logits = {c: 1 / max(np.sqrt(((features[row] - mean) ** 2).sum()), 1e-6) for c, mean in centroids.items()}
            top = max(logits.values())
            losses.append(top + np.log(sum(np.exp(value - top) for value in logits.values())) - logits[label])
    return np.reshape(losses, (passes, -1)).mean(axis=0)


def masked(model: TrainedModel) -> MaskableModel:
    weights = maskable(model.module)
    return MaskableModel(model.plugin, model.module, weights, ranks_of(weights))


@pytest.mark.parametrize(("passes", "share"), [(1, 0.02), (50, 0.02), (6, 0.3)])
def test_dlc_is_the_plain_loop(trained: TrainedModel, samples: Batch, passes: int, share: float) -> None:
    made = measurement("dlc", passes=passes, mask=share)
    model = masked(trained)
    before = [weight.detach().clone() for weight in model.weights]
    # A class of a single sample, on which its centroid lies.
    batch = batch_of(samples.inputs, [0, 1] * 5 + [0, 2])
    state = made.prepare(model, iter([batch]))
    found = in_batches(made, model, state, batch, 12)
    np.testing.assert_allclose(found.numpy(), plain_dlc(trained, batch, passes, share), rtol=1e-6, atol=1e-12)
    if passes == 1:
        assert found[11] == 0.0
    assert all(torch.equal(weight, old) for weight, old in zip(model.weights, before, strict=True))
    halves: Iterator[Batch] = iter(
        batch_of(batch.inputs[rows], batch.targets[rows].tolist()) for rows in (slice(0, 7), slice(7, 12))
    )
    torch.testing.assert_close(made.prepare(model, halves), state, rtol=1e-12, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(in_batches(made, model, state, batch, 5), found, rtol=1e-9, atol=1e-12)


def test_a_model_without_weights_to_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelMeasurement, "models", lambda *_: iter([linear([[1.0, 0.0]])]))
    with pytest.raises(ConfigError, match="the model has no weights to mask"):
        next(measurement("dlc").models(Recorded(SMALL, CLASSES, SHAPE, None)))


def test_new_models_are_the_same_every_time_and_leave_chance_alone() -> None:
    recorded = Recorded(SMALL, CLASSES, SHAPE, None)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = [model.module.state_dict() for model in measurement("grand").models(recorded) if model]
    again = [model.module.state_dict() for model in measurement("grand").models(recorded) if model]
    other = [model.module.state_dict() for model in measurement("grand", seed=1).models(recorded) if model]
    assert torch.equal(torch.get_rng_state(), before)
    key = "classify.weight"
    assert len(first) == 10
    assert all(torch.equal(a[key], b[key]) for a, b in zip(first, again, strict=True))
    different = [*first, *other]
    assert len({tuple(state[key].flatten().tolist()) for state in different}) == 20


def test_a_recorded_model_that_is_gone() -> None:
    recorded = Recorded(SMALL, CLASSES, SHAPE, None)
    with pytest.raises(RunError, match="features measures with the recorded model, and no checkpoint of it is kept"):
        next(measurement("features").models(recorded))


def test_weights_of_a_file(tmp_path: Path, trained: TrainedModel, samples: Batch) -> None:
    recorded = Recorded(SMALL, CLASSES, SHAPE, None)
    state = trained.module.state_dict()
    inputs = samples.inputs.float()
    expected = trained.module.float()(inputs)
    digests = set()
    for number, content in enumerate([state, {"model": state, "step": 3}, {"state_dict": state}]):
        file = tmp_path / f"{number}.pt"
        torch.save(content, file)
        made = measurement("log_probs", weights=str(file))
        [model] = made.models(recorded)
        assert model is not None
        assert not model.module.training
        torch.testing.assert_close(model.logits(inputs), expected)
        batch = batch_of(inputs, samples.targets.tolist())
        torch.testing.assert_close(
            made.measure(model, None, batch), expected.double().log_softmax(dim=1), rtol=1e-6, atol=1e-7
        )
        digests.add(tuple(made.own_inputs()))
    assert len(digests) == 3
    assert measurement("log_probs").own_inputs() == []
    # A model of other classes has features all the same, and of another architecture.
    wider = ModelConfig(name="small_cnn", options={"width": 3})
    torch.save(make_model(wider).build(7, SHAPE).state_dict(), tmp_path / "wider.pt")
    options = {
        "weights": str(tmp_path / "wider.pt"),
        "architecture": "small_cnn",
        "architecture_options": {"width": 3},
    }
    [model] = measurement("features", **options).models(recorded)
    assert model is not None
    assert measurement("features").measure(model, None, batch).shape == (12, 12)
    with pytest.raises(DataError, match="its model has 7 classes, the data have 3, and grand needs the logits"):
        next(measurement("grand", **options).models(recorded))
    with pytest.raises(DataError, match=r"do not fit the model small_cnn: .*size mismatch.*features\.architecture"):
        next(measurement("features", weights=options["weights"]).models(recorded))


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    recorded = Recorded(SMALL, CLASSES, SHAPE, None)
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"model": {}, "epoch": 3}, tmp_path / "empty.pt")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    for name, message in {
        "gone.pt": "there is no such file of weights",
        "text.pt": "cannot be read as weights",
        "module.pt": "cannot be read as weights",
        "empty.pt": "holds no weights by name",
        "list.pt": "holds no weights by name",
    }.items():
        with pytest.raises(DataError, match=message):
            next(measurement("features", weights=str(tmp_path / name)).models(recorded))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grand", {"weights": "w.pt", "initialisations": 2}, "2 new models and a file of weights exclude each other"),
        ("grand", {"layers": "first"}, "layers"),
        ("features", {"architecture": "small_cnn"}, "architecture: it belongs to a file of weights"),
        ("features", {"weights": "w", "architecture_options": {"width": 2}}, "they belong to architecture; set it"),
        ("features", {"weights": "w", "architecture": "small_can"}, "architecture: unknown model 'small_can'"),
        ("dlc", {"initialisations": 2}, "initialisations"),
        ("dlc", {"mask": 1.0}, "mask"),
        ("boundary_distance", {"iterations": 0}, "iterations"),
    ],
)
def test_options_that_make_no_sense(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"measure\.options\.{name}.*{message}"):
        measurement(name, **options)


def test_a_boundary_distance_does_not_change_the_model(trained: TrainedModel, samples: Batch) -> None:
    before = {name: value.clone() for name, value in trained.module.state_dict().items()}
    BoundaryDistance().measure(trained, None, samples)
    assert all(torch.equal(value, before[name]) for name, value in trained.module.state_dict().items())
    assert all(parameter.grad is None for parameter in trained.module.parameters())
