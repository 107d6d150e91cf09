from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from dualprune.core.config import TrainConfig
from dualprune.training import checkpoint
from dualprune.training.loop import Trainer, learning_rate
from tests.training.processes import run_on_ranks

IMAGES = torch.randn(37, 1, 4, 4, generator=torch.Generator().manual_seed(0))
TARGETS = (IMAGES.mean(dim=(1, 2, 3)) > 0).long()


@dataclass
class Step:
    images: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    num_global: int


class ListLoader:
    """Steps of 10 samples over all ranks; the last has 7."""

    num_steps = 4

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank, self.world_size = rank, world_size

    def epoch(self, epoch: int) -> Iterator[Step]:
        for chunk in torch.arange(37).split(10):
            mine = chunk[self.rank :: self.world_size]
            padding = -(-len(chunk) // self.world_size) - len(mine)
            shown = torch.cat([mine, chunk[:padding]])
            positions = torch.cat([mine, torch.full((padding,), -1)])
            yield Step(IMAGES[shown], TARGETS[shown], positions, len(chunk))


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


RECIPE = TrainConfig(epochs=3, batch_size=10, lr=0.5)


def train(model: nn.Module, loader: ListLoader, epochs: int = 3) -> Trainer:
    trainer = Trainer(model, RECIPE, total_steps=3 * loader.num_steps, device=torch.device("cpu"))
    for epoch in range(epochs):
        trainer.train_epoch(loader, epoch)
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
    first = trainer.train_epoch(ListLoader(), 0)
    for epoch in range(1, 50):
        last = trainer.train_epoch(ListLoader(), epoch)
    assert last.loss < 0.5 * first.loss
    assert last.accuracy > 0.95
    assert trainer.accuracy(ListLoader().epoch(0), shared=False) == pytest.approx(last.accuracy, abs=0.06)


def test_training_stops_at_the_total_of_steps() -> None:
    trainer = Trainer(make_model(), RECIPE, total_steps=6, device=torch.device("cpu"))
    for epoch in range(3):
        trainer.train_epoch(ListLoader(), epoch)
    assert trainer.step == 6


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
    other.train_epoch(ListLoader(), 2)
    for restored, straight in zip(other.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(restored, straight, rtol=0, atol=0)


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
