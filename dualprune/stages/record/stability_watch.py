"""Follows the running scores of all ranks while recording, and stops when they have settled (`record.stop: stable`)."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

import numpy as np
import pyarrow as pa

from dualprune.core.config import Config
from dualprune.core.plugins import make_sampler
from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import SampleIndex
from dualprune.scores.score import Values
from dualprune.selection.engine.drawing import DrawRules
from dualprune.selection.stability import Row, Snapshot, measured_select, movement, settled_at, snapshot, subsample
from dualprune.stages.score.running import RunningScores
from dualprune.training import collectives
from dualprune.training.listener import EpochListener

logger = logging.getLogger(__name__)


class StabilityWatch(EpochListener):
    """Measures after each committed epoch how much the scores changed, and stops recording when they have settled.

    Its decision follows from the recorded epochs and the configuration alone, not from the number of ranks. Rank 0
    keeps the scores of `lag` epochs for at most `record.stable.max_samples` samples, and writes its measurements to the
    run's `stability` file.
    """

    name = "stability"

    def __init__(self, run: RunDirectory, config: Config, index: SampleIndex, scores: RunningScores) -> None:
        self.settled: int | None = None
        self.rows: list[Row] = []
        self._run, self._rule, self._scores = run, config.record.stable, scores
        self._method = config.select_score
        # All of these methods must have scores when recording stops.
        self._min_epochs = scores.min_epochs
        self._stop_epochs = config.score.epochs or 0
        self._select = measured_select(config.select)
        self._sampler = make_sampler(config.model_copy(update={"select": self._select}))
        self._chosen: dict[int, np.ndarray] = {}
        ids: dict[int, pa.Array] = {}
        for bucket in collectives.owned_buckets(index):
            column = index.read_bucket(bucket)["sample_id"]
            self._chosen[bucket] = subsample(column, index.num_samples, self._rule.max_samples)
            ids[bucket] = column.combine_chunks().take(self._chosen[bucket])
        self._ids = pa.concat_arrays(_everyones(ids))
        self._num_samples = index.num_samples
        self._before: deque[Snapshot] = deque(maxlen=self._rule.lag)
        if collectives.rank() == 0:
            self._save()

    @property
    def stopped_after(self) -> int | None:
        return self.settled

    def update(self, epoch: int, bucket: int, values: Values, seen: np.ndarray) -> None:
        """No statistics: it reads the running scores."""

    def prompt(self, epoch: int) -> bool:
        """Return whether there are scores after `epoch`: stopping an epoch earlier saves more than a parallel write."""
        return epoch + 1 >= self._min_epochs

    def committed(self, epoch: int) -> None:
        """Measure the scores after `epoch`."""
        if not self.prompt(epoch):
            return
        mine = {bucket: self._scores.of_rows(self._method, bucket, rows) for bucket, rows in self._chosen.items()}
        score, mean_prob = (np.concatenate(column) for column in zip(*_everyones(mine), strict=True))
        if collectives.rank() == 0:
            now = snapshot(self._sampler, DrawRules.of(self._select), score, mean_prob, self._ids)
            if len(self._before) == self._rule.lag:
                self.rows.append(movement(epoch, now, self._before[0]))
                self.settled = settled_at(self.rows, self._rule, self._stop_epochs)
                self._save()
                logger.info("epoch %d: %s", epoch, self.words())
            self._before.append(now)
        self.settled = collectives.from_rank_zero(self.settled)

    def words(self) -> str:
        """Return the latest measurement in words, on rank 0; empty where there is none."""
        if not self.rows:
            return ""
        row = self.rows[-1]
        return f"overlap {min(row['overlap'].values()):.3f}, correlation {row['correlation']:.3f}"

    def _save(self) -> None:
        self._run.stability.write_json(
            {
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
