"""Statistics cover each sample exactly once per epoch, whatever the number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.statistics import Forward, make_statistics
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.training.recorder import EpochBuffer, EpochRecorder
from tests.training.processes import run_on_ranks

NUM_SAMPLES = 103
NUM_EPOCHS = 3
COLUMNS = ("target_prob", "loss")


def logits_of(positions: torch.Tensor, epoch: int) -> torch.Tensor:
    """Logits from which position and epoch can be read back."""
    return torch.stack(
        [positions.float() / 50 - 1, torch.full((len(positions),), float(epoch)), -positions / 70], dim=1
    )


def targets_of(positions: torch.Tensor) -> torch.Tensor:
    return positions % 3


def make_writer(folder: str, num_buckets: int) -> DynamicsWriter:
    run = RunDirectory(folder)
    if not (run.index / "_index.json").exists():
        ids = pa.array(np.arange(NUM_SAMPLES))
        SampleIndex.build(
            run.index,
            [pa.record_batch({"sample_id": ids, "label": pa.array(np.arange(NUM_SAMPLES) % 3)})],
            num_samples=NUM_SAMPLES,
            num_buckets=num_buckets,
            classes=["a", "b", "c"],
            fingerprint="x",
        )
    return DynamicsWriter(run.dynamics, SampleIndex.load(run.index), COLUMNS, "x")


def record_rank(rank: int, folder: str, world_size: int, left_out: int | None = None) -> None:
    recorder = EpochRecorder(make_writer(folder, 4), make_statistics(COLUMNS), capacity=8, device=torch.device("cpu"))
    for epoch in range(NUM_EPOCHS):
        order = torch.randperm(NUM_SAMPLES, generator=torch.Generator().manual_seed(epoch))[rank::world_size]
        if left_out is not None:
            order = order[order != left_out]
        for chunk in order.split(10):
            padded = torch.cat([chunk, chunk.new_tensor([-1])])
            shown = torch.cat([chunk, chunk.new_tensor([5])])
            recorder.record(padded, Forward(logits=logits_of(shown, epoch), targets=targets_of(shown)))
        recorder.end_epoch(epoch)
    recorder.close()


def expected() -> torch.Tensor:
    positions = torch.arange(NUM_SAMPLES)
    probs = [
        torch.softmax(logits_of(positions, e), dim=1).gather(1, targets_of(positions)[:, None])[:, 0]
        for e in range(NUM_EPOCHS)
    ]
    return torch.stack(probs, dim=1)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_sample_is_recorded_once_an_epoch(tmp_path: Path, world_size: int) -> None:
    make_writer(str(tmp_path), 4)
    if world_size == 1:
        record_rank(0, str(tmp_path), 1)
    else:
        run_on_ranks(record_rank, world_size, str(tmp_path), world_size)
    store = DynamicsStore(tmp_path)
    assert store.epochs == list(range(NUM_EPOCHS))
    assert store.columns == COLUMNS
    assert all(commit["rows"] == NUM_SAMPLES for commit in store.commits.values())
    parts = [store.read_bucket(bucket) for bucket in range(store.num_buckets)]
    recorded = np.concatenate([part["target_prob"] for part in parts])
    np.testing.assert_allclose(recorded, expected().numpy(), rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([part["loss"] for part in parts]), -expected().log().numpy(), rtol=1e-4)


def test_a_sample_that_was_not_seen_is_marked_as_missing(tmp_path: Path) -> None:
    make_writer(str(tmp_path), 4)
    record_rank(0, str(tmp_path), 1, left_out=40)
    store = DynamicsStore(tmp_path)
    recorded = np.concatenate([store.read_bucket(b)["target_prob"] for b in range(store.num_buckets)])
    assert np.isnan(recorded).all(axis=1).nonzero()[0].tolist() == [40]
    assert "valid" in store.file(0, 1).read_table().column_names
    assert "valid" not in store.file(0, 0).read_table().column_names


def test_the_last_epoch_has_no_commit_before_the_recorder_is_closed(tmp_path: Path) -> None:
    writer = make_writer(str(tmp_path), 2)
    recorder = EpochRecorder(writer, make_statistics(COLUMNS), capacity=NUM_SAMPLES, device=torch.device("cpu"))
    positions = torch.arange(NUM_SAMPLES)
    for epoch in range(2):
        recorder.record(positions, Forward(logits=logits_of(positions, epoch), targets=targets_of(positions)))
        recorder.end_epoch(epoch)
    assert DynamicsStore(tmp_path).epochs == [0]
    recorder.close()
    assert DynamicsStore(tmp_path).epochs == [0, 1]


def test_a_buffer_grows_and_drops_padding() -> None:
    buffer = EpochBuffer(1, capacity=2, device=torch.device("cpu"))
    buffer.add(torch.tensor([3, -1]), torch.tensor([[0.3, 9.0]]))
    buffer.add(torch.tensor([1, 2, 0]), torch.tensor([[0.1, 0.2, 0.0]]))
    positions, values = buffer.take()
    assert positions.tolist() == [3, 1, 2, 0]
    torch.testing.assert_close(values, torch.tensor([[0.3, 0.1, 0.2, 0.0]]))
    assert len(buffer.take()[0]) == 0
