"""Measures the plan of an epoch and the resident loader: the figures of docs/recording.md.

    python benchmarks/loading.py
    python benchmarks/loading.py --device cuda --partitions 256

Uses synthetic images with the shape and number of CIFAR-10's and of scikit-learn's digits. Prints the microseconds per
step of the plan for the whole set and for half of it, of the loader including the plan, and of training `small_cnn` on
the batch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch

from dualprune.core.sections import ModelConfig, TrainConfig
from dualprune.data.arrangement import Scatter
from dualprune.data.choice import Subset
from dualprune.data.plan import EpochPlan
from dualprune.data.resident import DataFacts, ResidentLoader, ResidentSplit
from dualprune.training.loop import Trainer
from dualprune.training.models import make_model
from dualprune.training.process import prepare_process

SETS: dict[str, tuple[int, tuple[int, int, int], int]] = {
    "CIFAR-10, batch 128": (50_000, (3, 32, 32), 128),
    "digits, batch 64": (1_437, (1, 8, 8), 64),
}
TRAINED_STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    prepare_process(1)
    device = torch.device(asked.device)
    print(f"{'':22}{'plan':>8}{'half':>8}{'loader':>8}{'training':>10}   µs per step, fastest of {asked.rounds}")
    for name, (number, shape, batch_size) in SETS.items():
        arrangement = Scatter(number, asked.partitions, seed=0)
        plan = EpochPlan(arrangement, 0, batch_size)
        half = EpochPlan(arrangement, 0, batch_size, Subset(np.arange(0, number, 2), number))
        loader, recipe = made_loader(number, shape, device)
        model = make_model(ModelConfig(name="small_cnn")).build(10, shape).to(device)
        trainer = Trainer(model, recipe, 10**9, device)
        batches = list(islice(loader.epoch(0, plan), TRAINED_STEPS))
        figures = [
            fastest(lambda plan=plan: drain(plan.of_epoch(1).steps(range(asked.partitions))), asked, device)
            / plan.num_steps,
            fastest(lambda half=half: drain(half.of_epoch(1).steps(range(asked.partitions))), asked, device)
            / half.num_steps,
            fastest(lambda loader=loader, plan=plan: drain(loader.epoch(1, plan.of_epoch(1))), asked, device)
            / plan.num_steps,
            fastest(lambda trainer=trainer, plan=plan, b=batches: trainer.train_epoch(Fixed(b), 0, plan), asked, device)
            / len(batches),
        ]
        print(f"{name:22}{figures[0]:8.1f}{figures[1]:8.1f}{figures[2]:8.0f}{figures[3]:10.0f}")


class Fixed:
    """The same batches in every epoch."""

    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches

    def epoch(self, epoch: int, plan: EpochPlan) -> Any:
        return iter(self._batches)


def made_loader(number: int, shape: tuple[int, int, int], device: torch.device) -> tuple[ResidentLoader, TrainConfig]:
    """Return a loader of random images, and the recipe that it augments with."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (number, *shape), generator=generator, dtype=torch.uint8).to(device)
    split = ResidentSplit(images, torch.randint(10, (number,)).to(device), np.ones(number, dtype=bool))
    channels = shape[0]
    facts = DataFacts(shape, number, 10, (0.5,) * channels, (0.25,) * channels, ())
    recipe = TrainConfig(crop_padding=4 if shape[1] > 8 else 1)
    return ResidentLoader(split, facts, recipe, device), recipe


def drain(items: Any) -> None:
    for _ in items:
        pass


def fastest(work: Callable[[], Any], asked: argparse.Namespace, device: torch.device) -> float:
    """Return the microseconds of the fastest round."""
    seconds = []
    for _ in range(asked.rounds + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    # The first round compiles.
    return 1e6 * min(seconds[1:])


if __name__ == "__main__":
    main()
