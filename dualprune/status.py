"""Tells what a run directory holds: which stages are done, which are not, and what they cost."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from dualprune.errors import RunError
from dualprune.pipeline import STAGES
from dualprune.run import RunDirectory


def stage_states(run: RunDirectory) -> list[dict[str, Any]]:
    """Return a row a stage, in order: key, state (done, unfinished or missing), seconds and summary."""
    manifests = run.manifests()
    if not manifests and not (run.root / "config.yaml").exists():
        raise RunError(f"{run} is not a run directory: it has no manifests; start one by `dualprune prune`")
    rows = []
    # A sweep is no stage of `prune`: it is not missing where there is none.
    for stage in ("index", *STAGES, *(["tune"] if "tune" in manifests else [])):
        keys = [key for key in manifests if key == stage or key.startswith(f"{stage}.")]
        for key in keys:
            manifest = manifests[key]
            rows.append(
                {
                    "stage": key,
                    "state": "done" if manifest["status"] == "done" else "unfinished",
                    "seconds": manifest["seconds"],
                    "summary": manifest["summary"],
                }
            )
        if not keys:
            rows.append({"stage": stage, "state": "missing", "seconds": None, "summary": {}})
    return rows


def status_table(run: RunDirectory) -> Table:
    """Return the states as a table for a terminal."""
    table = Table(title=str(run))
    for column in ("stage", "state", "seconds", "what"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    for row in stage_states(run):
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
        what = ", ".join(f"{name} {_short(value)}" for name, value in row["summary"].items())
        table.add_row(row["stage"], row["state"], seconds, what)
    return table


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(f"{name} {_short(item)}" for name, item in value.items() if item)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
