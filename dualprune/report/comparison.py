"""The comparison of an evaluation, as a table and in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from rich.table import Table

# What `evaluate` calls the subsets that are no selection.
FULL, RANDOM = "full", "random"


def comparison_table(summary: Iterable[dict[str, Any]]) -> Table:
    """Return the summary as a table for a terminal."""
    table = Table(title="Accuracy on the test set", title_justify="left")
    for column in ("subset", "ratio", "kept", "equal", "accuracy", "of full", "time", "of full"):
        table.add_column(column, justify="left" if column in {"subset", "equal"} else "right", no_wrap=True)
    for row in summary:
        spread = "" if row["accuracy_std"] is None else f" ± {100 * row['accuracy_std']:.1f}"
        table.add_row(
            row["subset"],
            f"{row['ratio']:.2f}",
            f"{row['kept']:,}",
            row["budget"],
            f"{row['accuracy']:.1%}{spread}",
            _share(row["relative_accuracy"]),
            f"{row['seconds']:,.1f} s",
            _share(row["relative_seconds"]),
        )
    return table


def comparison_in_words(summary: Iterable[dict[str, Any]]) -> list[str]:
    """Return one sentence per selection: how it compares with as many random samples, and with the full set."""
    rows = list(summary)
    full = next((row for row in rows if row["subset"] == FULL), None)
    random = {(row["ratio"], row["kept"], row["budget"]): row for row in rows if row["subset"] == RANDOM}
    sentences = []
    for row in rows:
        beside = random.get((row["ratio"], row["kept"], row["budget"]))
        if row["subset"] in (FULL, RANDOM) or beside is None:
            continue
        text = (
            f"{row['subset']} at equal {row['budget']}: {row['accuracy']:.1%} with {row['kept']:,} samples, "
            f"{_points(row, beside)} {row['kept']:,} random ones{_doubt(row, beside)}"
        )
        if full is not None:
            text += (
                f"; {_points(row, full)} all {full['kept']:,}, in {row['relative_seconds']:.0%} of their training time"
            )
        sentences.append(text + ".")
    return sentences


def _points(row: dict[str, Any], other: dict[str, Any]) -> str:
    difference = 100 * (row["accuracy"] - other["accuracy"])
    return f"{abs(difference):.1f} points {'above' if difference >= 0 else 'below'}"


def _doubt(row: dict[str, Any], other: dict[str, Any]) -> str:
    """Return a remark where a difference is at most twice its standard error, or where there is only one seed."""
    if row["accuracy_std"] is None or other["accuracy_std"] is None:
        return " (one seed: run more to see whether this is chance)"
    error = sqrt(row["accuracy_std"] ** 2 / row["seeds"] + other["accuracy_std"] ** 2 / other["seeds"])
    return "" if abs(row["accuracy"] - other["accuracy"]) > 2 * error else " (within the spread of the seeds)"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
