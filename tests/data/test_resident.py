"""Every usable sample goes to one rank once per epoch; a step has the same samples for any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualprune.core.sections import TrainConfig
from dualprune.data.arrangement import Scatter
from dualprune.data.augment import CropFlip
from dualprune.data.choice import Choice, Subset
from dualprune.data.facts import DataFacts
from dualprune.data.plan import EpochPlan
from dualprune.data.resident import ResidentLoader, ResidentSplit

# Not divisible by 2, 3 or the batch.
NUM, BATCH = 61, 16
CPU = torch.device("cpu")
FACTS = DataFacts(
    shape=(3, 6, 5), num_train=NUM, num_classes=3, mean=(0.0,) * 3, std=(1 / 255,) * 3, skipped_ids=("s7",)
)


def made_split() -> ResidentSplit:
    images = torch.arange(NUM, dtype=torch.uint8)[:, None, None, None].expand(NUM, 3, 6, 5).contiguous()
    # Sample 7 is one that could not be decoded.
    return ResidentSplit(images, torch.arange(NUM) % 3, np.arange(NUM) != 7)


def made_loader(split: ResidentSplit, rank: int, world_size: int, augment: str = "none") -> ResidentLoader:
    recipe = TrainConfig(augment=augment, crop_padding=1, seed=3)
    return ResidentLoader(split, FACTS, recipe, CPU, rank=rank, world_size=world_size)


def made_plan(epoch: int, choice: Choice | None = None) -> EpochPlan:
    return EpochPlan(Scatter(NUM, 8, seed=3), epoch, BATCH, choice)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("kept", [None, np.array([1, 2, 7, 30, 60])])
def test_each_sample_is_given_once_an_epoch(world_size: int, kept: np.ndarray | None) -> None:
    split = made_split()
    expected = sorted(set(range(NUM) if kept is None else kept.tolist()) - {7})
    alone = made_loader(split, 0, 1)
    loaders = [made_loader(split, rank, world_size) for rank in range(world_size)]
    orders = []
    for epoch in range(2):
        plan = made_plan(epoch, None if kept is None else Subset(kept, NUM))
        ranks = [list(loader.epoch(epoch, plan)) for loader in loaders]
        single = list(alone.epoch(epoch, plan))
        seen: list[int] = []
        for number, step in enumerate(zip(*ranks, strict=True)):
            real = [batch.positions[batch.positions >= 0].tolist() for batch in step]
            assert min(len(batch.positions) for batch in step) >= 2
            together = sorted(position for part in real for position in part)
            # A sample that cannot be decoded keeps its position, and counts.
            assert {batch.num_global for batch in step} == {plan.size(number)}
            assert plan.size(number) - len(together) in (0, 1)
            assert together == sorted(single[number].positions[single[number].positions >= 0].tolist())
            for batch in step:
                shown = batch.positions >= 0
                assert torch.equal(batch.weights, shown.float())
                assert torch.equal(batch.targets[shown], batch.positions[shown] % 3)
                # The pixels say which sample they are.
                assert torch.equal(batch.inputs[shown][:, 0, 0, 0].round().long(), batch.positions[shown])
            seen += together
        assert sorted(seen) == expected
        assert [len(batches) for batches in ranks] == [plan.num_steps] * world_size
        orders.append([batch.positions.tolist() for batch in ranks[0]])
    # With few samples, all are in one step, within which their order does not matter.
    assert kept is not None or orders[0] != orders[1]


def test_weights_come_with_their_samples() -> None:
    class Doubled(Choice):
        def weights(self, positions: np.ndarray) -> np.ndarray:
            return 1.0 + (positions % 2).astype(np.float32)

    for batch in made_loader(made_split(), 1, 2).epoch(0, made_plan(0, Doubled())):
        real = batch.positions >= 0
        assert torch.equal(batch.weights[real], 1.0 + batch.positions[real] % 2)
        assert not batch.weights[~real].any()


def test_samples_as_they_are_come_in_order() -> None:
    split = made_split()
    batches = list(made_loader(split, 0, 1, "crop_flip").as_is(np.arange(3, 40), 10))
    assert torch.cat([batch.positions for batch in batches]).tolist() == [n for n in range(3, 40) if n != 7]
    assert {len(batch.positions) for batch in batches} == {10, 6}
    for batch in batches:
        assert torch.equal(batch.inputs, split.images[batch.positions].float())
    assert not list(made_loader(split, 0, 1).as_is(np.array([7]), 10))


def test_a_sample_looks_alike_on_any_number_of_ranks() -> None:
    split = ResidentSplit(
        torch.randint(256, (NUM, 3, 6, 5), generator=torch.Generator().manual_seed(0)).byte(),
        torch.zeros(NUM, dtype=torch.int64),
        np.ones(NUM, dtype=bool),
    )

    def looks(world_size: int) -> torch.Tensor:
        shown = torch.full((NUM, 3, 6, 5), -1.0)
        for rank in range(world_size):
            for batch in made_loader(split, rank, world_size, "crop_flip").epoch(5, made_plan(5)):
                real = batch.positions >= 0
                shown[batch.positions[real]] = batch.inputs[real]
        return shown

    alone = looks(1)
    assert torch.equal(looks(2), alone)
    assert torch.equal(looks(3), alone)
    # Each image is cut out of its padded self: moved by at most one pixel, mirrored or not.
    padded = torch.nn.functional.pad(split.images.float(), (1, 1, 1, 1))
    moved = 0
    for image, whole in zip(alone, padded, strict=True):
        cuts = [whole[:, y : y + 6, x : x + 5] for y in range(3) for x in range(3)]
        assert any(torch.equal(image, cut) or torch.equal(image, cut.flip(2)) for cut in cuts)
        moved += not torch.equal(image, cuts[4])
    assert moved > NUM / 2


def test_moves_and_flips_are_uniform_and_change_with_the_epoch() -> None:
    augment = CropFlip("crop_flip", 4, seed=0)
    draws = augment.draw(np.arange(90_000), 0)
    for row in (0, 1):
        counts = np.bincount(draws[row], minlength=9)
        assert len(counts) == 9
        assert abs(counts - 10_000).max() < 400
    assert abs(draws[2].mean() - 0.5) < 0.01
    assert abs(np.corrcoef(draws)[np.triu_indices(3, 1)]).max() < 0.02
    assert (augment.draw(np.arange(90_000), 1) == draws).mean() < 0.3
    assert not CropFlip("crop", 4, seed=0).draw(np.arange(100), 0)[2].any()
