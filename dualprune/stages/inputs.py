"""The fingerprints of each result's inputs: a stage enters with them, and `status` compares them.

A result is outdated when the fingerprints in its manifest are no longer those that these functions return.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dualprune.core.run import RunDirectory
from dualprune.core.storage import fingerprint
from dualprune.dynamics.columns import ColumnStore
from dualprune.stages.methods import columns_read, run_and_score, scores_read

if TYPE_CHECKING:
    from dualprune.dynamics.store import DynamicsStore
    from dualprune.scores.score import ColumnScore
    from dualprune.training.measurements import Measurement


def measure_inputs(run: RunDirectory, measurement: Measurement) -> list[str]:
    """Return the fingerprint of the index and, where a measurement reads the recorded model, of the recording.

    Those of files that its options name follow.
    """
    inputs = [run.require("index", "record")["fingerprint"]]
    if measurement.reads_model:
        recorded = run.require("record", "record")
        # The model as it is after the last recorded epoch.
        inputs += [recorded["fingerprint"], str(recorded["summary"]["epochs"])]
    return inputs + measurement.own_inputs()


def score_inputs(store: DynamicsStore, epochs: Sequence[int]) -> list[str]:
    """Return the fingerprint of the recorded files of `epochs`, from which scores are computed."""
    files = [[_content(file) for file in store.commits[epoch]["files"]] for epoch in epochs]
    return [fingerprint([store.index.fingerprint, *files])]


def _content(file: Mapping[str, Any]) -> dict[str, Any]:
    # The time differs between equal runs.
    return {key: value for key, value in file.items() if key != "modified"}


def column_score_inputs(run: RunDirectory, name: str, method: ColumnScore) -> list[str]:
    """Return the fingerprints of the columns and scores that a method reads; a RunError names a missing one.

    The score stage puts those of the recorded epochs before them.
    """
    columns = ColumnStore(run)
    inputs = [str(columns.record(column)["fingerprint"]) for column in columns_read({name: method})]
    for read in scores_read(method):
        place, other = run_and_score(run, read)
        inputs.append(place.require(f"score.{other}", "score")["fingerprint"])
    return inputs


def select_inputs(run: RunDirectory, score: str, others: Sequence[str] = ()) -> list[str]:
    """Return the fingerprints of the scores to select by, and others that the sampler reads; a RunError names a lack.

    The select stage adds the fingerprints of its id files, which `status` does not read.
    """
    return [run.require(f"score.{name}", "score")["fingerprint"] for name in (score, *others)]


def selection_inputs(run: RunDirectory, names: Sequence[str]) -> list[str]:
    """Return the fingerprints of selections, to export or evaluate; a RunError names a missing one."""
    return [run.require(f"select.{name}", "select")["fingerprint"] for name in names]
