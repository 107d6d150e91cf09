"""What an import or an export may replace: what this package made, and nothing else."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import INDEX_FILE
from dualprune.errors import DataError, RunError

SOURCE = "imported"
LOCKS = (".lock", "_lease.json")
# In the metadata of each file of an export: without it, a file is somebody else's.
MARK = b"dualprune.export"
PART = re.compile(r"part-\d{5}\.parquet")


def scratch_of(run: RunDirectory) -> Location:
    """Return the folder for an import's intermediate files; its name is one that only temporary files have."""
    return run.root / ".tmp-import"


def check_apart(source: Location, run: RunDirectory) -> None:
    """Raise a DataError where the file or folder to import lies inside the run, or the run inside it."""
    if _contains(run.root, source) or _contains(source, run.root):
        raise DataError(f"{source} and the run directory {run} lie inside each other; import into a folder of its own")


def check_room(run: RunDirectory, force: bool) -> bool:
    """Return whether an import replaces a recording; a RunError where it must not, or may not without `force`."""
    if run.root.is_file():
        raise RunError(f"{run} is a file; import into a new folder")
    manifests = run.manifests()
    if not manifests and not (run.index / INDEX_FILE).exists():
        others = [child.name for child in run.root.children() if child.name not in LOCKS]
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


def make_room(place: Location) -> None:
    """Delete the parts of an earlier export; a RunError where anything else is there.

    A .npz file stays, to be replaced in one step when the new one is whole.
    """
    if place.is_file():
        if not place.name.endswith(".npz") or not _is_export(place, is_part=False):
            raise RunError(f"{place} is not an export of dualprune, and is not replaced; export to another place")
        return
    parts = place.children()
    for part in parts:
        if not _is_export(part, is_part=True):
            raise RunError(f"{place} holds more than an export, such as {part.name}; export to a folder of its own")
    for part in parts:
        part.delete()


def marked_table(table: pa.Table) -> pa.Table:
    """Return a table whose file is known as a part of an export."""
    return table.replace_schema_metadata({MARK: b"1"})


def marked_npz(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """Return the content of a .npz file that is known as an export."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = MARK
    return buffer.getvalue()


def _is_export(file: Location, is_part: bool) -> bool:
    if not file.is_file() or (is_part and not PART.fullmatch(file.name)):
        return False
    try:
        with file.open_input() as stream:
            if is_part:
                return MARK in (pq.read_metadata(stream).metadata or {})
            with zipfile.ZipFile(stream) as archive:
                return archive.comment == MARK
    except (OSError, pa.ArrowException, zipfile.BadZipFile):
        return False


def _contains(outer: Location, inner: Location) -> bool:
    """Return whether `inner` is `outer` or lies inside it."""
    first, second = _plain(outer), _plain(inner)
    return second == first or second.startswith(first.rstrip("/") + "/")


def _plain(place: Location) -> str:
    # Links count as what they lead to.
    return str(Path(place.address).resolve()) if place.is_local else str(place)
