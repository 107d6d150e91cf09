"""Reads what stages wrote into a run directory, for people to look at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dualprune.core.run import RunDirectory
from dualprune.stages.evaluate.plan import FULL, RANDOM
from dualprune.stages.evaluate.summary import stored_comparison
from dualprune.stages.select.facts import FACTS, selection_facts


def stability(run: RunDirectory) -> dict[str, Any] | None:
    """Return how much scores and kept sets moved per epoch; None where recording did not measure it."""
    measured: dict[str, Any] | None = run.stability.read_record() if run.stability.exists() else None
    return measured


def selections(run: RunDirectory, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the content of `selection.json` of each named selection."""
    return [selection_facts(run, name) for name in names]


def comparison(run: RunDirectory) -> dict[str, Any]:
    """Return what `evaluation.json` holds, with `selections`: the content of `selection.json` of those compared.

    That of an older version is in today's form; a selection that was deleted since is left out.
    """
    found = stored_comparison(run)
    names = [row["subset"] for row in found["summary"] if row["subset"] not in (FULL, RANDOM)]
    there = [name for name in dict.fromkeys(names) if (run.selection(name) / FACTS).exists()]
    return {**found, "selections": selections(run, there)}
