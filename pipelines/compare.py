"""Compare selections as a Ray job: `python -m pipelines.compare --config CONFIG --run ADDRESS`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.report import facts
from dualprune.report.comparison import comparison_in_words, comparison_table
from dualprune.stages.grid import run_grid
from pipelines.entry import entry_point

# A job's log is not a terminal: without a width, rich would cut the table at 80 columns.
WIDTH = 120


def compare(run: RunDirectory, config: Config, force: bool) -> dict[str, Any]:
    """Select by every configured method and ratio, train on each kept set, and print the comparison."""
    rows = run_grid(run, config, force=force)
    console = Console(width=WIDTH)
    console.print(comparison_table(rows))
    for sentence in comparison_in_words(facts.comparison(run)):
        console.print(sentence, highlight=False, markup=False)
    return {"table": rows, "place": str(run.evaluation)}


if __name__ == "__main__":
    entry_point("compare", compare)
