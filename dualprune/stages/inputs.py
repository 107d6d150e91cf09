"""The fingerprints of each result's inputs: a stage enters with them, and `status` compares them.

A result is outdated when the fingerprints in its manifest are no longer those that these functions return.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dualprune.core.run import RunDirectory
from dualprune.core.storage import fingerprint

if TYPE_CHECKING:
    from dualprune.dynamics.store import DynamicsStore


def score_inputs(store: DynamicsStore, epochs: Sequence[int]) -> list[str]:
    """Return the fingerprint of the recorded files of `epochs`, from which scores are computed."""
    return [fingerprint([store.index.fingerprint, *(store.commits[epoch]["files"] for epoch in epochs)])]


def select_inputs(run: RunDirectory, score: str) -> list[str]:
    """Return the fingerprint of the scores to select by; a RunError where they are missing.

    The select stage adds the fingerprints of its id files, which `status` does not read.
    """
    return [run.require(f"score.{score}", "score")["fingerprint"]]


def selection_inputs(run: RunDirectory, names: Sequence[str]) -> list[str]:
    """Return the fingerprints of selections, to export or evaluate; a RunError names a missing one."""
    return [run.require(f"select.{name}", "select")["fingerprint"] for name in names]
