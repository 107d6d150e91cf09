"""The comparison of an evaluation, as a table and in sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import ceil
from typing import Any

from rich import box
from rich.table import Table

from dualprune.report.wording import count_of
from dualprune.stages.evaluate.plan import FULL, RANDOM
from dualprune.stages.select.shares import thin_in_words

Row = Mapping[str, Any]
# With fewer seeds, even large differences drown in their intervals.
FEW_SEEDS = 5
# The part of a full training's visits that a training must save before it is said to pay.
LEAST_SAVING = 0.05


def comparison_table(summary: Iterable[Row]) -> Table:
    """Return the summary as a table for a terminal."""
    table = Table(
        title="Accuracy on the test set",
        title_justify="left",
        caption="± standard deviation over seeds; seconds are those of this machine, whatever else it was doing",
        caption_justify="left",
        # Nine columns with borders are wider than many terminals.
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in ("subset", "ratio", "kept", "equal", "accuracy", "of full", "visits", "steps", "seconds"):
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
            _whole(row.get("visits")),
            _whole(row.get("steps")),
            f"{row['seconds']:,.1f}",
        )
    return table


def comparison_in_words(found: Mapping[str, Any]) -> list[str]:
    """Return what `facts.comparison` found in sentences: each selection, how sure that is, and what pruning cost."""
    rows, differences = found["summary"], found["differences"]
    sentences = [
        _selection_in_words(row, [other for other in differences if _place(other) == _place(row)])
        for row in rows
        if row["subset"] not in (FULL, RANDOM)
    ]
    fixed = {facts["name"] for facts in found.get("selections", ()) if not _by_chance(facts)}
    sentences += _doubts_in_words(rows, differences, fixed)
    if found.get("cost"):
        sentences += _cost_in_words(found["cost"], rows)
    sentences += [text for facts in found.get("selections", ()) for text in thin_in_words(facts)]
    return sentences


def _selection_in_words(row: Row, differences: Iterable[Row]) -> str:
    text = f"{row['subset']} at equal {row['budget']}: {row['accuracy']:.1%} with {row['kept']:,} samples"
    names = {RANDOM: "as many random ones", FULL: "all samples"}
    parts = [text, *(_difference_in_words(other, names[other["to"]]) for other in differences)]
    costs = [
        f"{row[f'relative_{name}']:.0%} of {words}"
        for name, words in (("visits", "the sample visits"), ("steps", "the optimizer steps"))
        if row.get(f"relative_{name}") is not None
    ]
    if costs:
        parts.append(f"trained with {' and '.join(costs)} of a training on all")
    return "; ".join(parts) + "."


def _difference_in_words(found: Row, other: str) -> str:
    points = 100 * found["difference"]
    size = f"{abs(points):.1f} points {'above' if points >= 0 else 'below'}"
    if found["low"] is None:
        why = "one seed" if min(found["seeds"]) == 1 else "no spread over the seeds"
        return f"{size} {other} ({why}: no claim)"
    low, high = 100 * found["low"], 100 * found["high"]
    if found["distinguishable"]:
        return f"{size} {other} (interval {low:+.1f} to {high:+.1f})"
    return f"not distinguishable from {other} ({points:+.1f} points, interval {low:+.1f} to {high:+.1f})"


def _doubts_in_words(rows: Iterable[Row], differences: Iterable[Row], fixed: Collection[str]) -> list[str]:
    """Return what the intervals are, and what they leave out; a draw of the `fixed` selections has no chance."""
    known = [one for one in differences if one["low"] is not None]
    sentences = []
    if known:
        pairs = "pairs of equal seeds" if all(one["test"] == "paired" for one in known) else "the seeds (Welch)"
        most = max(one["family"] for one in known)
        wider = f", widened for the {most} comparisons of a kind (Holm)" if most > 1 else ""
        sentences.append(f"Intervals are 95 % by Student's t over {pairs}{wider}.")
        fewest = min(min(one["seeds"]) for one in known)
        if fewest < FEW_SEEDS:
            sentences.append(
                f"With {fewest} seeds only large differences can be told from chance; evaluate.seeds: {FEW_SEEDS} or "
                "more narrows the intervals."
            )
    drawn_once = dict.fromkeys(
        row["subset"]
        for row in rows
        if row["subset"] not in (FULL, RANDOM, *fixed) and row["seeds"] > 1 and row.get("draws") == 1
    )
    if drawn_once:
        sentences.append(
            f"{', '.join(drawn_once)}: one draw, trained with every seed, so the intervals leave out the chance of the "
            "draw (evaluate.redraw: true draws anew for each seed)."
        )
    return sentences


def _by_chance(selection: Row) -> bool:
    # Selections of older versions do not say so; all their samplers drew by chance but two.
    found: bool = selection.get("by_chance", selection["method"] not in ("top_k", "threshold"))
    return found


def _cost_in_words(cost: Row, rows: Iterable[Row]) -> list[str]:
    """Return what pruning cost before any training on a kept set, and after how many of them it has paid."""
    full = next((row for row in rows if row["subset"] == FULL), None)
    selected = [row for row in rows if row["subset"] not in (FULL, RANDOM)]
    sentences = []
    if cost["visits"] is None:
        sentences.append("The dynamics were imported, so that what recording them cost is not known.")
    else:
        share = f", {cost['visits'] / full['visits']:.0%} of a training on all" if full and full["visits"] else ""
        text = f"Pruning cost {cost['visits']:,} sample visits ({cost['steps']:,} optimizer steps) of recording{share}."
        if full is not None and full["visits"]:
            paid = [_paid_in_words(cost["visits"], row, full) for row in selected if row["visits"]]
            text += f" {'; '.join(paid)}." if paid else ""
        sentences.append(text)
    clock = [("recording", cost["record_s"]), ("scoring", cost["score_s"]), ("selecting", cost["select_s"])]
    took = ", ".join(f"{name} {seconds:,.1f} s" for name, seconds in clock if seconds is not None)
    trained = "" if full is None else f"; a training on all {full['seconds']:,.1f} s"
    sentences.append(f"On the clock, which whatever else ran moves and which includes starts: {took}{trained}.")
    return sentences


def _paid_in_words(cost: float, row: Row, full: Row) -> str:
    saved = full["visits"] - row["visits"]
    name = f"{row['subset']} at equal {row['budget']}"
    # Short last steps alone save a little at equal steps.
    if saved < LEAST_SAVING * full["visits"]:
        return f"{name} saves hardly any visits, so it does not pay"
    return f"{name} pays after {count_of(ceil(cost / saved), 'training')}"


def _place(row: Row) -> tuple[Any, ...]:
    return row["subset"], row["ratio"], row["kept"], row["budget"]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
