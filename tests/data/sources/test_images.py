"""Images as sources read them: channels of the whole set, whatever the order of rows, and runs that keep their rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.sections import DataConfig
from dualprune.data.facts import DataFacts
from dualprune.data.pixels import data_facts, decode_shard
from dualprune.data.resident import ResidentSplit
from dualprune.data.source import Source, open_source
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import DataError
from dualprune.stages.recorded_source import recorded_source
from tests.data.images import encoded, landscape, noise, with_orientation

GRAY, RED, GREEN = noise(6, 5), np.full((6, 5, 3), (200, 10, 10), np.uint8), np.full((6, 5, 3), (10, 113, 10), np.uint8)


def write(path: Path, images: list[object], rows_each: int = 3) -> str:
    table = pa.table({"image": images, "label": [row % 2 for row in range(len(images))]})
    pq.write_table(table, path, row_group_size=rows_each)
    return str(path)


def source_of(path: str, decoding: int = 2, **values: object) -> Source:
    return open_source(DataConfig(source="parquet", path=path, options={"id_column": None}, **values), decoding)


def loaded(source: Source, split: str = "train") -> tuple[DataFacts, np.ndarray]:
    """Return the facts about a source, and a split's images as training gets them."""
    import torch

    decoded = [decode_shard(source, shard) for name in ("train", "test") for shard in source.shards(name)]
    facts = data_facts(source, [counts for _, counts in decoded])
    parts = [part for part, counts in decoded if counts["split"] == split]
    return facts, ResidentSplit.of_shards(parts, facts.shape[0], torch.device("cpu")).images.numpy()


def in_colour(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels] * 3) if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@settings(max_examples=25, deadline=None)
@given(st.permutations([0, 0, 0, 0, 1, 2]), st.integers(1, 6))
def test_a_set_with_colour_has_colour_whatever_the_order_of_rows(tmp_path_factory, order: list[int], each: int) -> None:
    chosen = [[GRAY, RED, GREEN][kind] for kind in order]
    path = write(tmp_path_factory.mktemp("set") / "train.parquet", [encoded(pixels) for pixels in chosen], each)
    facts, images = loaded(source_of(path))
    expected = np.stack([in_colour(pixels) for pixels in chosen])
    assert np.array_equal(images, expected)
    assert facts.shape == (3, 6, 5)
    np.testing.assert_allclose(facts.mean, (expected / 255).mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(facts.std, (expected / 255).std(axis=(0, 2, 3)))


def test_a_set_without_colour_has_one_channel_unless_three_are_wanted(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", [encoded(GRAY), encoded(noise(6, 5, seed=1))] * 4)
    assert loaded(source_of(path))[1].shape == (8, 1, 6, 5)
    assert np.array_equal(loaded(source_of(path, channels=3))[1][0], in_colour(GRAY))
    coloured = write(tmp_path / "colour.parquet", [encoded(GRAY), encoded(RED), encoded(GREEN)] * 2)
    facts, images = loaded(source_of(coloured, channels=1))
    assert facts.shape == (1, 6, 5)
    # Red and green differ little in brightness.
    assert images[:3, 0, 0, 0].tolist() == [GRAY[0, 0], 67, 70]
    # Sources that are gray by nature heed it, too.
    assert loaded(open_source(DataConfig(max_samples=20, channels=3)))[1].shape == (20, 3, 8, 8)


def test_gray_training_images_and_a_test_set_with_colour_are_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", [encoded(GRAY)] * 4)
    test = write(tmp_path / "test.parquet", [encoded(GRAY), encoded(RED)])
    with pytest.raises(DataError, match=r"training images are gray, but .* colour in the test set.*set data\.channels"):
        loaded(source_of(train, test_path=test))
    facts, images = loaded(source_of(train, test_path=test, channels=3), "test")
    assert facts.shape == (3, 6, 5)
    assert np.array_equal(images, np.stack([in_colour(GRAY), in_colour(RED)]))
    # A gray test set fits a training set with colour.
    assert loaded(source_of(test, test_path=train), "test")[1].shape == (4, 3, 6, 5)


def test_a_depth_of_16_bits_an_orientation_and_a_thin_image_in_a_set(tmp_path: Path) -> None:
    ramp = np.arange(64).reshape(8, 8) * 1000
    path = write(tmp_path / "deep.parquet", [encoded(ramp.astype(np.uint16))] * 4)
    assert np.array_equal(loaded(source_of(path))[1][3, 0], np.round(ramp / 65535 * 255))
    upright = landscape(16, 24)
    path = write(tmp_path / "turned.parquet", [encoded(upright), with_orientation(upright, 6)] * 2)
    assert np.array_equal(loaded(source_of(path))[1], np.stack([in_colour(upright)] * 4))
    thin = np.full((1, 60_000, 3), 9, np.uint8)
    path = write(tmp_path / "thin.parquet", [encoded(thin), encoded(RED)] * 2)
    images = loaded(source_of(path, image_size=224))[1]
    assert images.shape == (4, 3, 224, 224)
    assert (images[0] == 9).all()


def test_a_set_of_images_that_are_all_refused_says_why(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", [encoded(GRAY.astype(np.float32), "TIFF")] * 4)
    for size in (None, 4):
        with pytest.raises(DataError, match="image of sample 0 cannot be used: its pixels are 32-bit floats"):
            loaded(source_of(path, image_size=size))
    with pytest.raises(DataError, match=r"train\.parquet has no image that can be read: its pixels are 32-bit"):
        loaded(source_of(path, on_error="skip"))
    with pytest.raises(DataError, match=r"no image that can be decoded; set data\.on_error to raise"):
        loaded(source_of(path, image_size=4, on_error="skip"))


def recorded(place: Path, config: Config, settings: dict[str, object]) -> RunDirectory:
    """Return a run whose index was made with these settings beside the usual ones."""
    run = RunDirectory(place)
    source = open_source(config.data)
    with run.stage("index", {"data": config.identity("data"), "source": source.fingerprint(), **settings}) as stage:
        SampleIndex.build(
            run.index,
            source.sample_batches(),
            num_samples=source.num_samples,
            num_buckets=1,
            classes=source.classes,
            fingerprint=stage.fingerprint,
        )
    return run


def test_a_run_goes_on_with_the_rule_that_it_began_with(tmp_path: Path) -> None:
    upright = landscape(16, 24)
    path = write(tmp_path / "train.parquet", [encoded(GRAY), encoded(RED), with_orientation(upright, 6)] * 2)
    data = {"source": "parquet", "path": path, "image_size": 8, "options": {"id_column": None}}
    config = make_config({"data": data})
    before = recorded_source(recorded(tmp_path / "before", config, {}), config)
    facts, images = loaded(before)
    assert (before.decoding, facts.shape) == (1, (1, 8, 8))
    assert images[1, 0, 0, 0] == 67
    now = recorded_source(recorded(tmp_path / "now", config, {"decoding": 2}), config)
    facts, images = loaded(now)
    assert (now.decoding, facts.shape) == (2, (3, 8, 8))
    # The turned image is as wide as the upright one is high.
    assert images[2, 0, :, 0].tolist() != images[2, 0, 0, :].tolist()
    assert images[2, 0, 0, 0] < 60 < 180 < images[2, 0, 0, 7]
