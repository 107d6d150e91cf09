"""`dualprune tune`: searches for the best settings to select by, and prints the results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dualprune.cli.app import Force, Overrides, Place, Run, app

if TYPE_CHECKING:
    from dualprune.core.run import RunDirectory


@app.command()
def tune(
    place: Place,
    run: Run = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep that was interrupted.")] = False,
    max_trials: Annotated[int | None, typer.Option(min=1, help="Points to try; short for tune.num_trials.")] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Time to search, such as 600, 10m or 2h, counted from the start of this call."
        ),
    ] = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Search the settings in tune.space, and check the best on the test set."""
    from dualprune.api import resolve
    from dualprune.core.units import parse_time
    from dualprune.stages.pipeline import run_stages

    directory, settings = resolve(place, run, overrides or ())
    budget_s = None if time_budget is None else parse_time(time_budget, "--time-budget")
    [summary] = run_stages(
        directory, settings, ["tune"], force=force, resume=resume, max_trials=max_trials, time_budget_s=budget_s
    )
    show_summary(directory, summary)


def show_summary(run: RunDirectory, summary: dict[str, Any]) -> None:
    """Print the best points, the check on the test set, and where the files are."""
    from dualprune.report.comparison import comparison_in_words, comparison_table
    from dualprune.report.console import console, say
    from dualprune.report.text import points_table, sweep_in_words

    console.print(points_table(summary))
    if summary["test"]:
        console.print(comparison_table(summary["test"]))
        # Sweeps of older versions have no differences.
        found = {"summary": summary["test"], "differences": summary.get("test_differences") or []}
        for sentence in comparison_in_words(found):
            console.print(sentence, highlight=False, markup=False)
    for line in sweep_in_words(summary):
        console.print(line)
    say(f"best configuration: {run.root / 'tune' / 'best.yaml'}")
