"""Watches trials on the driver: writes the log of those that ended, and shows the latest on a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune

from dualprune.cluster.progress import live_table
from dualprune.stages.tune.space import Point
from dualprune.stages.tune.trial import point_of, reported
from dualprune.stages.tune.trial_log import FAILED, FINISHED, STOPPED, Record, TrialLog, accuracy_text, point_text

logger = logging.getLogger(__name__)
SHOWN = 20


class LogWriter(tune.Callback):  # type: ignore[misc]
    """Writes the record of each trial when it ends."""

    def __init__(self, log: TrialLog, time_budget_s: float | None) -> None:
        self._log = log
        self._give_up = float("inf") if time_budget_s is None else time.monotonic() + time_budget_s

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Log a trial that finished, or that the scheduler stopped."""
        result = trial.last_result or {}
        if "objective" not in result:
            return
        point = point_of(trial.config)
        if result.get("repeated"):
            known = self._log.find(point)
            assert known is not None, "a repeated trial has a record"
            self._log.write({**known, "suggested": known["suggested"] + 1})
            return
        if not result["finished"] and time.monotonic() >= self._give_up:
            # Its time was up: the next session trains it again.
            return
        state = FINISHED if result["finished"] else STOPPED
        # Concurrent trials may have the same point, as neither could know of the other.
        known = self._log.find(point)
        self._log.write(self._record(point, state, reported(result), known["suggested"] if known else 0))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Log a trial that failed more often than allowed."""
        error = _last_error(trial)
        point = point_of(trial.config)
        self._log.write(self._record(point, FAILED, {"error": error}))
        logger.warning("trial failed: %s: %s", point_text(point), error)

    def _record(self, point: Point, state: str, values: dict[str, Any], suggested_before: int = 0) -> Record:
        return {
            "key": self._log.key(point),
            "point": point,
            "state": state,
            **reported({}),
            "error": None,
            **values,
            "suggested": suggested_before + 1,
            "ended_at": time.time(),
        }


class TrialProgress(tune.Callback):  # type: ignore[misc]
    """Shows the trials with `show`; without it, logs a line per trial."""

    def __init__(self, total: int, show: Callable[..., None] | None) -> None:
        self._total, self._draw = total, show
        self._rows: dict[str, tuple[str, str, str]] = {}
        self._ended = 0

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show it as running."""
        self._show(trial, "", "running")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Show its accuracy so far."""
        self._show(trial, accuracy_text(result), f"epoch {result['progress']:g}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show how it ended."""
        result = trial.last_result or {}
        state = "repeated" if result.get("repeated") else FINISHED if result.get("finished") else STOPPED
        self._end(trial, accuracy_text(result), state)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show that it failed."""
        self._end(trial, "", FAILED)

    def _end(self, trial: Any, accuracy: str, state: str) -> None:
        self._ended += 1
        self._show(trial, accuracy, state)
        if self._draw is None:
            text = point_text(point_of(trial.config))
            logger.info("trial %d of %d %s: %s %s", self._ended, self._total, state, text, accuracy)

    def _show(self, trial: Any, accuracy: str, state: str) -> None:
        if self._draw is None:
            return
        self._rows.pop(trial.trial_id, None)
        self._rows[trial.trial_id] = (point_text(point_of(trial.config)), accuracy, state)
        self._draw(f"{self._ended} of {self._total} trials", list(self._rows.values())[-SHOWN:])


def _last_error(trial: Any) -> str:
    """Return the last line of a failed trial's traceback, which has the reason."""
    # Ray Tune has just written it on this machine; `get_error` reads the storage, where it is copied only later.
    file = trial.error_file
    lines = Path(file).read_text().strip().splitlines() if file and Path(file).exists() else []
    return lines[-1] if lines else "for an unknown reason"


@contextmanager
def trial_progress(total: int) -> Iterator[TrialProgress]:
    """Yield the callback, with a table that is drawn on a terminal while the block runs."""
    with live_table("point", "validation accuracy", "state") as show:
        yield TrialProgress(total, show)
