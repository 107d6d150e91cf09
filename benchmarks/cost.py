"""Measures the cost of recording on this device and derives that of ImageNet: the cost sheet of docs/kubernetes.md.

    python benchmarks/cost.py --model torchvision/resnet34 --image-size 64 --batch-size 256

Trains on synthetic images on the device, alternating with and without the recorder, so that both see the same machine.
Prints samples per second of one device (medians over the rounds), the ratio of the times, and device hours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from statistics import median
from typing import Any

import torch

from dualprune.core.sections import ModelConfig, TrainConfig
from dualprune.data.arrangement import Scatter
from dualprune.data.loader import Batch
from dualprune.data.plan import EpochPlan
from dualprune.dynamics.statistics import STATISTICS, Forward
from dualprune.training.loop import Trainer
from dualprune.training.models import make_model
from dualprune.training.recorder import EpochBuffer

IMAGENET = 1_281_167
EPOCHS, RECORDED = 90, 60


class Steps:
    """The same batch in every step of a plan."""

    def __init__(self, batch: Batch, num_steps: int) -> None:
        self.batch = batch
        self.plan = EpochPlan(Scatter(batch.num_global * num_steps, 64, seed=0), 0, batch.num_global)

    def epoch(self, epoch: int, plan: EpochPlan) -> Any:
        return (self.batch for _ in range(plan.num_steps))


def made_batch(size: int, side: int, device: torch.device) -> Batch:
    """Return synthetic images on the device."""
    return Batch(
        inputs=torch.randn(size, 3, side, side, device=device),
        targets=torch.randint(0, 1000, (size,), device=device),
        positions=torch.arange(size, device=device),
        weights=torch.ones(size, device=device),
        num_global=size,
    )


def seconds(trainer: Trainer, steps: Steps, observe: Any, device: torch.device) -> float:
    """Return the seconds of one epoch of `steps`, including the device's work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    trainer.train_epoch(steps, 0, steps.plan, observe)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="torchvision/resnet34")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20, help="steps per round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = make_model(ModelConfig(name=asked.model)).build(1000, (3, asked.image_size, asked.image_size)).to(device)
    steps = Steps(made_batch(asked.batch_size, asked.image_size, device), asked.steps)
    trainer = Trainer(model, TrainConfig(epochs=EPOCHS), total_steps=10**9, device=device)
    buffer = EpochBuffer(1, asked.batch_size * asked.steps, device)

    target_prob = STATISTICS["target_prob"]()

    def record(positions: torch.Tensor, forward: Forward) -> None:
        buffer.add(positions, target_prob.compute(forward)[None])

    seconds(trainer, Steps(steps.batch, 2), None, device)
    plain, recording = [], []
    for _ in range(asked.rounds):
        plain.append(seconds(trainer, steps, None, device))
        recording.append(seconds(trainer, steps, record, device))
        buffer.take()
    samples = asked.batch_size * asked.steps
    rate = samples / median(recording)
    print(
        json.dumps(
            {
                "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU",
                "threads": torch.get_num_threads() if device.type == "cpu" else None,
                "cpus": os.cpu_count(),
                "model": asked.model,
                "image_size": asked.image_size,
                "batch_size": asked.batch_size,
                "samples_per_s": round(rate, 1),
                "samples_per_s_without_recorder": round(samples / median(plain), 1),
                "seconds_with_over_without": round(median(recording) / median(plain), 4),
                "imagenet_device_hours_recording": round(RECORDED * IMAGENET / rate / 3600, 1),
                "imagenet_device_hours_full_training": round(EPOCHS * IMAGENET / rate / 3600, 1),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
