"""Imports dynamics that were recorded elsewhere: afterwards score, select and export work as for a recorded run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dualprune.core.arguments import check_choice
from dualprune.core.arrays import Axes, size_text
from dualprune.core.cleanup import cleaning_up
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.errors import DataError
from dualprune.exchange.long import is_long, to_wide
from dualprune.exchange.parquet_set import ParquetSet
from dualprune.exchange.recorded import TARGET_PROB, Recorded, from_arrays, open_arrays
from dualprune.exchange.repeats import Repeated
from dualprune.exchange.room import check_apart, check_room, scratch_of
from dualprune.exchange.wide import RecordedWide
from dualprune.exchange.writing import Missing, check_recorded, config_of, on_cluster, write_run

logger = logging.getLogger(__name__)

Place = RunDirectory | Location | str | os.PathLike[str]


def import_dynamics(
    target_prob: Any,
    run: Place,
    *,
    sample_ids: Any | None = None,
    labels: Any | None = None,
    statistics: Mapping[str, Any] | None = None,
    axes: Axes | None = None,
    config: Mapping[str, Any] | None = None,
    missing: Missing = "raise",
    force: bool = False,
) -> RunDirectory:
    """Make a run from dynamics that a loop of your own recorded, to score and select from.

    Args:
        target_prob: [T, N] probabilities of the target class, epochs by samples: a numpy array, a tensor of any type on
            any device, or nested lists.
        run: the run directory to make.
        sample_ids: [N] unique whole numbers or strings; None: 0 … N-1.
        labels: [N] whole numbers from 0, or strings; None: no labels.
        statistics: further statistics by name, such as loss, each [T, N].
        axes: "TN", epochs by samples, or "NT", samples by epochs, of all arrays; None: [T, N], where more epochs than
            samples are an error unless the number of ids or labels confirms them.
        config: configuration values, such as {"score": {"options": {"dual": {"window": 5}}}}.
        missing: "raise": a NaN is an error; "keep": it stands for a value that is not there.
        force: replace the dynamics that the run directory holds.

    Raises:
        DataError: shapes that do not fit, ids that are not unique, values that are out of range or missing.
        RunError: the directory holds a run already, or something else.
        ConfigError: a value of `config` or an argument is wrong.
    """
    _check_choices(axes, missing)
    given = {TARGET_PROB: target_prob}
    if statistics and TARGET_PROB in statistics:
        raise DataError(f"{TARGET_PROB} is an argument of its own; remove it from `statistics`")
    recorded = from_arrays("arrays", {**given, **(statistics or {})}, sample_ids, labels, axes)
    return _import(recorded, "arrays", run, config or {}, missing, force)


def import_file(
    file: Location | str | os.PathLike[str],
    run: Place,
    *,
    axes: Axes | None = None,
    config: Mapping[str, Any] | None = None,
    missing: Missing = "raise",
    repeated: Repeated = "error",
    force: bool = False,
) -> RunDirectory:
    """Make a run from the dynamics in a file; further arguments and errors as for `import_dynamics`.

    `file` is .npy [T, N]; .npz with target_prob [T, N] and, if wanted, sample_id [N], label [N] and further statistics
    [T, N]; or Parquet, a file or a folder. Wide Parquet has one row per sample: sample_id, label, and per statistic one
    list column or the columns target_prob_0 …; without sample_id, row numbers are the ids. Long Parquet has one row per
    sample and epoch, in any order: sample_id, epoch, target_prob, and label and further statistics.

    `repeated` says which value to take where a long table has several rows of one sample and epoch with different
    values: "first" or "mean"; "error" refuses them. Rows with equal values count as one.
    """
    _check_choices(axes, missing)
    check_choice("repeated", repeated, Repeated)
    place = Location.of(file)
    if not place.exists():
        raise DataError(f"{place}: there is no such file")
    check_apart(place, RunDirectory(run))
    suffix = place.name.lower().rpartition(".")[2]
    if suffix in ("npy", "npz") and place.is_file():
        return _import(open_arrays(place, axes), str(place), run, config or {}, missing, force)
    if place.is_file() and suffix != "parquet":
        raise DataError(f"{place}: unknown type of file; expected .npy, .npz, .parquet, or a folder of .parquet files")
    files = ParquetSet.open(place)
    if not is_long(files):
        return _import(RecordedWide(files, axes=axes), str(place), run, config or {}, missing, force)
    if axes is not None:
        raise DataError(f"{place}: axes={axes!r} is for arrays; a long table names sample and epoch in each row")
    return _import(partial(_laid_out, files, missing, repeated), str(place), run, config or {}, missing, force)


def _check_choices(axes: Axes | None, missing: Missing) -> None:
    if axes is not None:
        check_choice("axes", axes, Axes)
    check_choice("missing", missing, Missing)


def _laid_out(files: ParquetSet, missing: Missing, repeated: Repeated, scratch: Location) -> Recorded:
    return to_wide(files, scratch, on_cluster, missing == "keep", repeated)


def _import(
    found: Recorded | Callable[[Location], Recorded],
    origin: str,
    place: Place,
    values: Mapping[str, Any],
    missing: Missing,
    force: bool,
) -> RunDirectory:
    """Write dynamics, or those that a function of the scratch folder returns, into the run directory."""
    run = RunDirectory(place)
    replaces = check_room(run, force)
    scratch = scratch_of(run)
    with run.exclusive():
        scratch.delete()
        try:
            recorded = found if isinstance(found, Recorded) else found(scratch)
            config = config_of(recorded, values)
            if replaces:
                # Checked before anything is deleted: only sound dynamics may replace a recording.
                check_recorded(config, recorded, origin, missing, scratch)
            run.forget_recording()
            write_run(run, config, recorded, origin, missing)
        finally:
            with cleaning_up(f"removing {scratch}"):
                scratch.delete()
    logger.info("%s: imported %s", run, size_text(recorded.num_epochs, recorded.num_samples))
    return run
