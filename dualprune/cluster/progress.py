"""Progress bars for what workers report to a small actor or the driver itself counts; and a live table."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from dualprune.cluster.session import on_terminal
from dualprune.core.cleanup import cleaning_up
from dualprune.core.pace import Pace
from dualprune.core.units import time_text

logger = logging.getLogger(__name__)
POLL_S = 0.5
LOG_S = 10.0


class ProgressBoard:
    """The latest state that workers reported: a count and a short note."""

    def __init__(self) -> None:
        self._count: int | None = None
        self._note = ""

    def set(self, count: int, note: str = "") -> None:
        """Report that `count` items are done; the first report, before any work, says how many were done already."""
        self._count, self._note = count, note

    def state(self) -> tuple[int | None, str]:
        """Return the count, None before the first report, and the note."""
        return self._count, self._note


@contextmanager
def worker_progress(title: str, total: int) -> Iterator[Any]:
    """Yield the actor handle of a `ProgressBoard`, shown while the block runs: as a bar on a terminal, else logged."""
    import ray

    board = ray.remote(num_cpus=0)(ProgressBoard).remote()
    stop = threading.Event()
    drawer = threading.Thread(target=_draw, args=(board, title, total, stop), name="progress", daemon=True)
    drawer.start()
    try:
        yield board
    finally:
        stop.set()
        drawer.join()
        with cleaning_up("removing the board of progress"):
            ray.kill(board)


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield a function to call, perhaps with a note, when an item is done: a bar on a terminal, else logged."""
    with _Display(title, total) as display:
        counts = itertools.count(1)
        display.show(0)
        yield lambda note="": display.show(next(counts), note)


@contextmanager
def live_table(*columns: str) -> Iterator[Callable[[str, Iterable[Sequence[str]]], None] | None]:
    """Yield a function that redraws a title and rows on a terminal; elsewhere yield None."""
    if not on_terminal():
        yield None
        return
    with Live(console=Console(stderr=True), refresh_per_second=4) as live:

        def show(title: str, rows: Iterable[Sequence[str]]) -> None:
            table = Table(*columns, title=title)
            for row in rows:
                table.add_row(*map(escape, row))
            live.update(table)

        yield show


def _draw(board: Any, title: str, total: int, stop: threading.Event) -> None:
    import ray

    with _Display(title, total) as display:
        ended = False
        while not ended:
            ended = stop.wait(POLL_S)
            try:
                count, note = ray.get(board.state.remote(), timeout=10)
            except ray.exceptions.RayError:
                continue
            if count is not None:
                display.show(count, note, last=ended)


class _TimeLeft(ProgressColumn):
    """The time left; unlike Rich's own column it also knows it where a step takes more than 30 s, and counts down."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def render(self, task: Task) -> Text:
        return Text(_left(self._pace), style="progress.remaining")


def _left(pace: Pace) -> str:
    left = pace.left(time.monotonic())
    return "" if left is None else f"{time_text(left)} left"


class _Display:
    """A bar on a terminal; elsewhere an occasional line of the log, so that a job's log shows its progress."""

    def __init__(self, title: str, total: int) -> None:
        self._pace = Pace(total)
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _TimeLeft(self._pace),
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
        """Show that `count` items are done, with a note; the first call says where the work begins."""
        self._pace.note(count, time.monotonic())
        self._bar.update(self._task, completed=count, note=note)
        due = last or count == self._total or time.monotonic() - self._logged_at >= LOG_S
        if not self._drawn and count and due and (count, note) != self._logged:
            self._logged, self._logged_at = (count, note), time.monotonic()
            words = ", ".join(filter(None, [_left(self._pace) if count < self._total else "", note]))
            logger.info("%s: %d of %d%s", self._title, count, self._total, words and f", {words}")
