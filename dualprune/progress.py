"""Progress bars: of what workers report to a small actor, and of what the driver sees coming in itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dualprune.ray_session import on_terminal

logger = logging.getLogger(__name__)
POLL_S = 0.5


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
    """Give an actor handle of a `ProgressBoard`, drawn as a bar while the block runs, and logged without a terminal."""
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
    """Give a function to call here when one more item is done; a bar, without an actor."""
    with _bar() as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda: bar.advance(task)


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True), disable=not on_terminal())


def _draw(board: Any, title: str, total: int, stop: threading.Event) -> None:
    before = ("", -1)
    with _bar() as bar:
        task = bar.add_task(title, total=total, note="")
        ended = False
        while not ended:
            ended = stop.wait(POLL_S)
            try:
                count, note = ray.get(board.state.remote(), timeout=10)
            except ray.exceptions.RayError:
                continue
            bar.update(task, completed=count, note=note)
            if (note, count) != before and count:
                before = (note, count)
                logger.debug("%s: %d of %d %s", title, count, total, note)
