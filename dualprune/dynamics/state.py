"""The state per bucket that recording needs to resume exactly and that the store of dynamics does not hold.

dynamics/epoch=0012/state/bucket=00003.npz   arrays by name
dynamics/epoch=0012/state/_commit.json       the state counts when this is there; written before the epoch's own commit

It consists of the last epoch's values, where a statistic compares them with the next epoch's, and of the accumulators
of statistics that are not stored. State is written with the commit of each epoch that gets a model checkpoint, and kept
as long as that checkpoint.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dualprune.core.storage import FileRecord, Location
from dualprune.dynamics.commit import COMMIT, epoch_folders
from dualprune.dynamics.layout import epoch_name
from dualprune.errors import DataError

# As many as there are model checkpoints.
NUM_KEPT = 3


def write_state(dynamics: Location, epoch: int, name: str, arrays: Mapping[str, Any]) -> FileRecord:
    """Write arrays and numbers by name, and return the file's record; `name` is their owner's, such as bucket=00003."""
    buffer = io.BytesIO()
    plain: dict[str, Any] = {key: np.asarray(value) for key, value in arrays.items()}
    np.savez(buffer, **plain)
    content = buffer.getvalue()
    place = _folder(dynamics, epoch) / f"{name}.npz"
    place.write_bytes(content)
    return FileRecord(place.name, len(arrays), len(content), hashlib.sha256(content).hexdigest())


def commit_state(dynamics: Location, epoch: int, files: Sequence[FileRecord]) -> None:
    """Declare an epoch's state complete, and delete the states of epochs whose checkpoints are gone."""
    (_folder(dynamics, epoch) / COMMIT).write_json(
        {"version": 1, "epoch": epoch, "files": [file.to_json() for file in sorted(files, key=lambda file: file.name)]}
    )
    folders = [folder / "state" for folder in epoch_folders(dynamics).values()]
    for folder in [folder for folder in folders if (folder / COMMIT).exists()][:-NUM_KEPT]:
        (folder / COMMIT).delete()
        folder.delete()


def has_state(dynamics: Location, epoch: int) -> bool:
    """Return whether the state after an epoch was written."""
    return (_folder(dynamics, epoch) / COMMIT).exists()


def read_state(dynamics: Location, epoch: int, name: str) -> dict[str, Any]:
    """Return what `write_state` took, as arrays; a DataError where the file is missing or damaged."""
    place = _folder(dynamics, epoch) / f"{name}.npz"
    try:
        content = place.read_bytes()
        files = (place.parent / COMMIT).read_record().records("files")
        record = next(file for file in files if file["name"] == place.name)
    except (OSError, StopIteration):
        raise DataError(f"{place} is missing; delete the folder {epoch_name(epoch)} and record again") from None
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise DataError(f"{place} is damaged; delete the folder {epoch_name(epoch)} and record again")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def below(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries whose name begins with `prefix/`, without that prefix."""
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def above(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries with their names prefixed by `prefix/`."""
    return {f"{prefix}/{name}": value for name, value in state.items()}


def _folder(dynamics: Location, epoch: int) -> Location:
    return dynamics / epoch_name(epoch) / "state"
