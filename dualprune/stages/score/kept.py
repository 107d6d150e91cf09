"""Scores of statistics that are not stored: taken from the state that recording kept after its last epoch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from dualprune.dynamics.blocks import read_blocks
from dualprune.dynamics.state import below, has_state, read_state
from dualprune.dynamics.statistics import STATISTICS
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError
from dualprune.scores.mean_prob import TARGET_PROB, mean_over_epochs
from dualprune.scores.score import ScoreMethod
from dualprune.stages.score.files import ScoredBlock

if TYPE_CHECKING:
    from dualprune.stages.score.stage import ScoreJob


def unstored(names: Collection[str]) -> list[str]:
    """Return the statistics that are never in the store."""
    return [name for name in names if name in STATISTICS and not STATISTICS[name].stored]


def is_kept(method: ScoreMethod) -> bool:
    """Return whether a method's scores can only be those after the last recorded epoch."""
    return bool(unstored(method.reads))


def check_kept(store: DynamicsStore, job: ScoreJob) -> None:
    """Raise a ConfigError where scores of fewer epochs than were recorded are asked for, or where none were kept."""
    name = next(iter(job.methods))
    statistic = unstored(job.methods[name].reads)[0]
    if not has_state(store.location, store.epochs[-1]):
        raise _none_kept(store, name, statistic)
    if len(job.epochs) < len(store.epochs):
        raise ConfigError(
            f"score.epochs: {name} reads {statistic}, of which only the state after all "
            f"{len(store.epochs)} epochs is kept, so it cannot score by the first {len(job.epochs)}; set it to null"
        )


def _none_kept(store: DynamicsStore, name: str, statistic: str) -> ConfigError:
    remedy = (
        f"imported dynamics have none; from class probabilities, use dualprune.scores.from_probs({name!r}, …)"
        if store.is_imported
        else f"this recording kept none of them; record again with {name} among score.methods"
    )
    return ConfigError(f"{name} reads {statistic}, which is not stored, but scored while recording; {remedy}")


def kept_blocks(store: DynamicsStore, bucket: int, job: ScoreJob) -> Iterator[ScoredBlock]:
    """Yield a bucket's blocks of samples with the scores of the kept state, in position order.

    Raises:
        ConfigError: a method had other options while recording, or was not among the methods.
        DataError: the state is missing or damaged.
    """
    # Imported here, as it loads torch.
    from dualprune.stages.score.running import RunningScores

    scores = RunningScores(store.index, job.methods, buckets=[bucket])
    state = read_state(store.location, job.epochs[-1], f"bucket={bucket:05d}")
    kept = below(state, RunningScores.name)
    known = json.loads(str(kept["options"])) if kept else {}
    for name, method in job.methods.items():
        if name not in known:
            raise _none_kept(store, name, unstored(method.reads)[0])
    scores.load_state_dict(bucket, kept)
    recorded = read_blocks(store, bucket, [TARGET_PROB], job.epochs)
    for block, stored in zip(scores.blocks(bucket, list(job.methods)), recorded, strict=True):
        yield replace(block, mean_prob=mean_over_epochs(stored.statistics[TARGET_PROB], job.mean_epochs))
