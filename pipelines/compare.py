"""Compare selections as a Ray job: `python -m pipelines.compare --config CONFIG --run ADDRESS`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.stages.evaluate.grid import run_grid
from pipelines.entry import entry_point

# A job's log is no terminal: without a width of its own the table would be cut at 80 columns.
WIDTH = 120


def compare(run: RunDirectory, config: Config, force: bool) -> dict[str, Any]:
    """Select by every configured method and ratio, train on each kept set, and print the comparison."""
    from dualprune.stages.evaluate.stage import comparison_table

    rows = run_grid(run, config, force=force)
    Console(width=WIDTH).print(comparison_table(rows))
    return {"table": rows, "place": str(run.evaluation)}


if __name__ == "__main__":
    entry_point("compare", compare)
