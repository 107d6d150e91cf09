"""Decides what an import or an export may replace: files that this package wrote, and nothing else."""

from __future__ import annotations

import io
import re
import zipfile

import numpy as np
from numpy.typing import NDArray

from dualprune.core.lease import LEASE, LOCK
from dualprune.core.own_folder import check_own
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import INDEX_FILE
from dualprune.errors import DataError, RunError

SOURCE = "imported"
# The comment of the archive, which marks a .npz file as written by this package.
NPZ_MARK = b"dualprune.export"
PART = re.compile(r"part-\d{5}\.parquet")


def scratch_of(run: RunDirectory) -> Location:
    """Return the folder for an import's intermediate files; only temporary files have such names."""
    return run.root / ".tmp-import"


def check_apart(source: Location, run: RunDirectory) -> None:
    """Raise a DataError where the file or folder to import lies inside the run, or the run inside it."""
    if source.is_inside(run.root) or run.root.is_inside(source):
        raise DataError(f"{source} and the run directory {run} lie inside each other; import into a folder of its own")


def check_room(run: RunDirectory, force: bool) -> bool:
    """Return whether an import replaces a recording; a RunError where it must not, or needs `force`."""
    if run.root.is_file():
        raise RunError(f"{run} is a file; import into a new folder")
    # A user's own folder may also be called `manifests`.
    manifests = {key: body for key, body in run.manifests().items() if body.get("stage") == key}
    if not manifests and not (run.index / INDEX_FILE).exists():
        others = [child.name for child in run.root.children() if child.name not in (LOCK, LEASE)]
        if others:
            raise RunError(
                f"{run} is not a run directory and holds other things, such as {others[0]}; import into a new one"
            )
        return False
    source = manifests.get("index", {}).get("settings", {}).get("data", {}).get("source")
    is_unfinished_import = source == SOURCE and manifests.get("record", {}).get("status") != "done"
    if not is_unfinished_import and not force:
        raise RunError(
            f"{run} is a run directory already; import into another one, or pass force=True to replace its dynamics"
        )
    return not is_unfinished_import


def check_export(place: Location, run: RunDirectory) -> None:
    """Raise a RunError where something else than an export of ours would be replaced."""
    if place.name.endswith(".npz"):
        if not place.is_file() or not _is_marked_npz(place):
            raise RunError(f"{place} is not an export of dualprune, and is not replaced; export to another place")
        return
    check_own(place, "to", PART)
    if run.root.is_inside(place):
        raise RunError(f"{place} holds the run directory {run}; export to a folder of its own")


def marked_npz(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """Return the content of a .npz file if it is an export."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = NPZ_MARK
    return buffer.getvalue()


def _is_marked_npz(file: Location) -> bool:
    try:
        with file.open_input() as stream, zipfile.ZipFile(stream) as archive:
            return archive.comment == NPZ_MARK
    except zipfile.BadZipFile:
        return False
