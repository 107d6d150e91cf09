"""Records statistics while training: (positions, logits, targets) of each step in, committed epochs out.

A step costs a few kernels on the device and no synchronisation. At the end of an epoch the values travel to the owners
of their buckets; each owner writes its files, and brings its running scores up to date, in a background thread while
the next epoch trains.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from dualprune.core.storage import FileRecord
from dualprune.dynamics.statistics.builtin import compute_statistics
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.stages.score.running import RunningScores
from dualprune.training import collectives


class EpochBuffer:
    """What one rank saw in one epoch, held on the device.

    It is made for `capacity` rows and grows where more come; rows are added in place, without a look at their values.
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
        """Return positions [m] and values [columns, m] without padding, and start anew."""
        positions, values = self._positions[: self._used], self._values[:, : self._used]
        self._used = 0
        real = positions >= 0
        return positions[real], values[:, real]


class EpochRecorder:
    """One rank's part in recording. Every method is called by every rank alike.

    `commit_s` is for how many seconds the last commit held this rank up: the wait for all ranks' files, and the record.
    """

    def __init__(
        self, writer: DynamicsWriter, capacity: int, device: torch.device, scores: RunningScores | None = None
    ) -> None:
        self._writer = writer
        self._scores = scores
        self._buffer = EpochBuffer(len(writer.columns), capacity, device)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dynamics-writer")
        self.commit_s = 0.0
        self._pending: tuple[int, Future[list[FileRecord]]] | None = None
        self._replays: list[Future[None]] = []

    def replay(self, store: DynamicsStore, epoch: int) -> None:
        """Bring the running scores up to a committed epoch of the store, the next one, in the background."""
        if self._scores is not None:
            self._replays.append(self._pool.submit(self._scores.replay, store, epoch))

    def record(self, positions: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Add a step: positions int64 [b] (-1 for padding), logits [b, K], targets int64 [b], all on the device."""
        self._buffer.add(positions, compute_statistics(self._writer.columns, logits, targets))

    def end_epoch(self, epoch: int) -> None:
        """Send the epoch's values to their owners, start writing them, and commit the epoch before."""
        self.commit()
        parts = collectives.send_to_owners(*self._buffer.take(), self._writer.index)
        self._pending = (epoch, self._pool.submit(self._write, epoch, parts))

    def close(self) -> None:
        """Commit the last epoch, and end the background thread."""
        self.commit()
        self._pool.shutdown()

    def _write(self, epoch: int, parts: dict[int, tuple[np.ndarray, np.ndarray]]) -> list[FileRecord]:
        files = []
        for bucket, part in parts.items():
            dense, seen = self._writer.lay_out(bucket, *part)
            files.append(self._writer.write_dense(epoch, bucket, dense, seen))
            if self._scores is not None:
                self._scores.update(epoch, bucket, dense)
        return files

    def commit(self) -> None:
        """Wait for the last epoch's files, if they are not committed, and commit them; the running scores have it."""
        for job in self._replays:
            job.result()
        self._replays.clear()
        if self._pending is None:
            return
        epoch, written = self._pending
        self._pending = None
        started = time.monotonic()
        files = [file for files in collectives.gather_objects(written.result()) for file in files]
        if collectives.rank() == 0:
            self._writer.commit(epoch, files)
        self.commit_s = time.monotonic() - started


def _grown(values: torch.Tensor, capacity: int) -> torch.Tensor:
    grown = torch.empty((*values.shape[:-1], capacity), dtype=values.dtype, device=values.device)
    grown[..., : values.shape[-1]] = values
    return grown
