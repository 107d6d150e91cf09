"""Follows the scores of all ranks while recording, and stops when they have settled (`record.stop: stable`)."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dualprune.core.config import Config
from dualprune.core.plugins import make_sampler
from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import SampleIndex
from dualprune.scores.score import Values, split
from dualprune.selection.engine.rules import DrawRules
from dualprune.selection.stability import (
    Chances,
    Row,
    chances,
    measured_select,
    movement,
    rank_correlation,
    settled_at,
    subsample,
)
from dualprune.stages.methods import epoch_scores, score_methods, statistics_read
from dualprune.stages.score.running import BlockScores, RunningScores, least_epochs
from dualprune.training import collectives
from dualprune.training.listener import EpochListener

logger = logging.getLogger(__name__)
# Version 1 had no number: it compared running scores with those of `lag` epochs before.
VERSION = 2


@dataclass(frozen=True)
class Spans:
    """How many epochs each part of the measurement takes, and after how many the first can be made."""

    recent: int
    first: int

    @classmethod
    def of(cls, config: Config) -> Spans:
        """Return the spans of a configuration; the score to follow must read epochs."""
        methods = epoch_scores(score_methods(config))
        followed = methods[config.select_score]
        recent = max(followed.min_epochs, config.record.stable.lag)
        # The newest epochs and those before them must each be enough for a score.
        first = recent + least_epochs(followed)
        return cls(recent, max(first, *(least_epochs(method) for method in methods.values())))

    def earliest_stop(self, patience: int) -> int:
        """Return after how many epochs recording can stop at the earliest."""
        return self.first + patience - 1


class StabilityWatch(EpochListener):
    """Measures after each committed epoch how much ranking and selection change, and stops recording when little.

    The scores of the newest epochs alone are compared with those of all before: the values of the newest are kept, and
    those of older ones go to an accumulator. Its decision follows from the recorded epochs and the configuration alone,
    not from the number of ranks. Rank 0 keeps the chances of `lag` epochs for at most `record.stable.max_samples`
    samples, and writes its measurements to the run's `stability` file.
    """

    name = "stability"

    def __init__(self, run: RunDirectory, config: Config, index: SampleIndex, scores: RunningScores) -> None:
        self.settled: int | None = None
        self.rows: list[Row] = []
        self._run, self._rule, self._scores = run, config.record.stable, scores
        self._method = config.select_score
        self._followed = {self._method: scores.methods[self._method]}
        self._spans = Spans.of(config)
        self._stop_epochs = config.score.epochs or 0
        self._select = measured_select(config.select)
        self._sampler = make_sampler(config.model_copy(update={"select": self._select}))
        self._chosen: dict[int, np.ndarray] = {}
        self._old: dict[int, BlockScores] = {}
        self._recent: dict[int, deque[tuple[int, Values]]] = {}
        ids: dict[int, pa.Array] = {}
        for bucket in collectives.owned_buckets(index):
            column = index.read_bucket(bucket)["sample_id"]
            self._chosen[bucket] = subsample(column, index.num_samples, self._rule.max_samples)
            self._old[bucket] = self._block(bucket)
            self._recent[bucket] = deque()
            ids[bucket] = column.combine_chunks().take(self._chosen[bucket])
        self._ids = pa.concat_arrays(_everyones(ids))
        self._num_samples = index.num_samples
        self._before: deque[Chances] = deque(maxlen=self._rule.lag)
        if collectives.rank() == 0:
            self._save()

    @property
    def stopped_after(self) -> int | None:
        return self.settled

    @property
    def reads(self) -> tuple[str, ...]:
        return statistics_read(self._followed)

    def update(self, epoch: int, bucket: int, values: Values, seen: np.ndarray) -> None:
        """Keep the epoch's values, and score by those that are no longer among the newest."""
        recent = self._recent[bucket]
        recent.append((epoch, {name: array[self._chosen[bucket]] for name, array in values.items()}))
        if len(recent) > self._spans.recent:
            self._old[bucket].update(*recent.popleft())

    def prompt(self, epoch: int) -> bool:
        """Return whether `epoch` is measured, or the first measurement needs its chances.

        Stopping an epoch earlier saves more than a parallel write.
        """
        return epoch + 1 >= self._spans.first - self._rule.lag

    def committed(self, epoch: int) -> None:
        """Measure the scores after `epoch`."""
        if not self.prompt(epoch):
            return
        mine = {bucket: self._scores.of_rows(self._method, bucket, rows) for bucket, rows in self._chosen.items()}
        score, mean_prob = (np.concatenate(column) for column in zip(*_everyones(mine), strict=True))
        measures = epoch + 1 >= self._spans.first
        parts = _everyones({bucket: self._parts(bucket) for bucket in self._chosen}) if measures else []
        if collectives.rank() == 0:
            now = chances(self._sampler, DrawRules.of(self._select), score, mean_prob, self._ids)
            if measures:
                old, new = (np.concatenate(column) for column in zip(*parts, strict=True))
                self.rows.append(movement(epoch, rank_correlation(old, new), now, self._before[0]))
                self.settled = settled_at(self.rows, self._rule, self._stop_epochs)
                self._save()
                logger.info("epoch %d: %s", epoch, self.words())
            self._before.append(now)
        self.settled = collectives.from_rank_zero(self.settled)

    def _parts(self, bucket: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores float64 [m] of all but the newest epochs, and of the newest."""
        new = self._block(bucket)
        for epoch, values in self._recent[bucket]:
            new.update(epoch, values)
        old, found = (block.result([self._method])[0][self._method] for block in (self._old[bucket], new))
        return split(old)[0], split(found)[0]

    def _block(self, bucket: int) -> BlockScores:
        return BlockScores(0, len(self._chosen[bucket]), self._followed, None)

    def words(self) -> str:
        """Return the latest measurement in words, on rank 0; empty where there is none."""
        if not self.rows:
            return ""
        row = self.rows[-1]
        return f"overlap {min(row['overlap'].values()):.3f}, correlation {row['correlation']:.3f}"

    def _save(self) -> None:
        self._run.stability.write_json(
            {
                "version": VERSION,
                "recent": self._spans.recent,
                "score": self._method,
                "sampler": self._select.method,
                "ratios": self._select.ratios,
                "samples": len(self._ids),
                "of_samples": self._num_samples,
                "rule": self._rule.model_dump(mode="json"),
                "epochs": self.rows,
                "settled": self.settled,
            }
        )


def _everyones(parts: dict[int, Any]) -> list[Any]:
    """Return the values of all ranks in the order of the buckets, so that their owners do not matter."""
    everyone = {bucket: part for of_rank in collectives.gather_objects(parts) for bucket, part in of_rank.items()}
    return [everyone[bucket] for bucket in sorted(everyone)]
