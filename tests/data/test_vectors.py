"""Facts about arrays, and how the loader hands them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dualprune.core.sections import DataConfig, TrainConfig
from dualprune.data.arrangement import Scatter
from dualprune.data.facts import DataFacts
from dualprune.data.pixels import data_facts, decode_shard
from dualprune.data.plan import EpochPlan
from dualprune.data.resident import ResidentLoader, ResidentSplit
from dualprune.data.source import open_source
from dualprune.errors import DataError

CPU = torch.device("cpu")


def loaded(path: Path, values: np.ndarray, rows: list[Any] | None = None, **config: Any) -> tuple[DataFacts, Any]:
    lists = pa.array(values.tolist() if rows is None else rows, pa.list_(pa.from_numpy_dtype(values.dtype)))
    pq.write_table(pa.table({"embedding": lists, "label": np.arange(len(values)) % 2}), path, row_group_size=7)
    source = open_source(DataConfig(source="array", path=str(path), **config))
    parts, facts = zip(*[decode_shard(source, shard) for shard in source.shards("train")], strict=True)
    found = data_facts(source, list(facts))
    return found, ResidentSplit.of_shards(parts, found.shape[0], CPU)


def inputs_of(facts: DataFacts, split: ResidentSplit) -> torch.Tensor:
    # Crops and flips, which are the default, do nothing.
    loader = ResidentLoader(split, facts, TrainConfig(), CPU)
    return torch.cat([batch.inputs for batch in loader.as_is(split.positions, 8)])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_are_normalised_and_keep_their_width(tmp_path: Path, dtype: Any) -> None:
    # Offsets a thousand times the deviation, or a million times where digits suffice; and a constant.
    far = {np.float16: 100, np.float32: 1000, np.float64: 1e9}[dtype]
    values = (np.random.default_rng(0).normal(size=(40, 3)) * [1, 1, 0] + [0, far, 0.1]).astype(dtype)
    facts, split = loaded(tmp_path / "train.parquet", values)
    assert (facts.shape, split.images.dtype) == ((3,), torch.from_numpy(values).dtype)
    exact = values.astype(np.float64)
    std = exact.std(axis=0)
    np.testing.assert_allclose(facts.mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(facts.std, [*std[:2], 1.0], rtol=1e-7)
    found = inputs_of(facts, split)
    assert found.dtype == torch.float32
    expected = (exact - exact.mean(axis=0)) / [*std[:2], 1.0]
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4 if dtype == np.float32 else 1e-4)
    plain, split = loaded(tmp_path / "train.parquet", values, options={"normalize": "none"})
    assert np.array_equal(inputs_of(plain, split).numpy(), values.astype(np.float32))


def test_an_epoch_has_every_array_once_as_it_is(tmp_path: Path) -> None:
    values = np.arange(80, dtype=np.float32).reshape(40, 2)
    rows: list[Any] = values.tolist()
    rows[9] = [1.0]
    facts, split = loaded(tmp_path / "train.parquet", values, rows, on_error="skip", options={"normalize": "none"})
    assert facts.skipped_ids == (9,)
    loader = ResidentLoader(split, facts, TrainConfig(augment="crop_flip"), CPU)
    seen = {}
    for batch in loader.epoch(0, EpochPlan(Scatter(40, 8, seed=1), 0, 16)):
        for position, row in zip(batch.positions.tolist(), batch.inputs.tolist(), strict=True):
            seen[position] = row
    seen.pop(-1)
    assert seen == {n: values[n].tolist() for n in range(40) if n != 9}


def test_facts_need_arrays_that_are_alike(tmp_path: Path) -> None:
    values = np.ones((8, 2), np.float32)
    rows: list[Any] = [[np.nan, 1.0]] * 8
    with pytest.raises(DataError, match=r"no array that can be used; set data\.on_error to raise"):
        loaded(tmp_path / "train.parquet", values, rows, on_error="skip")
