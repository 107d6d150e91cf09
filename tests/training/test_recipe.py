"""The parts of a recipe do what torch's own do, and the same on any number of workers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import nn

from dualprune.core.config_file import make_config
from dualprune.core.sections import ModelConfig, TrainConfig
from dualprune.data.facts import DataFacts
from dualprune.dynamics.statistics import Forward, make_statistics
from dualprune.errors import ConfigError
from dualprune.training import collectives
from dualprune.training.loop import Trainer, bare
from dualprune.training.models import make_model
from dualprune.training.network import build_network
from dualprune.training.sync_norm import SyncedNorm, with_synced_norm
from tests.training.processes import run_on_ranks
from tests.training.test_loop import IMAGES, PLAN, TARGETS, ListLoader
from tests.training.test_loop import make_model as tiny

CPU = torch.device("cpu")


def trained(recipe: TrainConfig, model: nn.Module, loader: ListLoader | None = None, epochs: int = 3) -> list[float]:
    """Train, and return the learning rate of each step."""
    trainer = Trainer(
        model, recipe, recipe.epochs * PLAN.num_steps, CPU, warmup_steps=recipe.warmup_epochs * PLAN.num_steps
    )
    rates: list[float] = []

    def observe(positions: torch.Tensor, forward: Forward) -> None:
        rates.append(trainer.optimizer.param_groups[0]["lr"])

    for epoch in range(epochs):
        trainer.train_epoch(loader or ListLoader(), epoch, PLAN, observe)
    return rates


def assert_same(one: nn.Module, other: nn.Module, tolerance: float = 1e-6) -> None:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    for (name, mine), (other_name, theirs) in pairs:
        assert name == other_name
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance, msg=lambda text: f"{name}: {text}")  # noqa: B023


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_recipe_is_torchs_own_loop(name: str, smoothing: float) -> None:
    recipe = TrainConfig(
        epochs=3,
        lr=0.02,
        optimizer=name,
        betas=[0.8, 0.95],
        weight_decay=0.1,
        label_smoothing=smoothing,
        schedule="constant",
    )
    ours, theirs = tiny(), tiny()
    trained(recipe, ours)
    if name == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            theirs.parameters(), lr=0.02, betas=(0.8, 0.95), weight_decay=0.1
        )
    else:
        optimizer = torch.optim.SGD(theirs.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1)
    for _ in range(3):
        for rows in torch.arange(37).split(10):
            optimizer.zero_grad()
            F.cross_entropy(theirs(IMAGES[rows]), TARGETS[rows], label_smoothing=smoothing).backward()
            optimizer.step()
    assert_same(ours, theirs)


def test_label_smoothing_changes_the_training_and_no_statistic() -> None:
    columns = ("loss", "target_prob")
    found = {}
    for smoothing in (0.0, 0.3):
        values: list[torch.Tensor] = []

        def observe(positions: torch.Tensor, forward: Forward, values: list[torch.Tensor] = values) -> None:
            values.append(torch.stack([statistic.compute(forward) for statistic in make_statistics(columns)]))

        # The rate is so small that the weights stay.
        recipe = TrainConfig(lr=1e-30, weight_decay=0.0, label_smoothing=smoothing)
        result = Trainer(tiny(), recipe, 4, CPU).train_epoch(ListLoader(), 0, PLAN, observe)
        found[smoothing] = torch.cat(values, dim=1), result.loss
    plain = F.cross_entropy(tiny()(IMAGES), TARGETS, reduction="none")
    for recorded, _ in found.values():
        torch.testing.assert_close(recorded, torch.stack([plain, torch.exp(-plain)]))
    assert found[0.0][1] == pytest.approx(plain.mean().item())
    smooth = F.cross_entropy(tiny()(IMAGES), TARGETS, label_smoothing=0.3)
    assert found[0.3][1] == pytest.approx(smooth.item())


def test_the_rate_of_each_step_with_warm_up_and_cosine() -> None:
    rates = trained(TrainConfig(epochs=3, lr=0.8, min_lr=0.1, warmup_epochs=1), tiny())
    cosine = [0.1 + 0.35 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, *cosine])
    assert cosine[4] == pytest.approx(0.45)


@pytest.mark.parametrize("parts", [2, 3, 100])
def test_accumulated_steps_are_whole_steps(parts: int) -> None:
    whole, divided = tiny(), tiny()
    assert trained(TrainConfig(epochs=3, lr=0.5), whole) == trained(
        TrainConfig(epochs=3, lr=0.5, accumulate=parts), divided
    )
    assert_same(whole, divided)


def test_a_part_has_at_least_two_samples_and_outputs_keep_their_order() -> None:
    sizes: list[int] = []
    seen: list[torch.Tensor] = []
    model = tiny()
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))

    def observe(positions: torch.Tensor, forward: Forward) -> None:
        torch.testing.assert_close(forward.logits, before(IMAGES[positions]))
        seen.append(positions)

    before = tiny()
    recipe = TrainConfig(lr=1e-30, weight_decay=0.0, accumulate=4)
    Trainer(model, recipe, 4, CPU).train_epoch(ListLoader(), 0, PLAN, observe)
    assert sizes == [3, 3, 2, 2] * 3 + [3, 2, 2]
    assert [len(positions) for positions in seen] == [10, 10, 10, 7]


def check_accumulation(rank: int, world_size: int) -> None:
    model = nn.parallel.DistributedDataParallel(tiny())
    trained(TrainConfig(epochs=3, lr=0.5, accumulate=3), model, ListLoader(rank, world_size))
    alone = tiny()
    trained(TrainConfig(epochs=3, lr=0.5), alone)
    assert_same(bare(model), alone, 1e-5)


FACTS = DataFacts(shape=(1, 4, 4), num_train=37, num_classes=2, mean=(0.0,), std=(1.0,), skipped_ids=())


class EvenLoader(ListLoader):
    """Steps of 12 samples, of which every rank has as many as the others: none is filled up."""

    def epoch(self, epoch, plan):  # type: ignore[no-untyped-def]
        from dualprune.data.loader import Batch

        for chunk in torch.arange(36).split(12):
            mine = chunk[self.rank :: self.world_size]
            yield Batch(IMAGES[mine], TARGETS[mine], mine, torch.ones(len(mine)), len(chunk))


def check_synced_norm(rank: int, world_size: int) -> None:
    def run(sync: bool) -> tuple[nn.Module, torch.Tensor]:
        config = make_config(
            {
                "model": {"name": "small_cnn", "options": {"width": 4}},
                "train": {"epochs": 3, "lr": 0.05, "sync_batch_norm": sync},
                "record": {"epochs": 2},
                "score": {"options": {"dual": {"window": 2}}},
            }
        )
        shared = build_network(config, FACTS, CPU, seed=5, wrap=nn.parallel.DistributedDataParallel)
        assert any(isinstance(layer, SyncedNorm) for layer in shared.modules()) == sync
        probs = recorded(shared, config.train, rank, world_size)
        # One that trains alone, as `evaluate.parallel: runs` does, is left alone, and waits for nobody.
        alone = build_network(config, FACTS, CPU, seed=5)
        assert not any(isinstance(layer, SyncedNorm) for layer in alone.modules())
        single = recorded(alone, config.train, 0, 1)
        if sync:
            assert_same(bare(shared), alone, 1e-4)
        return shared, (probs - single).abs().max()

    _, far = run(sync=False)
    _, near = run(sync=True)
    assert near < 1e-4
    assert far > 0.01


def recorded(model: nn.Module, recipe: TrainConfig, rank: int, world_size: int) -> torch.Tensor:
    """Return `target_prob` of each epoch and sample over the ranks that train `model`, [3, 36]."""
    trainer = Trainer(model, recipe, 9, CPU)
    found = torch.zeros(3, 36)
    for epoch in range(3):

        def observe(positions: torch.Tensor, forward: Forward, row: torch.Tensor = found[epoch]) -> None:
            row[positions] = forward.target_prob

        trainer.train_epoch(EvenLoader(rank, world_size), epoch, PLAN, observe)
    return collectives.all_sum(found) if world_size > 1 else found


def check_rank(rank: int, world_size: int) -> None:
    check_accumulation(rank, world_size)
    check_synced_norm(rank, world_size)


def test_accumulation_and_synchronised_normalisation_on_two_workers_are_one_workers() -> None:
    run_on_ranks(check_rank, 2, 2)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_alone_it_is_torchs_batch_normalisation(momentum: float | None) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=momentum), nn.Flatten(), nn.BatchNorm1d(12))
    other = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=momentum), nn.Flatten(), nn.BatchNorm1d(12))
    other.load_state_dict(plain.state_dict())
    synced = with_synced_norm(other, CPU)
    for rows in torch.arange(36).split(12):
        for model in (plain, synced):
            model(IMAGES[rows]).square().mul(torch.arange(12)).sum().backward()
    for mine, theirs in zip(synced.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-3)
    assert_same(synced, plain, 1e-5)
    assert_same(synced.eval(), plain.eval(), 1e-5)
    torch.testing.assert_close(synced(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-4)


def test_he_normal_weights_have_variance_two_over_fan_out() -> None:
    torch.manual_seed(0)
    module = make_model(ModelConfig(name="resnet18", options={"width": 32, "init": "he_normal"})).build(10, (3, 32, 32))
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 20
    for layer in convolutions:
        fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.06)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(bool((layer.weight == 1).all() and (layer.bias == 0).all()) for layer in norms)


def test_bf16_trains_in_float32_weights_and_records_finite_values() -> None:
    values: list[torch.Tensor] = []
    recipe = TrainConfig(lr=0.1, precision="bf16")
    trainer = Trainer(tiny(), recipe, 12, CPU)
    for epoch in range(3):
        trainer.train_epoch(ListLoader(), epoch, PLAN, lambda _, forward: values.append(forward.target_prob))
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    assert {value.dtype for value in values} == {torch.float32}
    assert np.isfinite(torch.cat(values).numpy()).all()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"momentum": 0}, r"config\.train\.nesterov: true, but momentum is 0; set momentum above 0"),
        ({"crop_scale": [0.9, 0.1]}, r"config\.train\.crop_scale: \[0\.9, 0\.1\] is not in order"),
        ({"crop_scale": [0.0, 0.1]}, r"config\.train\.crop_scale\.0: 0\.0 should be greater than 0"),
        ({"betas": [0.9]}, r"config\.train\.betas: \[0\.9\] has length 1; expected at least 2"),
        ({"betas": [0.9, 0.9, 0.9]}, r"config\.train\.betas: .* has length 3; expected at most 2"),
        ({"accumulate": 2, "sync_batch_norm": True}, r"config\.train\.accumulate: 2, but sync_batch_norm"),
        ({"accumulate": 0}, r"config\.train\.accumulate: 0 should be greater than 0"),
        ({"optimizer": "lamb"}, r"config\.train\.optimizer: 'lamb' is not one of 'sgd' or 'adamw'"),
        ({"std": []}, r"config\.train\.std: \[\] is empty"),
        ({"color_jitter": 1.0}, r"config\.train\.color_jitter: 1\.0 should be less than 1"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(recipe: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config({"train": recipe})
