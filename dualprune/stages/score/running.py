"""Scores that follow recording: one epoch at a time in, and the score stage's files out when recording ends.

Each rank keeps the running scores of the buckets that it owns, in blocks of samples, so that neither an update nor
writing needs more than a block beside them. What goes in is what the dynamics store holds, so scores are the same bits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.blocks import read_epoch
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import ROW_GROUP_ROWS
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import UserError
from dualprune.scores.score import Scored, ScoreMethod
from dualprune.selection.engine.survey import Survey
from dualprune.stages.score.files import (
    Gaps,
    ScoredBlock,
    add_surveys,
    begin_stages,
    columns_of,
    commit_stages,
    look_at_bucket,
    missing_buckets,
    score_methods,
    write_bucket,
)
from dualprune.training import collectives

logger = logging.getLogger(__name__)


class RunningScores:
    """The scores so far of the buckets that this rank owns, by every method of `methods`."""

    def __init__(
        self, index: SampleIndex, methods: Mapping[str, ScoreMethod], block_rows: int = ROW_GROUP_ROWS
    ) -> None:
        self.methods = dict(methods)
        self._index = index
        self._columns = columns_of(methods)
        self._buckets: dict[int, list[_BlockScores]] = {}
        for bucket in collectives.owned_buckets(index):
            start, stop = index.bucket_range(bucket)
            starts = range(0, stop - start, block_rows)
            self._buckets[bucket] = [_BlockScores(a, min(a + block_rows, stop - start), methods) for a in starts]

    @classmethod
    def from_config(cls, config: Config, index: SampleIndex, recorded: Sequence[str]) -> RunningScores | None:
        """Return the scores to keep while recording the statistics `recorded`; None where none are wanted."""
        known = {name: method for name, method in score_methods(config).items() if {*method.requires} <= {*recorded}}
        early = config.score.epochs not in (None, config.record.epochs)
        # Scores by the first epochs alone are the score stage's work.
        if not known or not config.record.online or (early and config.record.stop == "fixed"):
            return None
        return cls(index, known)

    def update(self, epoch: int, bucket: int, statistics: Mapping[str, np.ndarray]) -> None:
        """Take the next epoch of a bucket, float32 [n] a statistic, NaN where a value is missing."""
        for block in self._buckets[bucket]:
            block.update(epoch, {name: statistics[name][block.start : block.stop] for name in self._columns})

    def replay(self, store: DynamicsStore, epoch: int) -> None:
        """Take the next epoch from the store; a DataError where one of its files is missing or damaged."""
        for bucket in self._buckets:
            self.update(epoch, bucket, read_epoch(store, bucket, self._columns, epoch))

    def of_rows(self, method: str, bucket: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return score and mean_prob, float64 [m], of rows int [m] of a bucket, ascending."""
        parts = []
        for block in self._buckets[bucket]:
            first, last = np.searchsorted(rows, [block.start, block.stop])
            scored, mean = block.result([method])
            inside = rows[first:last] - block.start
            parts.append((scored[method].score[inside], mean[inside]))
        scores, means = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(means)

    def write(self, run: RunDirectory, config: Config, num_epochs: int) -> bool:
        """Write the score files of all recorded epochs and the manifests of their stages, as the score stage would.

        Called by every rank alike. Returns whether they are there; where samples lack values and `score.on_nan` is
        "raise", or the scores are to be of other epochs, they are left to the score stage, which says why.
        """
        least = max(method.min_epochs for method in self.methods.values())
        if config.score.epochs not in (None, num_epochs) or num_epochs < least:
            return False
        try:
            self._write(run, config, range(num_epochs))
        except UserError as error:
            logger.warning("no scores were written while recording: %s", error)
            return False
        return True

    def _write(self, run: RunDirectory, config: Config, epochs: Sequence[int]) -> None:
        store, here = DynamicsStore(run), collectives.rank() == 0
        with ExitStack() as stack:
            stages = begin_stages(stack, run, config, store, epochs, self.methods) if here else {}
            names: list[str] = collectives.from_rank_zero(list(stages))
            surveys: dict[str, Survey] = {}
            failure: UserError | None = None
            try:
                missing = frozenset(missing_buckets(run, names, self._buckets))
                for bucket in self._buckets:
                    if bucket in missing:
                        found = write_bucket(run, bucket, self._blocks(bucket, names), epochs, config.score.on_nan)
                    else:
                        found = look_at_bucket(run, bucket, names)
                    add_surveys(surveys, found)
            except UserError as error:
                failure = error
            # All ranks see a failure of any, and rank 0's stages end unfinished.
            failures = [found for found in collectives.gather_objects(failure) if found is not None]
            if failures:
                raise failures[0]
            whole: dict[str, Survey] = {}
            for of_rank in collectives.gather_objects(surveys):
                add_surveys(whole, of_rank)
            if here:
                commit_stages(run, store, epochs, self.methods, stages, whole)

    def _blocks(self, bucket: int, names: Sequence[str]) -> Iterator[ScoredBlock]:
        first_position = self._index.bucket_range(bucket)[0]
        index = self._index.read_bucket(bucket)
        for block in self._buckets[bucket]:
            rows = index.slice(block.start, block.stop - block.start)
            yield ScoredBlock(first_position + block.start, rows, *block.result(names), partial(block.gaps))


class _BlockScores:
    """Running scores of the rows start … stop-1 of a bucket."""

    def __init__(self, start: int, stop: int, methods: Mapping[str, ScoreMethod]) -> None:
        self.start, self.stop = start, stop
        self._num_epochs = 0
        self._accumulators = {name: method.accumulator(stop - start) for name, method in methods.items()}
        has_mean = any(method.has_mean_prob for method in methods.values())
        self._prob_sum = None if has_mean else np.zeros(stop - start)
        # Made when a value is missing for the first time: in most runs none is.
        self._gaps: Gaps | None = None

    def update(self, epoch: int, statistics: Mapping[str, np.ndarray]) -> None:
        """Take the next epoch."""
        for accumulator in self._accumulators.values():
            accumulator.update(statistics)
        if self._prob_sum is not None:
            self._prob_sum += statistics["target_prob"]
        self._num_epochs += 1
        missing = np.zeros(self.stop - self.start, dtype=bool)
        for values in statistics.values():
            missing |= np.isnan(values)
        if missing.any():
            self._gaps = gaps = self.gaps()
            gaps.first[missing & (gaps.num_epochs == 0)] = epoch
            gaps.num_epochs[missing] += 1

    def result(self, names: Sequence[str]) -> tuple[dict[str, Scored], np.ndarray]:
        """Return the scores by each named method, and mean_prob float64 [n]."""
        scored = {name: self._accumulators[name].result() for name in names}
        mean = next((result.mean_prob for result in scored.values() if result.mean_prob is not None), None)
        if mean is None:
            if self._prob_sum is None:
                others = (accumulator.result().mean_prob for accumulator in self._accumulators.values())
                mean = next(mean for mean in others if mean is not None)
            else:
                mean = self._prob_sum / self._num_epochs
        return scored, mean

    def gaps(self) -> Gaps:
        """Return where values were missing so far."""
        if self._gaps is not None:
            return self._gaps
        return Gaps(*np.zeros((2, self.stop - self.start), dtype=np.int16))
