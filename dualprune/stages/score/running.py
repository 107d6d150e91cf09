"""Scores that are updated after each recorded epoch, and written as the score stage's files when recording ends.

Each rank keeps the running scores of the buckets that it owns, in blocks of samples, so that neither an update nor
writing needs more than a block beside them. The input equals what the dynamics store holds, so scores have the same
bits.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import ROW_GROUP_ROWS
from dualprune.dynamics.state import above, below
from dualprune.dynamics.store import DynamicsStore, first_epoch
from dualprune.errors import ConfigError, UserError
from dualprune.scores.mean_prob import MeanProb
from dualprune.scores.score import EpochScore, Result, Values, complete, split, without_incomplete
from dualprune.stages.methods import epoch_scores, score_methods, statistics_read
from dualprune.stages.score.files import (
    Gaps,
    ScoredBlock,
    Written,
    missing_buckets,
    write_bucket,
)
from dualprune.stages.score.manifests import begin_stages, commit_stages
from dualprune.training import collectives
from dualprune.training.listener import EpochListener

logger = logging.getLogger(__name__)


class RunningScores(EpochListener):
    """The scores so far of some buckets, by default this rank's, by every method of `methods`."""

    name = "scores"

    def __init__(
        self,
        index: SampleIndex,
        methods: Mapping[str, EpochScore],
        *,
        mean_epochs: int | None = None,
        buckets: Iterable[int] | None = None,
        block_rows: int = ROW_GROUP_ROWS,
    ) -> None:
        self.methods = dict(methods)
        self._index = index
        self._buckets: dict[int, list[BlockScores]] = {}
        for bucket in collectives.owned_buckets(index) if buckets is None else buckets:
            start, stop = index.bucket_range(bucket)
            starts = range(0, stop - start, block_rows)
            ends = [min(first + block_rows, stop - start) for first in starts]
            self._buckets[bucket] = [
                BlockScores(first, end, self.methods, mean_epochs) for first, end in zip(starts, ends, strict=True)
            ]

    @classmethod
    def from_config(
        cls, config: Config, index: SampleIndex, stored: Collection[str], unstored: Collection[str] = ()
    ) -> list[RunningScores]:
        """Return the scores to keep while recording these statistics: those of stored ones, and those of others.

        The former save time, and there may be none. The latter cannot be computed later.
        """
        methods = epoch_scores(score_methods(config))
        recorded = {*stored, *unstored}
        known = {name: method for name, method in methods.items() if {*method.reads} <= recorded}
        from_store = {name: method for name, method in known.items() if {*method.reads} <= {*stored}}
        others = {name: method for name, method in known.items() if name not in from_store}
        early = config.score.epochs not in (None, config.record.epochs)
        # The score stage computes scores of the first epochs alone.
        if not config.record.online or (early and config.record.stop == "fixed"):
            from_store = {}
        return [cls(index, some, mean_epochs=config.mean_epochs) for some in (from_store, others) if some]

    @property
    def reads(self) -> tuple[str, ...]:
        return statistics_read(self.methods)

    def update(self, epoch: int, bucket: int, values: Values, seen: np.ndarray) -> None:
        """Take the next epoch of a bucket; values that the store would return as NaN count as missing."""
        for block in self._buckets[bucket]:
            block.update(epoch, {name: array[block.start : block.stop] for name, array in values.items()})

    def state_dict(self, bucket: int) -> dict[str, Any]:
        options = json.dumps({name: method.identity() for name, method in self.methods.items()}, sort_keys=True)
        state: dict[str, Any] = {"options": options}
        for number, block in enumerate(self._buckets[bucket]):
            state |= above(block.state_dict(), str(number))
        return state

    def load_state_dict(self, bucket: int, state: Mapping[str, Any]) -> None:
        """Continue from a state; a ConfigError where the methods had other options when it was kept."""
        kept = json.loads(str(state["options"]))
        for name, method in self.methods.items():
            if kept.get(name) != method.identity():
                raise ConfigError(
                    f"score.options.{name}: recording kept the state of {name} for the options {kept.get(name)}, but "
                    f"they are {method.identity()} now; restore them, or record again"
                )
        for number, block in enumerate(self._buckets[bucket]):
            block.load_state_dict(below(state, str(number)))

    def of_rows(self, method: str, bucket: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return score and mean_prob, float64 [m], of rows int [m] of a bucket, ascending."""
        parts = []
        for block in self._buckets[bucket]:
            first, last = np.searchsorted(rows, [block.start, block.stop])
            scored, mean = block.result([method])
            inside = rows[first:last] - block.start
            parts.append((split(scored[method])[0][inside], mean[inside]))
        scores, means = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(means)

    @property
    def min_epochs(self) -> int:
        """The fewest epochs after which every method has scores."""
        return max(map(least_epochs, self.methods.values()))

    def write(self, run: RunDirectory, config: Config, num_epochs: int) -> bool:
        """Write the score files of all recorded epochs and the manifests of their stages, as the score stage would.

        Every rank calls it alike. Returns whether the files were written. Where samples lack values and `score.on_nan`
        is "raise", or scores of other epochs are wanted, they are left to the score stage, which reports why.
        """
        if config.score.epochs not in (None, num_epochs) or num_epochs < self.min_epochs:
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
            failure: UserError | None = None
            written: list[Written] = []
            try:
                for bucket in missing_buckets(run, names, self._buckets):
                    blocks = self.blocks(bucket, names)
                    on_nan = config.score.on_nan
                    written.append(write_bucket(run, bucket, blocks, self.methods, epochs, on_nan))
            except UserError as error:
                failure = error
            # All ranks learn of a failure of any rank, and rank 0's stages end unfinished.
            failures, by_rank = zip(*collectives.gather_objects((failure, written)), strict=True)
            for found in failures:
                if found is not None:
                    raise found
            if here:
                commit_stages(run, store, epochs, self.methods, stages, list(chain(*by_rank)))

    def blocks(self, bucket: int, names: Sequence[str]) -> Iterator[ScoredBlock]:
        """Yield a bucket's blocks with the scores by each named method, in position order."""
        first_position = self._index.bucket_range(bucket)[0]
        index = self._index.read_bucket(bucket)
        for block in self._buckets[bucket]:
            rows = index.slice(block.start, block.stop - block.start)
            yield ScoredBlock(first_position + block.start, rows, *block.result(names), partial(block.gaps))


def least_epochs(method: EpochScore) -> int:
    """Return the fewest recorded epochs after which a method has scores."""
    return max(first_epoch(name) for name in method.reads) + method.min_epochs


class BlockScores:
    """Running scores of the rows start … stop-1 of a bucket, or of any stop - start samples."""

    def __init__(self, start: int, stop: int, methods: Mapping[str, EpochScore], mean_epochs: int | None) -> None:
        self.start, self.stop = start, stop
        self._reads = {name: method.reads for name, method in methods.items()}
        self._accumulators = {name: method.accumulator(stop - start) for name, method in methods.items()}
        self._num_fed = dict.fromkeys(methods, 0)
        self._mean = MeanProb(stop - start, mean_epochs)
        # Made when the first value is missing; in most runs none is.
        self._gaps: Gaps | None = None

    def update(self, epoch: int, values: Values) -> None:
        """Take the next epoch."""
        missing = ~complete(values)
        for name, accumulator in self._accumulators.items():
            # A method gets the epochs in which everything that it reads has values.
            if all(read in values for read in self._reads[name]):
                own = {read: values[read] for read in self._reads[name]}
                accumulator.update(self._num_fed[name], own, complete(own) if missing.any() else ~missing)
                self._num_fed[name] += 1
        self._mean.update(epoch, values, ~missing)
        if missing.any():
            self._gaps = gaps = self.gaps()
            gaps.first[missing & (gaps.num_epochs == 0)] = epoch
            gaps.num_epochs[missing] += 1

    def result(self, names: Sequence[str]) -> tuple[dict[str, Result], np.ndarray]:
        """Return the scores by each named method, NaN where a value was missing, and mean_prob float64 [n]."""
        incomplete = self.gaps().num_epochs > 0
        scored: dict[str, Result] = {}
        for name in names:
            accumulator = self._accumulators[name]
            scored[name] = (without_incomplete(accumulator.result(), incomplete), accumulator.extras())
        return scored, self._mean.result()

    def gaps(self) -> Gaps:
        """Return where values were missing so far."""
        if self._gaps is not None:
            return self._gaps
        return Gaps(*np.zeros((2, self.stop - self.start), dtype=np.int16))

    def state_dict(self) -> dict[str, Any]:
        state = above(self._mean.state_dict(), "mean_prob") | above(self.gaps()._asdict(), "gaps")
        for name, accumulator in self._accumulators.items():
            state |= above({"fed": self._num_fed[name], **above(accumulator.state_dict(), "state")}, f"method={name}")
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._mean.load_state_dict(below(state, "mean_prob"))
        gaps = Gaps(**below(state, "gaps"))
        self._gaps = gaps if gaps.num_epochs.any() else None
        for name, accumulator in self._accumulators.items():
            own = below(state, f"method={name}")
            self._num_fed[name] = int(own["fed"])
            accumulator.load_state_dict(below(own, "state"))
