"""Facts as tables for a terminal: the states of a run, how its scores settled, what a sweep found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from dualprune.core.units import time_text
from dualprune.stages.status import total_seconds
from dualprune.stages.tune.trial_log import accuracy_text, point_text

# The number of items of a list that are shown.
FEW = 5
# Stages that share less time than this are not worth a remark.
SHARED_S = 0.1


def status_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the states of the stages, one row each, with what they cost together."""
    table = Table()
    for column in ("stage", "state", "seconds", "what"):
        table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:,.1f}"
        what = ", ".join(_in_words(name, value) for name, value in row["summary"].items() if value is not None)
        table.add_row(row["stage"], row["state"], seconds, what)
    table.add_section()
    total = total_seconds(rows)
    shared = sum(row["seconds"] or 0.0 for row in rows) - total > SHARED_S
    table.add_row("all", "", f"{total:,.1f}", "time that stages share counts once" if shared else "")
    return table


def stability_table(measured: Mapping[str, Any]) -> Table:
    """Return how much scores and kept sets moved, one row per epoch, from `facts.stability`."""
    rule, settled = measured["rule"], measured["settled"]
    looked_at = f"{measured['samples']:,} of {measured['of_samples']:,} samples"
    score, sampler, lag = measured["score"], measured["sampler"], rule["lag"]
    if "recent" in measured:
        # Several lines: a title is wrapped at the width of its table.
        title = (
            f"{score} scores: the newest {measured['recent']} epochs against older\n"
            f"{sampler} selections: against {lag} epochs before\n({looked_at})"
        )
    else:
        # Older versions compared running scores, which agree more the longer they run.
        title = f"{score} running scores and {sampler} selections against {lag} epochs before ({looked_at})"
    table = Table(title=title, caption="not settled" if settled is None else f"settled by epoch {settled}")
    table.add_column("epoch", justify="right")
    table.add_column(f"correlation (≥ {rule['correlation']:g})", justify="right")
    for ratio in measured["ratios"]:
        table.add_column(f"overlap at {ratio:g} (≥ {rule['overlap']:g})", justify="right")
    for row in measured["epochs"]:
        overlaps = (f"{overlap:.3f}" for overlap in row["overlap"].values())
        table.add_row(str(row["epoch"]), f"{row['correlation']:.3f}", *overlaps)
    return table


def selection_in_words(facts: Mapping[str, Any]) -> str:
    """Return how many samples a selection keeps, from what `selection.json` holds."""
    # Selections of older versions do not tell.
    preset = {"authors-code": ", preset authors-code", "paper": ", preset paper, not verified"}.get(
        facts.get("preset", ""), ""
    )
    return (
        f"kept {facts['num_kept']:,} of {facts['num_samples']:,} samples "
        f"(ratio {facts['ratio']:g}, {facts['method']} on {facts['score_method']}{preset})"
    )


def points_table(summary: Mapping[str, Any]) -> Table:
    """Return the best points of a sweep, from what `tune/summary.json` holds."""
    table = Table(
        *("point", "ratio", "validation accuracy"),
        title=f"Best points ({summary['objective']})",
        caption="The recorded model had trained on the validation samples, too, and the best of many trials is the "
        "luckiest: quote the check on the test set.",
        caption_justify="left",
    )
    for point in summary["best"]:
        table.add_row(point_text(point["parameters"]), f"{point['ratio']:g}", accuracy_text(point))
    return table


def sweep_in_words(summary: Mapping[str, Any]) -> list[str]:
    """Return what a sweep found and what it cost, one sentence each, from what `tune/summary.json` holds."""
    lines = []
    if summary["importance"]:
        shares = sorted(summary["importance"].items(), key=lambda item: -item[1])
        lines.append("importance: " + ", ".join(f"{key} {share:.0%}" for key, share in shares))
    counts = ", ".join(f"{number} {state}" for state, number in summary["num_trials"].items() if number)
    overhead = summary["overhead_s_median"]
    beyond = "" if overhead is None else f", {overhead:.2f} s per trial beyond training"
    lines.append(f"trials: {counts}; {summary['searched_s']:.0f} s{beyond}")
    return lines


def _in_words(name: str, value: Any) -> str:
    if name == "skipped":
        first = ", ".join(value["first"])
        return f"{value['count']:,} images skipped" + (f" ({first})" if first else "")
    if name == "left_s":
        return f"{time_text(value)} left"
    return f"{name.removeprefix('num_').replace('_per_s', '/s').replace('_', ' ')} {_number(name, value)}"


def _number(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if name.endswith("accuracy") else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value[:FEW])) + (f" and {len(value) - FEW:,} more" if len(value) > FEW else "")
    if isinstance(value, dict):
        return ", ".join(f"{key} {_number(key, item)}" for key, item in value.items())
    return str(value)
