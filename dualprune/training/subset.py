"""A training from scratch on a part of the training set, epoch by epoch, and the accuracy that it comes to.

Knows no Ray Train: whoever has a device and the resident data can run one, alone or as a rank of several.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from dualprune.core.config import Config
from dualprune.data.resident import ResidentData, ResidentSplit
from dualprune.stages.record.worker import make_loader
from dualprune.training.loop import Trainer
from dualprune.training.models.builtin import build_model

TEST_BATCH = 512


def batch_size_for(config: Config, ratio: float) -> int:
    """Return the batch size of a training on the set pruned at `ratio`."""
    size = config.evaluate.batch_size
    if size == "paper":
        divisor = 4 if ratio >= 0.9 else 2 if ratio >= 0.8 else 1
        return max(1, config.train.batch_size // divisor)
    return size or config.train.batch_size


def num_epochs(config: Config) -> int:
    """Return the epochs of a training on the full set; with equal steps, a smaller set takes more."""
    return config.evaluate.epochs or config.train.epochs


class ScratchTraining:
    """One training by the recipe of `config.train` and `config.evaluate`.

    Args:
        positions: int64 [k], the samples of the training split to train on; None for all.
        full_size: samples of the full set, whose number of steps the budget "steps" gives to any subset.
        wrap: makes the model one of several ranks, such as `ray.train.torch.prepare_model`; None: this rank is alone.
    """

    def __init__(
        self,
        config: Config,
        data: ResidentData,
        split: ResidentSplit,
        device: torch.device,
        *,
        positions: np.ndarray | None,
        ratio: float,
        seed: int,
        budget: str,
        full_size: int,
        ranks: tuple[int, int] = (0, 1),
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        started = time.monotonic()
        self._config, self._data, self._device, self._ranks = config, data, device, ranks
        self._shared = wrap is not None
        batch_size = batch_size_for(config, ratio)
        self._loader = make_loader(
            config, split, data, device, *ranks, positions=positions, seed=seed, batch_size=batch_size
        )
        epochs = num_epochs(config)
        steps = epochs * (-(-full_size // batch_size) if budget == "steps" else self._loader.num_steps)
        torch.manual_seed(seed)
        model = build_model(config.model, data.num_classes, data.shape[0]).to(device)
        if device.type == "cuda":
            model = model.to(memory_format=torch.channels_last)
        self._trainer = Trainer(model if wrap is None else wrap(model), config.train, steps, device)
        self.num_steps = steps
        self.epoch = 0
        self.seconds = time.monotonic() - started

    @property
    def finished(self) -> bool:
        """Whether all steps are trained."""
        return self._trainer.step >= self.num_steps

    @property
    def progress(self) -> float:
        """The share of the steps that are trained, in [0, 1]."""
        return min(1.0, self._trainer.step / self.num_steps)

    def train_epoch(self) -> None:
        """Train one epoch of the subset, or what is left of the steps."""
        started = time.monotonic()
        self._trainer.train_epoch(self._loader, self.epoch)
        self.epoch += 1
        self.seconds += time.monotonic() - started

    def train(self) -> None:
        """Train all that is left."""
        while not self.finished:
            self.train_epoch()

    def accuracy(self, split: ResidentSplit, positions: np.ndarray | None = None) -> float:
        """Return the share of right answers on a split, or on some positions of it, over all ranks."""
        loader = make_loader(self._config, split, self._data, self._device, *self._ranks, positions=positions)
        return self._trainer.accuracy(loader.eval_batches(TEST_BATCH), shared=self._shared)
