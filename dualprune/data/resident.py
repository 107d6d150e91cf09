"""Data that fit into memory: decoded once by the cluster, held as uint8 on the training device, no Python per sample.

Every rank draws the same permutation and the same crops and flips for the whole batch and takes every W-th sample of
it, so that which samples make up a step, and how they look, does not depend on the number of workers W.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses

from dualprune.cluster.session import user_errors
from dualprune.data.source import Chunk, Source, Split
from dualprune.errors import DataError
from dualprune.training.loop import Batch


@dataclass(frozen=True)
class ResidentData:
    """References to a source's decoded chunks in Ray's object store, and what is known of all of them."""

    chunks: dict[Split, list[Any]]
    shape: tuple[int, int, int]
    num_train: int
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped_ids: tuple[Any, ...]


def load_resident(source: Source) -> ResidentData:
    """Decode a source by Ray tasks, a chunk each; the pixels stay in the object store."""
    decode = ray.remote(num_returns=2)(_decode)
    handle = ray.put(source)
    chunks: dict[Split, list[Any]] = {"train": [], "test": []}
    facts = []
    with user_errors():
        for split in chunks:
            for chunk in source.chunks(split):
                reference, fact = decode.remote(handle, chunk)
                chunks[split].append(reference)
                facts.append(fact)
        known = ray.get(facts)
    train = [fact for fact in known if fact["split"] == "train"]
    count = sum(fact["pixels"] for fact in train)
    if not count:
        raise DataError("the data set has no image that can be decoded")
    mean = sum(fact["sum"] for fact in train) / count
    variance = sum(fact["squares"] for fact in train) / count - mean**2
    shapes = {fact["shape"] for fact in known}
    if len(shapes) > 1:
        raise DataError(f"training and test images differ in shape: {sorted(shapes)}; set data.image_size")
    return ResidentData(
        chunks=chunks,
        shape=shapes.pop(),
        num_train=source.num_samples,
        num_classes=len(source.classes),
        mean=tuple(mean.tolist()),
        std=tuple(np.sqrt(np.maximum(variance, 1e-6)).tolist()),
        skipped_ids=tuple(sample_id for fact in train for sample_id in fact["failed"]),
    )


def _decode(source: Source, chunk: Chunk) -> tuple[Any, dict[str, Any]]:
    images, labels, failed = source.read(chunk)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(source.classes)))
    if len(wrong):
        raise DataError(
            f"label {labels[wrong[0]]} in row {chunk.start + wrong[0]} of the {chunk.split} set is out of range: "
            f"expected 0 … {len(source.classes) - 1}"
        )
    valid = np.ones(len(labels), dtype=bool)
    valid[list(failed)] = False
    # Per-channel counts of each grey value: exact sums without a float copy of the pixels.
    counts = np.stack([np.bincount(images[valid, c].ravel(), minlength=256) for c in range(images.shape[1])])
    scale = np.arange(256) / 255.0
    facts = {
        "split": chunk.split,
        "shape": images.shape[1:],
        "pixels": int(counts[0].sum()),
        "sum": counts @ scale,
        "squares": counts @ scale**2,
        "failed": list(failed.values()),
    }
    return (images, labels, valid), facts


@dataclass(frozen=True)
class ResidentSplit:
    """A split on a device: images uint8 [N, C, H, W], labels int64 [N], positions of the usable samples."""

    images: torch.Tensor
    labels: torch.Tensor
    usable: np.ndarray

    @classmethod
    def from_data(cls, data: ResidentData, split: Split, device: torch.device) -> ResidentSplit:
        """Bring a split to the device; a DataError where the source has no such split."""
        parts = ray.get(data.chunks[split])
        if not parts:
            raise DataError(
                f"there is no {split} set, so accuracy cannot be measured; set data.test_path or data.test_fraction"
            )
        total = sum(len(labels) for _, labels, _ in parts)
        images = torch.empty((total, *data.shape), dtype=torch.uint8, device=device)
        start = 0
        for part, _, _ in parts:
            # A copy: what lies in the object store is read-only.
            images[start : start + len(part)] = torch.from_numpy(part.copy()).to(device)
            start += len(part)
        labels = torch.from_numpy(np.concatenate([labels for _, labels, _ in parts])).to(device)
        return cls(images, labels, np.flatnonzero(np.concatenate([valid for _, _, valid in parts])))


@dataclass(frozen=True)
class ResidentBatch:
    """One step's samples of a rank, on the device; padding has the position -1."""

    images: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    num_global: int


class ResidentLoader:
    """Gives every rank the same number of steps an epoch, and every usable sample to one rank once.

    `batch_size` counts all ranks together; `positions` restricts training to a subset.
    """

    def __init__(
        self,
        split: ResidentSplit,
        *,
        batch_size: int,
        rank: int,
        world_size: int,
        seed: int,
        augment: str,
        crop_padding: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        positions: np.ndarray | None = None,
    ) -> None:
        self._split = split
        usable = split.usable if positions is None else np.intersect1d(positions, split.usable)
        if not len(usable):
            raise DataError("there is no sample to train on: none of the subset's images can be decoded")
        self._usable = torch.from_numpy(usable)
        self._batch_size = batch_size
        self._rank, self._world_size = rank, world_size
        self._seed = seed
        self._crop = crop_padding if augment in ("crop", "crop_flip") else 0
        self._flip = augment == "crop_flip"
        self._device = device
        scale = torch.tensor(std, device=device)[:, None, None] * 255.0
        self._scale = 1.0 / scale
        self._shift = torch.tensor(mean, device=device)[:, None, None] * 255.0 / scale
        self.num_steps = -(-len(usable) // batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Give this rank's steps of an epoch, shuffled and augmented by the seed and the epoch."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
        num = len(self._usable)
        order = self._usable[torch.randperm(num, generator=generator)]
        span = 2 * self._crop + 1
        moves = torch.randint(span, (2, num), generator=generator)
        flips = torch.randint(2, (num,), generator=generator).bool() & self._flip
        for start in range(0, num, self._batch_size):
            stop = min(start + self._batch_size, num)
            rows = torch.arange(start + self._rank, stop, self._world_size)
            # Two at least: batch normalisation cannot train on one.
            each = max(2, -(-(stop - start) // self._world_size))
            padding = each - len(rows)
            filled = torch.cat([rows, torch.arange(start, start + padding).clamp(max=stop - 1)])
            chosen = order[filled]
            positions = chosen.clone()
            positions[len(rows) :] = -1
            on_device = chosen.to(self._device)
            images = self._split.images[on_device]
            if self._crop or self._flip:
                images = _moved(images, moves[:, filled].to(self._device), flips[filled].to(self._device), self._crop)
            yield self._batch(images, on_device, positions.to(self._device), stop - start)

    def eval_batches(self, batch_size: int) -> Iterator[Batch]:
        """Give this rank's part of the split in order, as it is."""
        mine = self._usable[self._rank :: self._world_size]
        for part in mine.split(batch_size):  # type: ignore[no-untyped-call]
            chosen = part.to(self._device)
            yield self._batch(self._split.images[chosen], chosen, chosen, len(part))

    def _batch(self, images: torch.Tensor, chosen: torch.Tensor, positions: torch.Tensor, num_global: int) -> Batch:
        pixels = images.float() * self._scale - self._shift
        if self._device.type == "cuda":
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return ResidentBatch(pixels, self._split.labels[chosen], positions, num_global)


def _moved(images: torch.Tensor, moves: torch.Tensor, flips: torch.Tensor, padding: int) -> torch.Tensor:
    """Cut images [b, C, H, W] out of their zero-padded selves at moves [2, b], and mirror those with a flip."""
    count, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images, (padding,) * 4)
    rows = moves[0][:, None] + torch.arange(height, device=device)
    across = torch.arange(width, device=device)
    columns = moves[1][:, None] + torch.where(flips[:, None], width - 1 - across, across)
    item = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return padded[item, channel, rows[:, None, :, None], columns[:, None, None, :]]
