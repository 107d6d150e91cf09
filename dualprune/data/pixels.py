"""Decodes a shard and counts its pixels or numbers: what training has to know of all is added up from that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dualprune.data.facts import DataFacts, DecodedShard
from dualprune.data.source import Shard, Source
from dualprune.data.vectors import array_counts, array_facts
from dualprune.errors import DataError


def decode_shard(source: Source, shard: Shard) -> tuple[DecodedShard, dict[str, Any]]:
    """Return a shard's decoded samples, and its counts for `data_facts`; a DataError where a label is out of range."""
    images, labels, failed = source.read(shard)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(source.classes)))
    if len(wrong):
        raise DataError(
            f"label {labels[wrong[0]]} in row {shard.start + wrong[0]} of the {shard.split} set is out of range: "
            f"expected 0 … {len(source.classes) - 1}"
        )
    usable = np.ones(len(labels), dtype=bool)
    usable[list(failed)] = False
    facts: dict[str, Any] = {"split": shard.split, "shape": images.shape[1:], "failed": list(failed.values())}
    if images.ndim == 2:
        return (images, labels, usable), facts | {"counts": array_counts(images[usable])}
    # Counts of each grey value per channel: exact sums without a float copy of the pixels.
    counts = np.stack([np.bincount(images[usable, c].ravel(), minlength=256) for c in range(images.shape[1])])
    scale = np.arange(256) / 255.0
    facts |= {"pixels": int(counts[0].sum()), "sum": counts @ scale, "squares": counts @ scale**2}
    return (images, labels, usable), facts


def data_facts(source: Source, parts: Sequence[dict[str, Any]]) -> DataFacts:
    """Return the facts about a decoded source from the counts of `decode_shard`, in the order of the shards.

    The channels are those that `data.channels` says; without it, one where no training image has colour, else three.
    """
    if any("counts" in part for part in parts):
        return array_facts(source, parts)
    train = [part for part in parts if part["split"] == "train"]
    count = sum(part["pixels"] for part in train)
    if not count:
        raise DataError(
            "the data set has no image that can be decoded; set data.on_error to raise for the reason of the first"
        )
    channels = source.config.channels or max(part["shape"][0] for part in train)
    coloured = [part["split"] for part in parts if part["shape"][0] > channels]
    if coloured:
        what = f"data.channels is {channels}" if source.config.channels else "the training images are gray"
        raise DataError(
            f"{what}, but there are images with colour in the {coloured[0]} set of the source "
            f"{source.config.source}; set data.channels to 3"
        )
    # Gray images count the same in each channel.
    mean = sum(np.broadcast_to(part["sum"], channels) for part in train) / count
    variance = sum(np.broadcast_to(part["squares"], channels) for part in train) / count - mean**2
    sizes = {part["shape"][1:] for part in parts}
    if len(sizes) > 1:
        raise DataError(f"training and test images differ in height and width: {sorted(sizes)}; set data.image_size")
    return DataFacts(
        shape=(channels, *sizes.pop()),
        num_train=source.num_samples,
        num_classes=len(source.classes),
        mean=tuple(mean.tolist()),
        std=tuple(np.sqrt(np.maximum(variance, 1e-6)).tolist()),
        skipped_ids=tuple(sample_id for part in train for sample_id in part["failed"]),
    )
