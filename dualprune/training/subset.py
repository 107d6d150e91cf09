"""A training from scratch on a part of the training set, epoch by epoch, and the accuracy that it reaches.

Knows no Ray: it runs wherever there are a device and the resident data, alone or as one of several ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from dualprune.core.config import Config
from dualprune.data.arrangement import Scatter
from dualprune.data.choice import Subset
from dualprune.data.facts import DataFacts
from dualprune.data.resident import ResidentLoader, ResidentSplit
from dualprune.errors import DataError
from dualprune.training.curricula import Facts
from dualprune.training.loop import Trainer
from dualprune.training.network import build_network
from dualprune.training.plans import Plans, make_curriculum

TEST_BATCH = 512


def batch_size_for(config: Config, ratio: float) -> int:
    """Return the batch size of a training on the set that is pruned at `ratio`."""
    size = config.evaluate.batch_size
    if size == "paper":
        divisor = 4 if ratio >= 0.9 else 2 if ratio >= 0.8 else 1
        return max(1, config.train.batch_size // divisor)
    return size or config.train.batch_size


def num_epochs(config: Config) -> int:
    """Return the epochs of a training on the full set; with equal samples or steps, a smaller set takes more."""
    return config.evaluate.epochs or config.train.epochs


def num_steps(config: Config, budget: str, size: int, full_size: int, ratio: float) -> int:
    """Return the steps of a training on `size` of `full_size` samples, pruned at `ratio`.

    epochs: as many passes over the subset as the full set takes over itself. samples: at least as many samples, in the
    fewest steps. steps: `evaluate.steps`, or as many as the full set takes, whose batch may be larger.
    """
    epochs, batch_size = num_epochs(config), batch_size_for(config, ratio)
    if budget == "steps":
        return config.evaluate.steps or epochs * -(-full_size // batch_size_for(config, 0.0))
    # The last step of each pass may be short.
    passes, rest = divmod(epochs * full_size, size) if budget == "samples" else (epochs, 0)
    return passes * -(-size // batch_size) + -(-rest // batch_size)


class ScratchTraining:
    """One training by the recipe of `config.train` and `config.evaluate`.

    Args:
        config: of the run.
        facts: of the data set.
        split: the training split, on the device.
        device: where to train.
        positions: int64 [k], the samples of the training split to train on; None for all.
        ratio: the pruning ratio, on which the batch size may depend.
        seed: of weights, batches and augmentation.
        budget: what the training has in common with the full set's, see `num_steps`.
        full_size: samples of the full set.
        ranks: this rank, and how many there are.
        wrap: makes the model one of several ranks, such as `ray.train.torch.prepare_model`; None: this rank is alone.
    """

    def __init__(
        self,
        config: Config,
        facts: DataFacts,
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
        self._config, self._facts, self._device = config, facts, device
        (self._rank, self._num_ranks), self._shared = ranks, wrap is not None
        if positions is not None and not split.usable[positions].any():
            raise DataError(
                "there is no sample to train on: none of the subset's images can be decoded; repair the images"
            )
        batch_size = batch_size_for(config, ratio)
        choice = None if positions is None else Subset(positions, facts.num_train)
        arrangement = Scatter(facts.num_train, config.scaling.partitions, seed)
        epochs = num_epochs(config)
        labels = split.labels.cpu().numpy()
        trained = facts.num_train if choice is None else len(choice.positions)
        known = Facts(
            num_samples=trained,
            labels=labels if choice is None else labels[choice.positions],
            num_classes=facts.num_classes,
            epochs=epochs,
            batch_size=batch_size,
            bucket_rows=trained,
            seed=seed,
        )
        curriculum = make_curriculum(config.train.curriculum, known, config.record.max_state_bytes)
        self._plans = Plans(arrangement, batch_size, subset=choice, curriculum=curriculum, ranks=ranks)
        self._loader = self._loader_of(split, seed)
        whole = self._plans.whole
        steps = num_steps(config, budget, whole.num_samples, full_size, ratio)
        self._trainer = Trainer(
            build_network(config, facts, device, seed=seed, wrap=wrap),
            config.train,
            steps,
            device,
            warmup_steps=config.train.warmup_epochs * whole.num_steps,
            epoch_steps=whole.num_steps,
        )
        # The length of the schedule; a curriculum that leaves samples out takes fewer steps.
        self.num_steps = steps
        self.epoch = 0
        # What was trained so far.
        self.steps, self.visits = 0, 0
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
        """Train one epoch of the subset, or the remaining steps if they are fewer."""
        started = time.monotonic()
        plan = self._plans.of_epoch(self.epoch)
        trained = self._trainer.train_epoch(self._loader, self.epoch, plan, self._plans.observe)
        self.steps += trained.num_steps
        self.visits += trained.num_samples
        self._plans.end_epoch(plan, self._trainer, self._loader)
        self.epoch += 1
        self.seconds += time.monotonic() - started

    def train(self) -> None:
        """Train all remaining steps."""
        while not self.finished:
            self.train_epoch()

    def accuracy(self, split: ResidentSplit, positions: np.ndarray | None = None) -> float:
        """Return the share of right predictions on a split, or on some positions of it, over all ranks."""
        tested = split.positions if positions is None else positions
        loader = self._loader_of(split, 0)
        mine = tested[self._rank :: self._num_ranks]
        return self._trainer.accuracy(loader.as_is(mine, TEST_BATCH), shared=self._shared)

    def _loader_of(self, split: ResidentSplit, seed: int) -> ResidentLoader:
        return ResidentLoader(
            split,
            self._facts,
            self._config.train,
            self._device,
            rank=self._rank,
            world_size=self._num_ranks,
            seed=seed,
        )
