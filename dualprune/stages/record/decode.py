"""Decodes a source on the cluster with Ray tasks; the pixels stay in the object store until a worker asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from dualprune.cluster.session import user_errors
from dualprune.data.facts import DataFacts
from dualprune.data.pixels import data_facts, decode_shard
from dualprune.data.source import Source, Split
from dualprune.errors import DataError

if TYPE_CHECKING:
    import torch

    from dualprune.data.resident import ResidentSplit


@dataclass(frozen=True)
class ResidentData(DataFacts):
    """References to a source's decoded parts in Ray's object store, and the facts about all of them."""

    parts: dict[Split, list[Any]]

    def split(self, split: Split, device: torch.device) -> ResidentSplit:
        """Move a split to the device; a DataError where the source has no such split."""
        # Imported here: the tasks that decode do not wait for torch.
        from dualprune.data.resident import ResidentSplit

        if not self.parts[split]:
            raise DataError(
                f"there is no {split} set, so accuracy cannot be measured; set data.test_path or data.test_fraction"
            )
        return ResidentSplit.of_shards(ray.get(self.parts[split]), self.shape[0], device)


def load_resident(source: Source) -> ResidentData:
    """Decode a source with one Ray task per shard; the pixels stay in the object store."""
    decode = ray.remote(num_returns=2)(decode_shard)
    # Found once: a source that is sent without its classes would read all labels in every task.
    _ = source.classes
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
    return ResidentData(parts=parts, **vars(data_facts(source, known)))
