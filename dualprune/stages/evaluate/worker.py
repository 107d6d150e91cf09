"""A worker that trains jobs in turn, on data that it moves to its device once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from dualprune.stages.evaluate.jobs import Job, Row, TrainingContext
from dualprune.training import collectives
from dualprune.training.process import prepare_process
from dualprune.training.subset import ScratchTraining


@dataclass(frozen=True)
class Training:
    """A training that has begun, with its pruning ratio and the number of samples that it trains on."""

    scratch: ScratchTraining
    ratio: float
    kept: int


class Worker:
    """Trains jobs: as a Ray actor of a pool, inside a trial of Ray Tune, or, with `wrap`, as a rank of Ray Train."""

    def __init__(
        self,
        context: TrainingContext,
        device: torch.device | None = None,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        prepare_process(context.workers.cpus_each)
        self._data, self._validation, self._wrap = context.data, context.validation, wrap
        self._device = device or torch.device("cuda" if context.workers.use_gpu else "cpu")
        self._candidates = context.candidates
        self._train = context.data.split("train", self._device)
        on_test = self._validation is None
        self._tested = context.data.split("test", self._device) if on_test else self._train

    def begin(self, job: Job) -> Training:
        """Choose the samples of a job and return its training, before the first step."""
        positions = job.samples.positions(self._candidates)
        full_size = len(self._candidates)
        ratio = job.ratio if job.ratio is not None else 1.0 - len(positions) / full_size
        scratch = ScratchTraining(
            job.config,
            self._data,
            self._train,
            self._device,
            positions=positions if len(positions) < self._data.num_train else None,
            ratio=ratio,
            seed=job.config.train.seed + job.seed,
            budget=job.budget,
            full_size=full_size,
            ranks=(0, 1) if self._wrap is None else (collectives.rank(), collectives.world_size()),
            wrap=self._wrap,
        )
        return Training(scratch, ratio, len(positions))

    def measured(self, training: Training) -> tuple[float, float]:
        """Return the accuracy on the validation positions or the test set, and the seconds that measuring it took."""
        started = time.monotonic()
        accuracy = training.scratch.accuracy(self._tested, self._validation)
        return accuracy, time.monotonic() - started

    def run(self, job: Job) -> Row:
        """Train a job to its end and return its row."""
        training = self.begin(job)
        training.scratch.train()
        accuracy, _ = self.measured(training)
        return {
            "subset": job.subset,
            "ratio": training.ratio,
            "kept": training.kept,
            "budget": job.budget,
            "seed": job.seed,
            "draw": job.draw,
            "accuracy": accuracy,
            "seconds": training.scratch.seconds,
            "steps": training.scratch.steps,
            "visits": training.scratch.visits,
        }
