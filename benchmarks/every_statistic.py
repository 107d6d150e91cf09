"""Measures recording with every statistic against recording `target_prob` alone: the figures of docs/methods.md.

    python benchmarks/every_statistic.py --data /path/to/cifar10_train.parquet --samples 2560

Trains on the first images of a Parquet set, on this device, one epoch with either recorder in turn, so that both see
the same machine. Prints milliseconds per step, the ratio of each pair of epochs, and the bytes that an epoch takes in
the store and in the state beside a checkpoint. On a CPU, times are processor time, which other processes disturb less.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.sections import ModelConfig, TrainConfig
from dualprune.data.arrangement import Scatter
from dualprune.data.loader import Batch
from dualprune.data.plan import EpochPlan
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.statistics import STATISTICS, make_statistics
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.scores import SCORES, EpochScore
from dualprune.stages.score.running import RunningScores
from dualprune.training.loop import Trainer
from dualprune.training.models import make_model
from dualprune.training.recorder import EpochRecorder

CLASSES = 10


class Resident:
    """Images on the device, in the order of the plan."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.plan = EpochPlan(Scatter(len(images), 64, seed=0), 0, batch_size)

    def epoch(self, epoch: int, plan: EpochPlan) -> Iterator[Batch]:
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(epoch))
        for rows in order.to(self.images.device).split(self.batch_size):
            weights = torch.ones(len(rows), device=rows.device)
            yield Batch(self.images[rows], self.labels[rows], rows, weights, len(rows))


def read(place: str, count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    table = next(pq.ParquetFile(place).iter_batches(count, columns=["image", "label"]))
    pixels = [np.asarray(Image.open(io.BytesIO(image.as_py())).convert("RGB")) for image in table["image"]]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255.0
    return images.to(device), torch.tensor(table["label"].to_pylist(), device=device)


def recorder_of(names: list[str], folder: Path, labels: np.ndarray, device: torch.device) -> EpochRecorder:
    """Return a recorder of these statistics, with the running scores of every method that reads them."""
    run = RunDirectory(folder)
    index = SampleIndex.build(
        run.index,
        [pa.record_batch({"sample_id": pa.array(np.arange(len(labels))), "label": pa.array(labels)})],
        num_samples=len(labels),
        num_buckets=1,
        classes=[str(number) for number in range(CLASSES)],
        fingerprint="x",
    )
    statistics = make_statistics(names)
    stored = tuple(statistic.name for statistic in statistics if statistic.stored)
    others = [statistic.name for statistic in statistics if not statistic.stored]
    methods = [name for name in SCORES.names() if issubclass(SCORES[name], EpochScore)]
    methods = [name for name in methods if {*SCORES[name]().reads} <= {*names}]
    config = make_config({"score": {"methods": methods}})
    listeners = RunningScores.from_config(config, index, stored, others)
    return EpochRecorder(DynamicsWriter(run.dynamics, index, stored, "x"), statistics, len(labels), device, listeners)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="Parquet file with the columns image and label")
    parser.add_argument("--samples", type=int, default=2560)
    parser.add_argument("--model", default="small_cnn")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=6)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = read(asked.data, asked.samples, device)
    loader = Resident(images, labels, asked.batch_size)
    model = make_model(ModelConfig(name=asked.model)).build(CLASSES, tuple(images.shape[1:])).to(device)
    trainer = Trainer(model, TrainConfig(epochs=200), total_steps=10**9, device=device)
    with tempfile.TemporaryDirectory() as folder:
        recorders = {
            "target_prob": recorder_of(["target_prob"], Path(folder) / "one", labels.cpu().numpy(), device),
            "every statistic": recorder_of(
                ["target_prob", *(set(STATISTICS.names()) - {"target_prob"})],
                Path(folder) / "all", labels.cpu().numpy(), device,
            ),
        }  # fmt: skip
        taken: dict[str, list[float]] = {name: [] for name in recorders}
        for number in range(asked.rounds + 1):
            # Each goes first in every other round; the first round only warms up.
            for name in sorted(recorders, reverse=bool(number % 2)):
                seconds = one_epoch(trainer, loader, recorders[name], number, device)
                if number:
                    taken[name].append(seconds)
        for recorder in recorders.values():
            recorder.close()
        steps = loader.plan.num_steps
        ratios = [b / a for a, b in zip(*taken.values(), strict=True)]
        print(f"{asked.model}, {asked.samples:,} images, {steps} steps of {asked.batch_size}, {asked.rounds} pairs")
        print(f"on {device} with {torch.get_num_threads()} threads")
        for name, seconds in taken.items():
            print(f"{name:16s} {1000 * median(seconds) / steps:8.2f} ms per step, with commits")
        print(f"every statistic / target_prob: {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
        for name, place in (("target_prob", "one"), ("every statistic", "all")):
            last = Path(folder) / place / "dynamics" / f"epoch={asked.rounds:04d}"
            store = sum(file.stat().st_size for file in last.glob("bucket=*")) / asked.samples
            state = sum(file.stat().st_size for file in last.glob("state/*.npz")) / asked.samples
            print(f"{name:16s} {store:6.1f} bytes per sample in an epoch of the store, {state:6.1f} in its state")


def one_epoch(trainer: Trainer, loader: Any, recorder: EpochRecorder, epoch: int, device: torch.device) -> float:
    """Return the seconds of an epoch with everything that recording does, its commit included."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    trainer.train_epoch(loader, epoch, loader.plan, recorder.record)
    recorder.end_epoch(epoch, keep_state=recorder.needs_state)
    recorder.commit()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


if __name__ == "__main__":
    main()
