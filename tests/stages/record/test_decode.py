"""Decoding on the cluster: pixels, facts, and images that cannot be decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dualprune.core.sections import DataConfig
from dualprune.data.source import open_source
from dualprune.errors import DataError
from dualprune.stages.record.decode import ResidentData, load_resident
from tests.data.sources.test_parquet import write

NUM = 61
CPU = torch.device("cpu")


def loaded(path: str, **settings: object) -> ResidentData:
    return load_resident(open_source(DataConfig(source="parquet", path=path, **settings)))


def test_a_source_is_decoded_and_measured(tmp_path: Path, ray_cluster: None) -> None:
    import pyarrow.parquet as pq

    images = pq.read_table(write(tmp_path / "train.parquet", num=NUM))["image"].to_pylist()
    path = write(tmp_path / "train.parquet", num=NUM, image=[*images[:7], b"no image", *images[8:]])
    data = loaded(path, on_error="skip")
    assert data.skipped_ids == ("s7",)
    assert (data.num_train, data.num_classes, data.shape) == (NUM, 3, (3, 6, 5))
    split = data.split("train", CPU)
    pixels = np.random.default_rng(0).integers(0, 256, (NUM, 6, 5, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    usable = np.delete(np.arange(NUM), 7)
    assert np.array_equal(split.positions, usable)
    assert np.array_equal(split.images.numpy()[usable], pixels[usable])
    np.testing.assert_allclose(data.mean, (pixels[usable] / 255).mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(data.std, (pixels[usable] / 255).std(axis=(0, 2, 3)))
    with pytest.raises(DataError, match="there is no test set, so accuracy cannot be measured"):
        data.split("test", CPU)
    with pytest.raises(DataError, match="image of sample 's7' cannot be used"):
        loaded(path)
