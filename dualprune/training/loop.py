"""The training loop of one worker: it trains a model with a loader and a recipe. Knows no Ray."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import nn

from dualprune.core.sections import TrainConfig
from dualprune.data.loader import Batch, Loader
from dualprune.data.plan import EpochPlan
from dualprune.dynamics.statistics import Forward
from dualprune.training import collectives
from dualprune.training.optimizer import make_optimizer


class StepObserver(Protocol):
    """Sees each step's outputs; `EpochRecorder.record` is one."""

    def __call__(self, positions: torch.Tensor, forward: Forward) -> None:
        """Take the positions [b] and outputs of b samples."""
        ...


@dataclass(frozen=True)
class EpochResult:
    """Means over the samples of an epoch in the training pass, not weighted; the numbers of samples and of steps."""

    loss: float
    accuracy: float
    num_samples: int
    num_steps: int


class Trainer:
    """A model with its optimizer and learning-rate schedule.

    The schedule is `total_steps` long even if fewer are trained: recording stops early on the full cosine.

    Args:
        model: takes inputs and returns logits; alone, or inside DistributedDataParallel.
        recipe: of the optimizer and the schedule.
        total_steps: length of the schedule.
        device: where the model and the batches are.
        warmup_steps: steps at the beginning over which the learning rate rises.
        epoch_steps: steps that an epoch takes on the schedule; None: as many as its plan has. An epoch whose plan
        leaves samples out advances by its full part of the schedule in fewer steps.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: TrainConfig,
        total_steps: int,
        device: torch.device,
        *,
        warmup_steps: int = 0,
        epoch_steps: int | None = None,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.total_steps, self.warmup_steps, self.epoch_steps = total_steps, warmup_steps, epoch_steps
        self.device = device
        # The place on the schedule.
        self.step = 0
        self.optimizer = make_optimizer(model, recipe, device)
        self._forward = torch.compile(model) if recipe.compile else model

    def train_epoch(
        self, loader: Loader, epoch: int, plan: EpochPlan, observe: StepObserver | None = None
    ) -> EpochResult:
        """Train on one epoch of the loader, or up to `total_steps`; the means are over all ranks."""
        self.model.train()
        num_ranks = collectives.world_size() if isinstance(self.model, nn.parallel.DistributedDataParallel) else 1
        totals = torch.zeros(3, device=self.device, dtype=torch.float64)
        first, epoch_steps = self.step, self.epoch_steps or plan.num_steps
        num_steps = 0
        for number, batch in enumerate(loader.epoch(epoch, plan)):
            step = first + number * epoch_steps / plan.num_steps
            if step >= self.total_steps:
                break
            rate = learning_rate(self.recipe, step, self.total_steps, self.warmup_steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * plan.lr_factor
            self.optimizer.zero_grad(set_to_none=True)
            # DDP averages over ranks; this factor makes it the mean over the step's samples, however ranks divide them.
            logits, losses = self._backward(batch, num_ranks / batch.num_global)
            self.optimizer.step()
            with torch.no_grad():
                real = batch.positions >= 0
                right = ((logits.argmax(dim=1) == batch.targets) & real).sum()
                totals += torch.stack([(losses * real).sum().double(), right.double(), real.sum().double()])
                if observe is not None:
                    observe(batch.positions, Forward(logits=logits, targets=batch.targets))
            self.step = first + (number + 1) * epoch_steps // plan.num_steps
            num_steps = number + 1
        if num_ranks > 1:
            collectives.all_sum(totals)
        loss, right_count, count = totals.tolist()
        seen = max(count, 1)
        return EpochResult(loss / seen, right_count / seen, num_samples=int(count), num_steps=num_steps)

    def _backward(self, batch: Batch, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the gradients of the weighted losses times `factor`; return logits [b, K] and losses [b].

        A rank computes its share of the batch in `recipe.accumulate` parts, with at least two samples in each, which
        batch normalisation needs.
        """
        parts = max(1, min(self.recipe.accumulate, len(batch.targets) // 2))
        columns = (batch.inputs, batch.targets, batch.weights)
        logits: list[torch.Tensor] = []
        losses: list[torch.Tensor] = []
        for part in zip(*(column.tensor_split(parts) for column in columns), strict=True):
            inputs, targets, weights = part
            # Ranks exchange gradients once per step.
            with self._exchange(last=len(losses) == parts - 1):
                with self._autocast():
                    found = self._forward(inputs)
                smoothing = self.recipe.label_smoothing
                each = F.cross_entropy(found.float(), targets, reduction="none", label_smoothing=smoothing)
                ((each * weights).sum() * factor).backward()
            logits.append(found.detach())
            losses.append(each.detach())
        return (logits[0], losses[0]) if parts == 1 else (torch.cat(logits), torch.cat(losses))

    def _exchange(self, last: bool) -> contextlib.AbstractContextManager[None]:
        if last or not isinstance(self.model, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        without: contextlib.AbstractContextManager[None] = self.model.no_sync()
        return without

    @torch.no_grad()
    def forward(self, batches: Iterable[Batch], observe: StepObserver) -> None:
        """Forward each batch in evaluation mode and pass the outputs to `observe`, without training.

        Every rank calls it, with any number of batches.
        """
        # Not through DDP, which would wait for the other ranks at every batch.
        model = bare(self.model)
        if model is not self.model:
            collectives.share_buffers(model)
        model.eval()
        for batch in batches:
            with self._autocast():
                logits = model(batch.inputs)
            observe(batch.positions, Forward(logits=logits, targets=batch.targets))

    def accuracy(self, batches: Iterable[Batch], shared: bool) -> float:
        """Return the share of right predictions; with `shared`, over the batches of all ranks."""
        totals = torch.zeros(2, device=self.device, dtype=torch.float64)

        def count(positions: torch.Tensor, forward: Forward) -> None:
            real = positions >= 0
            right = (forward.logits.argmax(dim=1) == forward.targets) & real
            totals.add_(torch.stack([right.sum(), real.sum()]))

        self.forward(batches, count)
        if shared:
            collectives.all_sum(totals)
        right, seen = totals.tolist()
        return float(right / max(seen, 1))

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        on_gpu = self.device.type == "cuda"
        if self.recipe.precision == "bf16" or (self.recipe.precision == "auto" and on_gpu):
            context: contextlib.AbstractContextManager[None] = torch.autocast(self.device.type, dtype=torch.bfloat16)
            return context
        return contextlib.nullcontext()


def bare(model: nn.Module) -> nn.Module:
    """Return the model inside DistributedDataParallel, or the model itself."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def learning_rate(recipe: TrainConfig, step: float, total_steps: int, warmup_steps: int) -> float:
    """Return the learning rate of a step: a linear rise over the warm-up, then the schedule over the rest."""
    if step < warmup_steps:
        return recipe.lr * (step + 1) / warmup_steps
    if recipe.schedule == "constant":
        return recipe.lr
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))
