"""Data that fit into memory: decoded once and held on the training device, without Python per sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from dualprune.core.sections import TrainConfig
from dualprune.data.augment import Augment
from dualprune.data.facts import DataFacts, DecodedShard
from dualprune.data.loader import Batch
from dualprune.data.plan import EpochPlan


@dataclass(frozen=True)
class ResidentSplit:
    """A split on a device; usable bool [N] stays on the host.

    Attributes:
        images: uint8 [N, C, H, W], or arrays float [N, d].
        labels: int64 [N].
    """

    images: torch.Tensor
    labels: torch.Tensor
    usable: NDArray[np.bool_]

    @classmethod
    def of_shards(cls, shards: Sequence[DecodedShard], channels: int, device: torch.device) -> ResidentSplit:
        """Copy the decoded shards of a split, in order, to the device, all with the `channels` of the whole set.

        Of arrays, `channels` are the numbers in each.
        """
        total = sum(len(labels) for _, labels, _ in shards)
        dtype = torch.from_numpy(shards[0][0][:0].copy()).dtype
        images = torch.empty((total, channels, *shards[0][0].shape[2:]), dtype=dtype, device=device)
        start = 0
        for pixels, _, _ in shards:
            # A copy, as arrays in Ray's object store are read-only. Shards without colour have one channel.
            images[start : start + len(pixels)] = torch.from_numpy(pixels.copy()).to(device)
            start += len(pixels)
        labels = torch.from_numpy(np.concatenate([labels for _, labels, _ in shards])).to(device)
        return cls(images, labels, np.concatenate([usable for _, _, usable in shards]))

    @property
    def positions(self) -> NDArray[np.int64]:
        """The positions of the usable samples, ascending."""
        return np.flatnonzero(self.usable)


class ResidentLoader:
    """A `Loader` of a split that lies on the device."""

    def __init__(
        self,
        split: ResidentSplit,
        facts: DataFacts,
        recipe: TrainConfig,
        device: torch.device,
        *,
        rank: int = 0,
        world_size: int = 1,
        seed: int | None = None,
    ) -> None:
        self._split, self._device = split, device
        self._rank, self._world_size = rank, world_size
        self._is_images = len(facts.shape) == 3
        self._augment = Augment(recipe, facts.shape, recipe.seed if seed is None else seed)
        mean, std = facts.normalisation(recipe)
        if not self._is_images:
            # Of float64, means are taken off before digits are lost.
            self._mean = torch.tensor(mean, device=device, dtype=torch.float64)
            self._scale = 1.0 / torch.tensor(std, device=device, dtype=torch.float64)
            return
        scale = torch.tensor(std, device=device)[:, None, None] * 255.0
        self._scale = 1.0 / scale
        self._shift = torch.tensor(mean, device=device)[:, None, None] * 255.0 / scale

    def epoch(self, epoch: int, plan: EpochPlan) -> Iterator[Batch]:
        """Yield this rank's batches of an epoch, one per step of the plan."""
        step = 0
        for steps in plan.steps(plan.partitions(self._rank, self._world_size)):
            counted = (steps.weights > 0) & self._split.usable[steps.samples]
            positions = np.where(counted, steps.samples, -1)
            draws = self._augment.draw(steps.samples, epoch)
            # Steps that are planned together are moved to the device together.
            numbers = torch.from_numpy(np.vstack([steps.samples, positions, draws])).to(self._device)
            weights = torch.from_numpy(np.where(counted, steps.weights, np.float32(0))).to(self._device)
            for start, stop in pairwise([0, *steps.ends.tolist()]):
                shown = numbers[0, start:stop]
                images = self._augment.apply(self._split.images[shown], numbers[2:, start:stop])
                yield self._batch(images, shown, numbers[1, start:stop], weights[start:stop], plan.size(step))
                step += 1

    def as_is(self, positions: NDArray[np.int64], batch_size: int) -> Iterator[Batch]:
        """Yield these samples in order, unaugmented; samples that could not be decoded are left out."""
        usable = torch.from_numpy(positions[self._split.usable[positions]]).to(self._device)
        for shown in usable.split(batch_size):  # type: ignore[no-untyped-call]
            if len(shown):
                weights = torch.ones(len(shown), device=self._device)
                yield self._batch(self._split.images[shown], shown, shown, weights, len(shown))

    def _batch(
        self,
        images: torch.Tensor,
        shown: torch.Tensor,
        positions: torch.Tensor,
        weights: torch.Tensor,
        num_global: int,
    ) -> Batch:
        return Batch(self._inputs(images), self._split.labels[shown], positions, weights, num_global)

    def _inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return normalised images or arrays, float32."""
        if not self._is_images:
            wide = torch.promote_types(images.dtype, torch.float32)
            return ((images.to(wide) - self._mean.to(wide)) * self._scale.to(wide)).float()
        pixels = images.float() * self._scale - self._shift
        return pixels.contiguous(memory_format=torch.channels_last) if self._device.type == "cuda" else pixels
