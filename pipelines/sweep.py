"""Sweep what to select by as a Ray job: `python -m pipelines.sweep --config CONFIG --run ADDRESS`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dualprune.cli.app import Force, Overrides, Run, options
from dualprune.cli.tune import parse_time
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from pipelines.entry import ConfigFile, Verbose, finish, run_program

# A job that is submitted again, by hand or by KubeRay after a lost head, goes on: hence resume, unlike at a desk.
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Go on with a sweep that was interrupted.")]
MaxTrials = Annotated[
    int | None, typer.Option("--max-trials", min=1, help="Points of the whole sweep; short for tune.num_trials.")
]
TimeBudget = Annotated[str | None, typer.Option("--time-budget", metavar="TIME", help="Such as 600, 10m or 2h.")]


def sweep(
    config: ConfigFile,
    run: Run = None,
    overrides: Overrides = None,
    resume: Resume = True,
    max_trials: MaxTrials = None,
    time_budget: TimeBudget = None,
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Search tune.space for the best settings to select by."""

    def work(directory: RunDirectory, settings: Config, force: bool) -> dict[str, Any]:
        budget_s = None if time_budget is None else parse_time(time_budget)
        from dualprune.stages.tune import run_tune

        return run_tune(directory, settings, resume=resume, force=force, max_trials=max_trials, time_budget_s=budget_s)

    options(verbose=verbose, quiet=False)
    finish("sweep", config, run, overrides, force, work)


if __name__ == "__main__":
    run_program(sweep)
