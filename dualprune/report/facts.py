"""Reads what stages wrote into a run directory, for people to look at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dualprune.core.run import RunDirectory
from dualprune.stages.select.facts import selection_facts


def stability(run: RunDirectory) -> dict[str, Any] | None:
    """Return how much scores and kept sets moved per epoch; None where recording did not measure it."""
    measured: dict[str, Any] | None = run.stability.read_record() if run.stability.exists() else None
    return measured


def selections(run: RunDirectory, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the content of `selection.json` of each named selection."""
    return [selection_facts(run, name) for name in names]


def comparison(run: RunDirectory) -> list[dict[str, Any]]:
    """Return one row per subset and budget that `evaluate` trained on."""
    rows: list[dict[str, Any]] = list(run.evaluation.read_record().records("summary"))
    return rows
