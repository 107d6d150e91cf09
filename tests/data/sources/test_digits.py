from __future__ import annotations

import numpy as np
import pyarrow as pa

from dualprune.core.sections import DataConfig
from dualprune.data.source import open_source


def test_the_digits_are_split_by_class_into_parts_that_share_nothing() -> None:
    from sklearn.datasets import load_digits

    source, original = open_source(DataConfig()), load_digits()
    assert source.classes == [str(digit) for digit in range(10)]
    ids = np.concatenate([batch.column("sample_id") for batch in source.sample_batches()])
    train, test = ([source.read(shard) for shard in source.shards(split)] for split in ("train", "test"))
    images, labels = np.concatenate([b.images for b in train]), np.concatenate([b.labels for b in train])
    assert images.shape == (source.num_samples, 1, 8, 8) == (1438, 1, 8, 8)
    assert np.array_equal(labels, original.target[ids])
    assert np.array_equal(np.round(images[:, 0] / (255 / 16)), original.images[ids])
    test_labels = np.concatenate([b.labels for b in test])
    assert len(test_labels) == 1797 - 1438
    assert np.array_equal(np.bincount(labels) + np.bincount(test_labels), np.bincount(original.target))
    assert np.array_equal(np.bincount(test_labels), np.round(0.2 * np.bincount(original.target)))


def test_the_seed_and_the_fraction_make_the_split() -> None:
    def ids(**settings: object) -> list[int]:
        return pa.Table.from_batches(open_source(DataConfig(**settings)).sample_batches())["sample_id"].to_pylist()

    assert ids() == ids()
    assert ids(seed=1) != ids()
    assert len(ids(test_fraction=0.5)) < 900
    assert ids(max_samples=100, subset="first") == ids()[:100]
    chosen = ids(max_samples=100)
    assert len(chosen) == 100
    assert set(chosen) < set(ids())
    assert chosen != ids()[:100]
    prints = [open_source(DataConfig(**values)).fingerprint() for values in ({}, {"seed": 1}, {"max_samples": 100})]
    assert len(set(prints)) == 3
