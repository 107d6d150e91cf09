"""`dualprune tune`: searches for the best settings to select by, and prints what came out."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.table import Table

from dualprune.cli.app import Force, Overrides, Place, Run, app, console, resolve
from dualprune.core.run import RunDirectory
from dualprune.errors import UserError

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@app.command()
def tune(
    place: Place,
    run: Run = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the trials that are there.")] = False,
    max_trials: Annotated[int | None, typer.Option(min=1, help="Points to try; short for tune.num_trials.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time to search, such as 600, 10m or 2h; begins with each call.")
    ] = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Search the settings in tune.space, and check the best on the test set."""
    directory, settings = resolve(place, run, overrides)
    budget_s = None if time_budget is None else parse_time(time_budget)
    from dualprune.stages.tune import run_tune

    summary = run_tune(directory, settings, resume=resume, force=force, max_trials=max_trials, time_budget_s=budget_s)
    show_summary(directory, summary)


def parse_time(text: str) -> float:
    """Return seconds of a time such as `600`, `90s`, `10m` or `1.5h`."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smhd]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UserError(f"--time-budget {text}: expected a time above 0, such as 600, 90s, 10m or 2h")
    return float(match[1]) * _UNITS_S[match[2]]


def show_summary(run: RunDirectory, summary: dict[str, Any]) -> None:
    """Print the best points, the check on the test set, and where the files are."""
    from dualprune.stages.evaluate.stage import comparison_table
    from dualprune.stages.tune.watch import accuracy_text, point_text

    table = Table("point", "ratio", "validation accuracy", title=f"Best points ({summary['objective']})")
    for point in summary["best"]:
        table.add_row(point_text(point["parameters"]), f"{point['ratio']:g}", accuracy_text(point))
    console.print(table)
    if summary["importance"]:
        shares = sorted(summary["importance"].items(), key=lambda item: -item[1])
        console.print("importance: " + ", ".join(f"{key} {share:.0%}" for key, share in shares))
    if summary["test"]:
        console.print(comparison_table(summary["test"]))
    counts = ", ".join(f"{number} {state}" for state, number in summary["num_trials"].items() if number)
    overhead = summary["overhead_s_median"]
    beyond = "" if overhead is None else f", {overhead:.2f} s a trial beyond training"
    console.print(f"trials: {counts}; {summary['searched_s']:.0f} s{beyond}")
    console.print(f"best configuration: {run.root / 'tune' / 'best.yaml'}", soft_wrap=True)
