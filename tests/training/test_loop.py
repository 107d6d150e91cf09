from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from dualprune.core.sections import TrainConfig
from dualprune.data.arrangement import Scatter
from dualprune.data.choice import Choice
from dualprune.data.loader import Batch
from dualprune.data.plan import EpochPlan
from dualprune.training import checkpoint, collectives
from dualprune.training.loop import Trainer, learning_rate
from tests.training.processes import run_on_ranks

IMAGES = torch.randn(37, 1, 4, 4, generator=torch.Generator().manual_seed(0))
TARGETS = (IMAGES.mean(dim=(1, 2, 3)) > 0).long()


class ListLoader:
    """Steps of 10 samples over all ranks; the last has 7."""

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank, self.world_size = rank, world_size

    def epoch(self, epoch: int, plan: EpochPlan) -> Iterator[Batch]:
        for chunk in torch.arange(37).split(10):
            mine = chunk[self.rank :: self.world_size]
            padding = -(-len(chunk) // self.world_size) - len(mine)
            shown = torch.cat([mine, chunk[:padding]])
            positions = torch.cat([mine, torch.full((padding,), -1)])
            weights = (positions >= 0).float()
            yield Batch(IMAGES[shown], TARGETS[shown], positions, weights, len(chunk))


PLAN = EpochPlan(Scatter(37, 1, seed=0), 0, batch_size=10)


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


RECIPE = TrainConfig(epochs=3, batch_size=10, lr=0.5)


def train(model: nn.Module, loader: ListLoader, epochs: int = 3) -> Trainer:
    trainer = Trainer(model, RECIPE, total_steps=3 * PLAN.num_steps, device=torch.device("cpu"))
    for epoch in range(epochs):
        trainer.train_epoch(loader, epoch, PLAN)
    return trainer


def train_rank(rank: int, world_size: int) -> None:
    model = nn.parallel.DistributedDataParallel(make_model())
    train(model, ListLoader(rank, world_size))
    alone = make_model()
    train(alone, ListLoader())
    for shared, single in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(shared, single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("world_size", [2, 3])
def test_any_number_of_workers_trains_the_same_model(world_size: int) -> None:
    run_on_ranks(train_rank, world_size, world_size)


def test_training_learns_and_reports_means_over_samples() -> None:
    trainer = Trainer(make_model(), RECIPE, total_steps=400, device=torch.device("cpu"))
    first = trainer.train_epoch(ListLoader(), 0, PLAN)
    for epoch in range(1, 50):
        last = trainer.train_epoch(ListLoader(), epoch, PLAN)
    assert last.loss < 0.5 * first.loss
    assert last.accuracy > 0.95
    assert trainer.accuracy(ListLoader().epoch(0, PLAN), shared=False) == pytest.approx(last.accuracy, abs=0.06)


def test_training_stops_at_the_total_of_steps() -> None:
    trainer = Trainer(make_model(), RECIPE, total_steps=6, device=torch.device("cpu"))
    for epoch in range(3):
        trainer.train_epoch(ListLoader(), epoch, PLAN)
    assert trainer.step == 6


class WeightedLoader(ListLoader):
    """Leaves out the odd samples by weights of 0, or shows the even ones alone with the same sizes of steps."""

    def __init__(self, shown: bool) -> None:
        super().__init__()
        self.shown = shown

    def epoch(self, epoch: int, plan: EpochPlan) -> Iterator[Batch]:
        for batch in super().epoch(epoch, plan):
            weights = 2.0 * (batch.positions % 2 == 0)
            rows = slice(None) if self.shown else weights > 0
            yield Batch(batch.inputs[rows], batch.targets[rows], batch.positions[rows], weights[rows], batch.num_global)


def test_a_weight_multiplies_its_samples_loss() -> None:
    models = [make_model(), make_model()]
    for model, shown in zip(models, (True, False), strict=True):
        Trainer(model, RECIPE, 12, torch.device("cpu")).train_epoch(WeightedLoader(shown), 0, PLAN)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)
    plain = make_model()
    Trainer(plain, RECIPE, 12, torch.device("cpu")).train_epoch(ListLoader(), 0, PLAN)
    assert not torch.allclose(next(plain.parameters()), next(models[0].parameters()))


class Half(Choice):
    """The even samples, at half the learning rate."""

    lr_factor = 0.5

    def weights(self, positions: np.ndarray) -> np.ndarray:
        return (positions % 2 == 0).astype(np.float32)


def test_a_choice_takes_a_whole_epoch_of_the_schedule_and_scales_its_rates() -> None:
    half = EpochPlan(Scatter(37, 1, seed=0), 0, 10, Half())
    assert (half.num_steps, PLAN.num_steps) == (2, 4)
    trainer = Trainer(make_model(), RECIPE, 12, torch.device("cpu"), epoch_steps=4)
    rates = []

    class TwoSteps(ListLoader):
        def epoch(self, epoch: int, plan: EpochPlan) -> Iterator[Batch]:
            for batch in list(super().epoch(epoch, plan))[: plan.num_steps]:
                yield batch
                rates.append(trainer.optimizer.param_groups[0]["lr"])

    trainer.train_epoch(TwoSteps(), 0, half)
    assert trainer.step == 4
    trainer.train_epoch(TwoSteps(), 1, PLAN)
    assert trainer.step == 8
    expected = [0.5 * learning_rate(RECIPE, step, 12, 0) for step in (0, 2)]
    assert rates == expected + [learning_rate(RECIPE, step, 12, 0) for step in (4, 5, 6, 7)]


def normed_rank(rank: int, world_size: int) -> None:
    torch.manual_seed(rank)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2)))
    trainer = Trainer(model, RECIPE, 12, torch.device("cpu"))
    trainer.train_epoch(ListLoader(rank, world_size), 0, PLAN)
    # Ranks may have different numbers of batches, and all test rank 0's model.
    batches = list(ListLoader().epoch(0, PLAN))
    mine = batches[:1] if rank == 0 else batches[1:]
    found = trainer.accuracy(iter(mine), shared=True)
    alone = collectives.from_rank_zero(trainer.accuracy(iter(batches), shared=False))
    assert found == pytest.approx(alone)


def test_ranks_share_out_a_test_whatever_each_has() -> None:
    run_on_ranks(normed_rank, 2, 2)


def test_the_cosine_runs_over_the_full_schedule() -> None:
    recipe = TrainConfig(epochs=200, lr=0.1)
    assert learning_rate(recipe, 0, 1000, 0) == 0.1
    assert learning_rate(recipe, 500, 1000, 0) == pytest.approx(0.05)
    assert learning_rate(recipe, 150, 1000, 0) == pytest.approx(0.05 * (1 + math.cos(math.pi * 0.15)))
    assert learning_rate(recipe, 999, 1000, 0) < 1e-6 * 5
    assert learning_rate(TrainConfig(schedule="constant", lr=0.3), 700, 1000, 0) == 0.3


def test_the_warmup_rises_linearly() -> None:
    recipe = TrainConfig(lr=0.1)
    assert [learning_rate(recipe, step, 100, 4) for step in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert learning_rate(recipe, 4, 100, 4) == pytest.approx(0.1)


def test_a_restored_trainer_goes_on_as_if_it_had_not_stopped(tmp_path) -> None:
    from dualprune.core.storage import Location

    whole = train(make_model(), ListLoader(), epochs=3)
    half = train(make_model(), ListLoader(), epochs=2)
    place = Location.of(tmp_path) / checkpoint.checkpoint_name(1)
    with checkpoint.written(half, 1) as folder:
        for file in folder.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(99)
    other = Trainer(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), RECIPE, 12, torch.device("cpu"))
    found = checkpoint.newest_whole(Location.of(tmp_path), {0, 1})
    assert found == (1, place)
    checkpoint.restore(other, place)
    other.train_epoch(ListLoader(), 2, PLAN)
    for restored, straight in zip(other.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(restored, straight, rtol=0, atol=0)


def test_a_checkpoint_tells_which_version_made_it(tmp_path) -> None:
    from dualprune.core.storage import Location

    assert checkpoint.newest_version(Location.of(tmp_path)) is None
    trainer = train(make_model(), ListLoader(), epochs=1)
    for epoch in (0, 1):
        with checkpoint.written(trainer, epoch) as folder:
            (Location.of(tmp_path) / checkpoint.checkpoint_name(epoch) / checkpoint.RECORD).write_bytes(
                (folder / checkpoint.RECORD).read_bytes()
            )
    assert checkpoint.newest_version(Location.of(tmp_path)) == (1, checkpoint.VERSION)
    older = Location.of(tmp_path) / "epoch=0002.0d80013c" / checkpoint.RECORD
    older.write_json({"epoch": 2, "bytes": 3, "sha256": "x"})
    assert checkpoint.newest_version(Location.of(tmp_path)) == (2, 1)


def test_a_damaged_checkpoint_is_passed_over(tmp_path) -> None:
    from dualprune.core.storage import Location

    trainer = train(make_model(), ListLoader(), epochs=1)
    places = {}
    for epoch in (0, 1):
        places[epoch] = Location.of(tmp_path) / checkpoint.checkpoint_name(epoch)
        with checkpoint.written(trainer, epoch) as folder:
            for file in folder.iterdir():
                (places[epoch] / file.name).write_bytes(file.read_bytes())
    state = places[1] / checkpoint.STATE
    state.write_bytes(state.read_bytes()[:-10])
    assert checkpoint.newest_whole(Location.of(tmp_path), {0, 1}) == (0, places[0])
    (places[0] / checkpoint.RECORD).delete()
    assert checkpoint.newest_whole(Location.of(tmp_path), {0, 1}) is None
