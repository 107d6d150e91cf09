"""Progress of what runs on other processes: workers report to a small actor, the driver draws a bar from it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dualprune.ray_session import on_terminal

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


def _draw(board: Any, title: str, total: int, stop: threading.Event) -> None:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    drawn = on_terminal()
    before, logged_at = ("", -1), -math.inf
    with Progress(*columns, console=Console(stderr=True), disable=not drawn) as bar:
        task = bar.add_task(title, total=total, note="")
        ended = False
        while not ended:
            ended = stop.wait(POLL_S)
            try:
                count, note = ray.get(board.state.remote(), timeout=10)
            except ray.exceptions.RayError:
                continue
            bar.update(task, completed=count, note=note)
            # The log of a job is where one looks how far it is.
            due = ended or time.monotonic() - logged_at >= LOG_S
            if not drawn and count and due and (note, count) != before:
                before, logged_at = (note, count), time.monotonic()
                logger.info("%s: %d of %d %s", title, count, total, note)
