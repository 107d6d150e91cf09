"""The tune stage: searches `tune.space` for the best settings to select by, and checks them on the test set."""

from __future__ import annotations

from typing import Any

from dualprune.config import Config
from dualprune.run import RunDirectory


def run_tune(
    run: RunDirectory,
    config: Config,
    *,
    resume: bool = False,
    force: bool = False,
    max_trials: int | None = None,
    time_budget_s: float | None = None,
) -> dict[str, Any]:
    """Search the space of `config.tune`, recording first where that is not done; returns what `tune/summary.json` holds.

    With `resume`, a sweep that was interrupted, or that is to have more trials, goes on; with `force`, it begins anew.
    `max_trials` and `time_budget_s` stand in for `tune.num_trials` and `tune.time_budget_s`.
    """
    raise NotImplementedError
