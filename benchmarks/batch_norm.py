"""Measures how the number of workers changes the ranking by DUAL, through batch normalisation: docs/recording.md.

    python benchmarks/batch_norm.py --workers 2 --epochs 15

Trains `small_cnn` on the digits in one process, in several that normalise their own shares of a batch, and in several
with `train.sync_batch_norm`; prints the rank correlation of DUAL with the first, and that of another seed.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.data.arrangement import Scatter
from dualprune.data.facts import DataFacts
from dualprune.data.plan import EpochPlan
from dualprune.data.resident import ResidentLoader, ResidentSplit
from dualprune.dynamics.statistics import Forward
from dualprune.scores import dual
from dualprune.selection.stability import rank_correlation
from dualprune.training import collectives
from dualprune.training.loop import Trainer
from dualprune.training.network import build_network

CPU = torch.device("cpu")
WINDOW = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--width", type=int, default=8)
    arguments = parser.parse_args()

    def scores(workers: int, sync: bool, seed: int = 0) -> NDArray[np.float64]:
        train = {"epochs": 40, "batch_size": 64, "lr": 0.05, "crop_padding": 1, "augment": "crop"}
        made = {
            "model": {"name": "small_cnn", "options": {"width": arguments.width}},
            "train": train | {"sync_batch_norm": sync, "seed": seed},
            "record": {"epochs": arguments.epochs},
            "score": {"options": {"dual": {"window": WINDOW}}},
        }
        return dual(recorded(make_config(made), workers), WINDOW)

    alone = scores(1, sync=False)
    print(f"rank correlation of DUAL with one worker, {arguments.epochs} epochs of the digits")
    print(
        f"{arguments.workers} workers, each its own   {rank_correlation(alone, scores(arguments.workers, False)):.4f}"
    )
    print(f"{arguments.workers} workers, synchronised   {rank_correlation(alone, scores(arguments.workers, True)):.4f}")
    print(f"another seed              {rank_correlation(alone, scores(1, False, seed=1)):.4f}")


def recorded(config: Config, workers: int) -> NDArray[np.float32]:
    """Train on this many workers and return `target_prob`, float32 [N, epochs]."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "target_prob.npy"
        mp.spawn(train, args=(workers, address, config, str(file)), nprocs=workers)
        found: NDArray[np.float32] = np.load(file)
    return found


def train(rank: int, workers: int, address: str, config: Config, file: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=workers)
    digits: Any = load_digits()
    images = torch.from_numpy((digits.images * 255 / 16).astype(np.uint8))[:, None]
    num = len(images)
    split = ResidentSplit(images, torch.from_numpy(digits.target.astype(np.int64)), np.ones(num, dtype=bool))
    facts = DataFacts(shape=(1, 8, 8), num_train=num, num_classes=10, mean=(0.3,), std=(0.38,), skipped_ids=())
    loader = ResidentLoader(split, facts, config.train, CPU, rank=rank, world_size=workers)
    model = build_network(config, facts, CPU, seed=config.train.seed, wrap=nn.parallel.DistributedDataParallel)
    whole = EpochPlan(Scatter(num, config.scaling.partitions, config.train.seed), 0, config.train.batch_size, None)
    trainer = Trainer(model, config.train, config.train.epochs * whole.num_steps, CPU, epoch_steps=whole.num_steps)
    probs = torch.zeros(config.record.epochs, num)
    for epoch in range(config.record.epochs):

        def observe(positions: torch.Tensor, forward: Forward, row: torch.Tensor = probs[epoch]) -> None:
            real = positions >= 0
            row[positions[real]] = forward.target_prob[real]

        trainer.train_epoch(loader, epoch, whole.of_epoch(epoch), observe)
    collectives.all_sum(probs)
    if rank == 0:
        np.save(file, probs.T.contiguous().numpy())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
