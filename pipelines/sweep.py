"""Search for the best selection settings as a Ray job: `python -m pipelines.sweep --config CONFIG --run ADDRESS`."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.units import parse_time
from dualprune.report.console import log_to_terminal
from dualprune.stages.pipeline import run_stages
from pipelines.entry import ConfigFile, Force, Overrides, Run, Verbose, finish, run_program

# Unlike `dualprune tune`, resume by default: a person or KubeRay submits a job again to resume it.
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
    """Search tune.space for the best selection settings."""

    def work(directory: RunDirectory, settings: Config, force: bool) -> dict[str, Any]:
        options = {
            "resume": resume,
            "max_trials": max_trials,
            "time_budget_s": None if time_budget is None else parse_time(time_budget, "--time-budget"),
        }
        [summary] = run_stages(directory, settings, ["tune"], force=force, **options)
        return cast(dict[str, Any], summary)

    log_to_terminal(verbose=verbose)
    finish("sweep", config, run, overrides, force, work)


if __name__ == "__main__":
    run_program(sweep)
