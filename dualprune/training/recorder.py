"""Records statistics while training: it takes each step's positions and outputs, and commits epochs.

A step costs a few kernels on the device and no synchronisation. At the end of an epoch the values are sent to the
owners of their buckets. Each owner writes its files and passes the epoch to the listeners, in a background thread,
while the next epoch trains.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from dualprune.core.storage import FileRecord
from dualprune.dynamics.blocks import read_epoch
from dualprune.dynamics.state import above, below, commit_state, read_state, write_state
from dualprune.dynamics.statistics import Forward, Statistic, check_needs
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter, lay_out
from dualprune.errors import ConfigError
from dualprune.scores.score import complete
from dualprune.training import collectives
from dualprune.training.last_epoch import LastEpoch
from dualprune.training.listener import EpochListener

LAST_EPOCH = "last_epoch"


class EpochBuffer:
    """The values that one rank computed in one epoch, on the device.

    It is allocated for `capacity` rows and grows if there are more; rows are added in place, with no read of their
    values.
    """

    def __init__(self, num_columns: int, capacity: int, device: torch.device) -> None:
        self._positions = torch.empty(capacity, dtype=torch.int64, device=device)
        self._values = torch.empty((num_columns, capacity), dtype=torch.float32, device=device)
        self._used = 0

    def add(self, positions: torch.Tensor, values: torch.Tensor) -> None:
        """Append positions [b] and values [columns, b]; padding has the position -1."""
        end = self._used + len(positions)
        if end > len(self._positions):
            spare = end + len(self._positions)
            self._positions = _grown(self._positions, spare)
            self._values = _grown(self._values, spare)
        self._positions[self._used : end] = positions
        self._values[:, self._used : end] = values
        self._used = end

    def take(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions [m] and values [columns, m] without padding, and empty the buffer."""
        positions, values = self._positions[: self._used], self._values[:, : self._used]
        self._used = 0
        real = positions >= 0
        return positions[real], values[:, real]


class Written(NamedTuple):
    """The part of an epoch that a rank has written."""

    files: list[FileRecord]
    state: list[FileRecord]


class EpochRecorder:
    """One rank's part in recording. Every method is called by every rank alike.

    `statistics` are computed in each step; the writer's columns are those of them that are stored. `commit_s` is the
    number of seconds by which the last commit delayed this rank: the wait for all ranks' files, and the record.
    """

    def __init__(
        self,
        writer: DynamicsWriter,
        statistics: Sequence[Statistic],
        capacity: int,
        device: torch.device,
        listeners: Sequence[EpochListener] = (),
        max_state_bytes: int | None = None,
    ) -> None:
        stored = tuple(statistic.name for statistic in statistics if statistic.stored)
        assert writer.columns == stored, f"the writer has the columns {writer.columns}, the recorder stores {stored}"
        self.commit_s = 0.0
        self._writer, self._listeners = writer, list(listeners)
        self._statistics = list(statistics)
        self._widths = [statistic.num_values(writer.index.num_classes) for statistic in statistics]
        self._last = LastEpoch(statistics)
        # Listeners that cannot get the earlier epochs again.
        self._stateful = [listener for listener in listeners if not set(listener.reads) <= set(stored)]
        if max_state_bytes is not None:
            self._check_bytes(max_state_bytes)
        self._buffer = EpochBuffer(sum(self._widths), capacity, device)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dynamics-writer")
        self._pending: tuple[int, Future[Written]] | None = None
        self._replayed: list[tuple[int, Future[None]]] = []
        self._checked = False

    @property
    def needs_state(self) -> bool:
        """Whether recording can only resume after an epoch whose state was kept with its checkpoint."""
        return bool(self._last.statistics or self._stateful)

    @property
    def stopped(self) -> bool:
        """Whether a listener says that recording may stop."""
        return any(listener.stopped_after is not None for listener in self._listeners)

    def prompt(self, epoch: int) -> bool:
        """Return whether an epoch is committed before the next one trains."""
        return any(listener.prompt(epoch) for listener in self._listeners)

    def resume(self, store: DynamicsStore, epoch: int) -> None:
        """Restore the situation before `epoch`: from the kept state, or from the store, in the background."""
        if epoch > 0 and self.needs_state:
            for bucket in collectives.owned_buckets(self._writer.index):
                state = read_state(self._writer.location, epoch - 1, _state_name(bucket))
                self._last.load_state_dict(bucket, below(state, LAST_EPOCH))
                for listener in self._stateful:
                    listener.load_state_dict(bucket, below(state, listener.name))
        for earlier in range(epoch):
            self._replayed.append((earlier, self._pool.submit(self._replay, store, earlier)))
            if self.prompt(earlier):
                self.commit()

    @torch.no_grad()
    def record(self, positions: torch.Tensor, forward: Forward) -> None:
        """Add a step: positions int64 [b] (-1 for padding) and its outputs, all on the device.

        Raises:
            ConfigError: at the first step, where a statistic needs what the step does not have.
        """
        if not self._checked:
            check_needs(self._statistics, forward)
            self._checked = True
        rows = []
        for statistic, width in zip(self._statistics, self._widths, strict=True):
            values = statistic.compute(forward).detach().float()
            rows.append(values[None] if values.ndim == 1 else values.T)
            assert len(rows[-1]) == width, f"{statistic.name} computes {len(rows[-1])} values, not {width}"
        self._buffer.add(positions, torch.cat(rows))

    def end_epoch(self, epoch: int, *, keep_state: bool = False) -> None:
        """Send the epoch's values to their owners, start writing them, and commit the epoch before.

        With `keep_state`, recording can resume after this epoch, which gets a model checkpoint, too. An epoch that a
        listener needs promptly is committed before this returns.
        """
        self.commit()
        parts = collectives.send_to_owners(*self._buffer.take(), self._writer.index)
        self._pending = (epoch, self._pool.submit(self._write, epoch, parts, keep_state and self.needs_state))
        if self.prompt(epoch):
            self.commit()

    def close(self) -> None:
        """Commit the last epoch, and end the background thread."""
        self.commit()
        self._pool.shutdown()

    def commit(self) -> None:
        """Wait for the last epoch's files, if they are not committed, commit them, and notify the listeners."""
        for epoch, job in self._replayed:
            job.result()
            self._tell(epoch)
        self._replayed.clear()
        if self._pending is None:
            return
        epoch, writing = self._pending
        self._pending = None
        started = time.monotonic()
        written = collectives.gather_objects(writing.result())
        if collectives.rank() == 0:
            state = [file for of_rank in written for file in of_rank.state]
            if state:
                commit_state(self._writer.location, epoch, state)
            files = [file for of_rank in written for file in of_rank.files]
            self._writer.commit(epoch, files, self._columns(epoch))
        self.commit_s = time.monotonic() - started
        self._tell(epoch)

    def _tell(self, epoch: int) -> None:
        for listener in self._listeners:
            listener.committed(epoch)

    def _columns(self, epoch: int) -> list[str]:
        return [s.name for s in self._statistics if s.stored and epoch >= s.first_epoch]

    def _write(self, epoch: int, parts: dict[int, tuple[np.ndarray, np.ndarray]], keep_state: bool) -> Written:
        written = Written([], [])
        for bucket, (positions, values) in parts.items():
            dense, seen = lay_out(self._writer.index, bucket, positions, self._named(values))
            self._last.combine(bucket, dense, seen)
            stored = {name: dense[name] for name in self._columns(epoch)}
            written.files.append(self._writer.write_dense(epoch, bucket, stored, seen))
            for listener in self._listeners:
                self._show(listener, epoch, bucket, dense, seen)
            if keep_state:
                state = above(self._last.state_dict(bucket), LAST_EPOCH)
                for listener in self._stateful:
                    state |= above(listener.state_dict(bucket), listener.name)
                written.state.append(write_state(self._writer.location, epoch, _state_name(bucket), state))
        return written

    def _named(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return [m], or [m, width], per statistic from values [columns, m]."""
        named, start = {}, 0
        for statistic, width in zip(self._statistics, self._widths, strict=True):
            named[statistic.name] = values[start] if statistic.width == 1 else values[start : start + width].T
            start += width
        return named

    def _replay(self, store: DynamicsStore, epoch: int) -> None:
        for listener in self._listeners:
            if listener.reads and listener not in self._stateful:
                for bucket in collectives.owned_buckets(self._writer.index):
                    values = read_epoch(store, bucket, listener.reads, epoch)
                    listener.update(epoch, bucket, values, complete(values))

    @staticmethod
    def _show(
        listener: EpochListener, epoch: int, bucket: int, values: Mapping[str, np.ndarray], seen: np.ndarray
    ) -> None:
        if listener.reads:
            listener.update(epoch, bucket, {name: values[name] for name in listener.reads if name in values}, seen)

    def _check_bytes(self, limit: int) -> None:
        """Raise a ConfigError where a rank would hold more beside the store than the limit."""
        index = self._writer.index
        rows = len(range(0, index.num_buckets, collectives.world_size())) * index.bucket_rows
        held = {
            statistic.name: 4 * rows * width
            for statistic, width in zip(self._statistics, self._widths, strict=True)
            if statistic.combines() or not statistic.stored
        }
        for listener in self._stateful:
            states = [listener.state_dict(bucket) for bucket in collectives.owned_buckets(index)]
            own = sum(np.asarray(value).nbytes for state in states for value in state.values())
            held[listener.name] = max(collectives.gather_objects(own))
        if sum(held.values()) > limit:
            parts = ", ".join(f"{name} {number:,}" for name, number in held.items())
            raise ConfigError(
                f"record.max_state_bytes: a worker would hold {sum(held.values()):,} bytes beside the store ({parts}), "
                f"but at most {limit:,} are allowed; record on more workers, remove the statistic, or raise the limit"
            )


def _state_name(bucket: int) -> str:
    return f"bucket={bucket:05d}"


def _grown(values: torch.Tensor, capacity: int) -> torch.Tensor:
    grown = torch.empty((*values.shape[:-1], capacity), dtype=values.dtype, device=values.device)
    grown[..., : values.shape[-1]] = values
    return grown
