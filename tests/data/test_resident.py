"""Every usable sample goes to one rank once an epoch, and a step is the same samples whatever the number of ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dualprune.core.config import DataConfig
from dualprune.data.resident import ResidentData, ResidentLoader, ResidentSplit, load_resident
from dualprune.data.source import open_source
from dualprune.errors import DataError
from tests.data.sources.test_parquet import write

# Not divisible by 2, 3 or the batch.
NUM, BATCH = 61, 16
CPU = torch.device("cpu")


def made_split() -> ResidentSplit:
    images = torch.arange(NUM, dtype=torch.uint8)[:, None, None, None].expand(NUM, 3, 6, 5).contiguous()
    # Sample 7 is one that could not be decoded.
    return ResidentSplit(images, torch.arange(NUM) % 3, np.delete(np.arange(NUM), 7))


def made_loader(split: ResidentSplit, rank: int, world_size: int, **changes: object) -> ResidentLoader:
    options = {"batch_size": BATCH, "seed": 3, "augment": "none", "crop_padding": 1, "mean": (0.0,) * 3} | changes
    return ResidentLoader(split, rank=rank, world_size=world_size, std=(1 / 255,) * 3, device=CPU, **options)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("kept", [None, np.array([1, 2, 7, 30, 60])])
def test_each_sample_is_given_once_an_epoch(world_size: int, kept: np.ndarray | None) -> None:
    split = made_split()
    expected = sorted(set(range(NUM) if kept is None else kept.tolist()) - {7})
    alone = made_loader(split, 0, 1, positions=kept)
    loaders = [made_loader(split, rank, world_size, positions=kept) for rank in range(world_size)]
    orders = []
    for epoch in range(2):
        ranks = [list(loader.epoch(epoch)) for loader in loaders]
        seen: list[int] = []
        for number, step in enumerate(zip(*ranks, strict=True)):
            real = [batch.positions[batch.positions >= 0].tolist() for batch in step]
            assert len({len(batch.positions) for batch in step}) == 1
            assert min(len(batch.positions) for batch in step) >= 2
            together = sorted(position for part in real for position in part)
            assert {batch.num_global for batch in step} == {len(together)}
            [single] = [batch for n, batch in enumerate(alone.epoch(epoch)) if n == number]
            assert together == sorted(single.positions[single.positions >= 0].tolist())
            for batch in step:
                shown = batch.positions >= 0
                assert torch.equal(batch.targets[shown], batch.positions[shown] % 3)
                # The pixels say which sample they are.
                assert torch.equal(batch.images[shown][:, 0, 0, 0].round().long(), batch.positions[shown])
            seen += together
        assert sorted(seen) == expected
        assert [len(batches) for batches in ranks] == [loaders[0].num_steps] * world_size
        orders.append([batch.positions.tolist() for batch in ranks[0]])
    assert orders[0] != orders[1]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_testing_sees_each_sample_once_as_it_is(world_size: int) -> None:
    split = made_split()
    batches = [
        b
        for rank in range(world_size)
        for b in made_loader(split, rank, world_size, augment="crop_flip").eval_batches(10)
    ]
    assert sorted(torch.cat([batch.positions for batch in batches]).tolist()) == [n for n in range(NUM) if n != 7]
    for batch in batches:
        assert torch.equal(batch.images, split.images[batch.positions].float())


def test_a_sample_looks_alike_on_any_number_of_ranks() -> None:
    split = ResidentSplit(
        torch.randint(256, (NUM, 3, 6, 5), generator=torch.Generator().manual_seed(0)).byte(),
        torch.zeros(NUM, dtype=torch.int64),
        np.arange(NUM),
    )

    def looks(world_size: int) -> torch.Tensor:
        shown = torch.full((NUM, 3, 6, 5), -1.0)
        for rank in range(world_size):
            for batch in made_loader(split, rank, world_size, augment="crop_flip").epoch(5):
                real = batch.positions >= 0
                shown[batch.positions[real]] = batch.images[real]
        return shown

    alone = looks(1)
    assert torch.equal(looks(2), alone)
    assert torch.equal(looks(3), alone)
    # Moved by a pixel at most, mirrored or not: each is cut out of its padded self.
    padded = torch.nn.functional.pad(split.images.float(), (1, 1, 1, 1))
    moved = 0
    for image, whole in zip(alone, padded, strict=True):
        cuts = [whole[:, y : y + 6, x : x + 5] for y in range(3) for x in range(3)]
        assert any(torch.equal(image, cut) or torch.equal(image, cut.flip(2)) for cut in cuts)
        moved += not torch.equal(image, cuts[4])
    assert moved > NUM / 2


def loaded(path: str, **settings: object) -> ResidentData:
    return load_resident(open_source(DataConfig(source="parquet", path=path, **settings)))


def test_a_source_is_decoded_and_measured(tmp_path: Path, ray_cluster: None) -> None:
    import pyarrow.parquet as pq

    images = pq.read_table(write(tmp_path / "train.parquet", num=NUM))["image"].to_pylist()
    path = write(tmp_path / "train.parquet", num=NUM, image=[*images[:7], b"no image", *images[8:]])
    data = loaded(path, on_error="skip")
    assert data.skipped_ids == ("s7",)
    assert (data.num_train, data.num_classes, data.shape) == (NUM, 3, (3, 6, 5))
    split = ResidentSplit.from_data(data, "train", CPU)
    pixels = np.random.default_rng(0).integers(0, 256, (NUM, 6, 5, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    usable = np.delete(np.arange(NUM), 7)
    assert np.array_equal(split.usable, usable)
    assert np.array_equal(split.images.numpy()[usable], pixels[usable])
    np.testing.assert_allclose(data.mean, (pixels[usable] / 255).mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(data.std, (pixels[usable] / 255).std(axis=(0, 2, 3)))
    with pytest.raises(DataError, match="there is no test set, so accuracy cannot be measured"):
        ResidentSplit.from_data(data, "test", CPU)
    with pytest.raises(DataError, match="image of sample 's7' cannot be used"):
        loaded(path)


def test_a_subset_of_which_nothing_can_be_used() -> None:
    with pytest.raises(DataError, match="there is no sample to train on"):
        made_loader(made_split(), 0, 1, positions=np.array([7]))
