"""The changes of images are those of torchvision, drawn by seed, epoch and position alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference

from dualprune.core.sections import TrainConfig
from dualprune.data.augment import RATIO, Augment, ColorJitter, ResizedCrop
from dualprune.data.facts import DataFacts
from dualprune.data.resident import ResidentLoader, ResidentSplit
from dualprune.errors import ConfigError
from tests.data.test_resident import CPU, FACTS, NUM, made_plan

SIZE = (24, 20)


def images(count: int, channels: int = 3) -> torch.Tensor:
    return torch.randint(256, (count, channels, *SIZE), generator=torch.Generator().manual_seed(0)).byte()


def test_a_resized_crop_is_torchvisions() -> None:
    crop = ResizedCrop(SIZE, [0.08, 1.0], seed=0)
    drawn = crop.draw(np.arange(50), 0)
    shown = images(50)
    found = crop.apply(shown, torch.from_numpy(drawn))
    for image, result, (top, left, height, width, flip) in zip(shown, found, drawn.T.tolist(), strict=True):
        expected = reference.resized_crop(image.float(), top, left, height, width, list(SIZE), antialias=True)
        torch.testing.assert_close(result, expected.flip(2) if flip else expected, rtol=0, atol=2e-2)
    assert 0 < drawn[4].sum() < 50


def test_crops_have_the_area_and_the_ratio_that_were_asked_for() -> None:
    crop = ResizedCrop((224, 224), [0.25, 0.5], seed=0)
    top, left, height, width, flip = crop.draw(np.arange(20_000), 3)
    share = height * width / 224**2
    # Heights and widths are whole numbers.
    assert 0.245 < share.min() < 0.26
    assert 0.49 < share.max() < 0.505
    assert share.mean() == pytest.approx(0.375, abs=0.003)
    assert np.log(width / height).mean() == pytest.approx(0.0, abs=0.005)
    assert RATIO[0] * 0.98 < (width / height).min() < RATIO[0] * 1.02
    assert top.min() == left.min() == 0
    assert (top + height).max() == (left + width).max() == 224
    assert (top / (224 - height)).mean() == pytest.approx(0.5, abs=0.01)
    assert flip.mean() == pytest.approx(0.5, abs=0.01)
    assert not np.array_equal(top, crop.draw(np.arange(20_000), 4)[0])


@pytest.mark.parametrize(
    ("size", "expected"), [((30, 90), (0, 25, 30, 40)), ((90, 30), (25, 0, 40, 30)), ((30, 36), (0, 0, 30, 36))]
)
def test_a_crop_that_never_fits_is_the_centre(size: tuple[int, int], expected: tuple[int, ...]) -> None:
    crop = ResizedCrop(size, [0.999, 1.0], seed=0)
    drawn = crop.draw(np.arange(200), 0)
    in_centre = (drawn[:4] == np.array(expected)[:, None]).all(axis=0)
    # Of a set of long images, no share of 99.9 % is within the limits of the ratio.
    assert in_centre.all() if size != (30, 36) else in_centre.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_as_torchvision_changes_them(channels: int) -> None:
    jitter = ColorJitter(0.4, seed=0)
    drawn = jitter.draw(np.arange(30), 0)
    shown = images(30, channels)
    found = jitter.apply(shown, torch.from_numpy(drawn))
    factors = 0.6 + 0.8 * drawn / 2**24
    assert factors.min() < 0.7 < 1.3 < factors.max()
    for image, result, (brightness, contrast, saturation) in zip(shown, found, factors.T.tolist(), strict=True):
        expected = reference.adjust_brightness(image.float() / 255, brightness)
        expected = reference.adjust_contrast(expected, contrast)
        expected = reference.adjust_saturation(expected, saturation)
        torch.testing.assert_close(result / 255, expected, rtol=0, atol=1e-5)


def loader(recipe: TrainConfig, rank: int = 0, world_size: int = 1, facts: DataFacts = FACTS) -> ResidentLoader:
    split = ResidentSplit(
        torch.randint(256, (NUM, *facts.shape), generator=torch.Generator().manual_seed(0)).byte(),
        torch.zeros(NUM, dtype=torch.int64),
        np.ones(NUM, dtype=bool),
    )
    return ResidentLoader(split, facts, recipe, CPU, rank=rank, world_size=world_size)


def looks(recipe: TrainConfig, world_size: int, epoch: int) -> torch.Tensor:
    shown = torch.full((NUM, 3, 6, 5), -1.0)
    for rank in range(world_size):
        for batch in loader(recipe, rank, world_size).epoch(epoch, made_plan(epoch)):
            real = batch.positions >= 0
            shown[batch.positions[real]] = batch.inputs[real]
    return shown


@pytest.mark.parametrize(
    "recipe",
    [
        {"augment": "random_resized_crop"},
        {"augment": "none", "color_jitter": 0.3},
        {"augment": "random_resized_crop", "color_jitter": 0.3},
    ],
)
def test_seed_epoch_and_position_alone_say_how_a_sample_looks(recipe: dict) -> None:
    made = TrainConfig(**recipe, seed=3)
    alone = looks(made, 1, epoch=2)
    for world_size in (2, 3):
        torch.testing.assert_close(looks(made, world_size, epoch=2), alone, rtol=0, atol=1e-4)
    assert not torch.allclose(looks(made, 1, epoch=4), alone, atol=1.0)
    assert not torch.allclose(looks(TrainConfig(**recipe, seed=4), 1, epoch=2), alone, atol=1.0)
    plain = looks(TrainConfig(augment="none"), 1, epoch=2)
    assert ((alone - plain).abs().amax(dim=(1, 2, 3)) > 1).float().mean() > 0.9


def test_colours_and_crops_share_no_noise() -> None:
    recipe = TrainConfig(augment="crop_flip", crop_padding=4, color_jitter=0.5)
    draws = Augment(recipe, (3, 32, 32), seed=0).draw(np.arange(20_000), 0)
    assert draws.shape == (6, 20_000)
    assert abs(np.corrcoef(draws)[np.triu_indices(6, 1)]).max() < 0.03


def test_samples_that_are_tested_stay_as_they_are() -> None:
    recipe = TrainConfig(augment="random_resized_crop", color_jitter=0.5)
    assert torch.equal(
        next(loader(recipe).as_is(np.arange(20), 20)).inputs,
        next(loader(TrainConfig(augment="none")).as_is(np.arange(20), 20)).inputs,
    )


def test_normalisation_is_measured_or_fixed() -> None:
    facts = DataFacts(shape=(3, 6, 5), num_train=NUM, num_classes=3, mean=(0.5,) * 3, std=(0.25,) * 3, skipped_ids=())
    pixels = next(loader(TrainConfig(), facts=FACTS).as_is(np.arange(9), 9)).inputs / 255
    measured = next(loader(TrainConfig(), facts=facts).as_is(np.arange(9), 9)).inputs
    torch.testing.assert_close(measured, (pixels - 0.5) / 0.25)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    fixed = next(loader(TrainConfig(mean=mean, std=std), facts=facts).as_is(np.arange(9), 9)).inputs
    torch.testing.assert_close(fixed, reference.normalize(pixels, mean, std), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match=r"config\.train\.std: \[0\.5\] has length 1, but the images have 3 channels"):
        loader(TrainConfig(std=[0.5]), facts=facts)
