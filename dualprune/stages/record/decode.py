"""Decodes a source on the cluster with Ray tasks; the pixels stay in the object store until a worker asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch

from dualprune.cluster.session import user_errors
from dualprune.data.resident import DataFacts, Part, ResidentSplit
from dualprune.data.source import Shard, Source, Split
from dualprune.errors import DataError


@dataclass(frozen=True)
class ResidentData(DataFacts):
    """References to a source's decoded parts in Ray's object store, and what is known of all of them."""

    parts: dict[Split, list[Any]]

    def split(self, split: Split, device: torch.device) -> ResidentSplit:
        """Bring a split to the device; a DataError where the source has no such split."""
        if not self.parts[split]:
            raise DataError(
                f"there is no {split} set, so accuracy cannot be measured; set data.test_path or data.test_fraction"
            )
        return ResidentSplit.of_parts(ray.get(self.parts[split]), device)


def load_resident(source: Source) -> ResidentData:
    """Decode a source with one Ray task per shard; the pixels stay in the object store."""
    decode = ray.remote(num_returns=2)(_decode)
    handle = ray.put(source)
    parts: dict[Split, list[Any]] = {"train": [], "test": []}
    facts = []
    with user_errors():
        for split in parts:
            for shard in source.shards(split):
                reference, fact = decode.remote(handle, shard)
                parts[split].append(reference)
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
        parts=parts,
        shape=shapes.pop(),
        num_train=source.num_samples,
        num_classes=len(source.classes),
        mean=tuple(mean.tolist()),
        std=tuple(np.sqrt(np.maximum(variance, 1e-6)).tolist()),
        skipped_ids=tuple(sample_id for fact in train for sample_id in fact["failed"]),
    )


def _decode(source: Source, shard: Shard) -> tuple[Part, dict[str, Any]]:
    images, labels, failed = source.read(shard)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(source.classes)))
    if len(wrong):
        raise DataError(
            f"label {labels[wrong[0]]} in row {shard.start + wrong[0]} of the {shard.split} set is out of range: "
            f"expected 0 … {len(source.classes) - 1}"
        )
    usable = np.ones(len(labels), dtype=bool)
    usable[list(failed)] = False
    # Per-channel counts of each grey value: exact sums without a float copy of the pixels.
    counts = np.stack([np.bincount(images[usable, c].ravel(), minlength=256) for c in range(images.shape[1])])
    scale = np.arange(256) / 255.0
    facts = {
        "split": shard.split,
        "shape": images.shape[1:],
        "pixels": int(counts[0].sum()),
        "sum": counts @ scale,
        "squares": counts @ scale**2,
        "failed": list(failed.values()),
    }
    return (images, labels, usable), facts
