"""Progress bars: of what workers report to a small actor, and of what the driver sees coming in itself."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dualprune.cluster.session import on_terminal

logger = logging.getLogger(__name__)
POLL_S = 0.5
LOG_S = 10.0


class ProgressBoard:
    """The latest state that workers reported: a count and a few words."""

    def __init__(self) -> None:
        self._count = 0
        self._note = ""

    def set(self, count: int, note: str = "") -> None:
        """Say that `count` items are done."""
        self._count, self._note = count, note

    def add(self, note: str = "") -> None:
        """Say that one more item is done."""
        self._count, self._note = self._count + 1, note

    def state(self) -> tuple[int, str]:
        """Return the count and the note."""
        return self._count, self._note


@contextmanager
def shown(title: str, total: int) -> Iterator[Any]:
    """Give an actor handle of a `ProgressBoard` while the block runs: a bar on a terminal, else lines of the log."""
    board = ray.remote(num_cpus=0)(ProgressBoard).remote()
    stop = threading.Event()
    drawer = threading.Thread(target=_draw, args=(board, title, total, stop), name="progress", daemon=True)
    drawer.start()
    try:
        yield board
    finally:
        stop.set()
        drawer.join()
        ray.kill(board)


@contextmanager
def counted(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Give a function to call here when one more item is done: a bar or lines of the log, without an actor."""
    with _Display(title, total) as display:
        counts = itertools.count(1)
        yield lambda: display.show(next(counts))


def _draw(board: Any, title: str, total: int, stop: threading.Event) -> None:
    with _Display(title, total) as display:
        ended = False
        while not ended:
            ended = stop.wait(POLL_S)
            try:
                count, note = ray.get(board.state.remote(), timeout=10)
            except ray.exceptions.RayError:
                continue
            display.show(count, note, last=ended)


class _Display:
    """A bar on a terminal; without one, a line of the log now and then, where one looks how far a job is."""

    def __init__(self, title: str, total: int) -> None:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._title, self._total, self._drawn = title, total, on_terminal()
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not self._drawn)
        self._task = self._bar.add_task(title, total=total, note="")
        self._logged, self._logged_at = (0, ""), -math.inf

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, count: int, note: str = "", last: bool = False) -> None:
        """Show that `count` items are done."""
        self._bar.update(self._task, completed=count, note=note)
        due = last or count == self._total or time.monotonic() - self._logged_at >= LOG_S
        if not self._drawn and count and due and (count, note) != self._logged:
            self._logged, self._logged_at = (count, note), time.monotonic()
            logger.info("%s: %d of %d %s", self._title, count, self._total, note)
