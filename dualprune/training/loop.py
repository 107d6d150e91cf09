"""The training loop of one worker: a model, a loader and a recipe in, a trained model out. Knows no Ray."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import nn

from dualprune.core.config import TrainConfig
from dualprune.training import collectives


class Batch(Protocol):
    """One step's samples of this rank, on the device."""

    @property
    def images(self) -> torch.Tensor:
        """Float [b, C, H, W]."""

    @property
    def targets(self) -> torch.Tensor:
        """int64 [b]."""

    @property
    def positions(self) -> torch.Tensor:
        """int64 [b], -1 for padding."""

    @property
    def num_global(self) -> int:
        """Real samples of this step over all ranks."""


class Loader(Protocol):
    """Gives every rank the same number of steps an epoch, and every sample to one rank once."""

    num_steps: int

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Give this rank's steps of an epoch."""
        ...


class StepObserver(Protocol):
    """Sees each step's outputs; `EpochRecorder.record` is one."""

    def __call__(self, positions: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Take positions [b], logits [b, K] and targets [b]."""
        ...


@dataclass(frozen=True)
class EpochResult:
    """Means over the samples of an epoch, in the training pass."""

    loss: float
    accuracy: float


class Trainer:
    """A model with its optimizer and learning-rate schedule.

    The schedule's length is `total_steps`, however many of them are trained: recording stops early on the full cosine.
    """

    def __init__(self, model: nn.Module, recipe: TrainConfig, total_steps: int, device: torch.device) -> None:
        self.model = model
        self.recipe = recipe
        self.total_steps = total_steps
        self.device = device
        self.step = 0
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self._forward = torch.compile(model) if recipe.compile else model

    def train_epoch(self, loader: Loader, epoch: int, observe: StepObserver | None = None) -> EpochResult:
        """Train on one epoch of the loader, or up to `total_steps`; the means are over all ranks."""
        self.model.train()
        num_ranks = collectives.world_size() if isinstance(self.model, nn.parallel.DistributedDataParallel) else 1
        totals = torch.zeros(3, device=self.device, dtype=torch.float64)
        warmup_steps = self.recipe.warmup_epochs * loader.num_steps
        for batch in loader.epoch(epoch):
            if self.step >= self.total_steps:
                break
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.recipe, self.step, self.total_steps, warmup_steps)
            with self._autocast():
                logits = self._forward(batch.images)
            real = batch.positions >= 0
            losses = F.cross_entropy(
                logits.float(), batch.targets, reduction="none", label_smoothing=self.recipe.label_smoothing
            )
            total = (losses * real).sum()
            self.optimizer.zero_grad(set_to_none=True)
            # DDP averages over ranks: this makes it the mean over the step's samples, however they are spread.
            (total * (num_ranks / batch.num_global)).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            with torch.no_grad():
                right = ((logits.argmax(dim=1) == batch.targets) & real).sum()
                totals += torch.stack([total.detach().double(), right.double(), real.sum().double()])
                if observe is not None:
                    observe(batch.positions, logits, batch.targets)
            self.step += 1
        if num_ranks > 1:
            collectives.all_sum(totals)
        loss, right_count, count = totals.tolist()
        return EpochResult(loss=loss / max(count, 1), accuracy=right_count / max(count, 1))

    @torch.no_grad()
    def accuracy(self, batches: Iterator[Batch], shared: bool) -> float:
        """Return the share of right answers; with `shared`, over the batches of all ranks."""
        self.model.eval()
        totals = torch.zeros(2, device=self.device, dtype=torch.float64)
        for batch in batches:
            with self._autocast():
                logits = self.model(batch.images)
            real = batch.positions >= 0
            totals += torch.stack([((logits.argmax(dim=1) == batch.targets) & real).sum(), real.sum()])
        if shared:
            collectives.all_sum(totals)
        right, count = totals.tolist()
        return float(right / max(count, 1))

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        on_gpu = self.device.type == "cuda"
        if self.recipe.precision == "bf16" or (self.recipe.precision == "auto" and on_gpu):
            context: contextlib.AbstractContextManager[None] = torch.autocast(self.device.type, dtype=torch.bfloat16)
            return context
        return contextlib.nullcontext()


def learning_rate(recipe: TrainConfig, step: int, total_steps: int, warmup_steps: int) -> float:
    """Return the learning rate of a step: a linear rise over the warm-up, then the schedule over the rest."""
    if step < warmup_steps:
        return recipe.lr * (step + 1) / warmup_steps
    if recipe.schedule == "constant":
        return recipe.lr
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return recipe.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
