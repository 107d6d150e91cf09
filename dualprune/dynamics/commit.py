"""When an epoch counts: its commit record, `dynamics/epoch=0012/_commit.json`, exists.

Write    Every rank writes the files of its buckets. When all are complete, rank 0 writes the record, atomically, last;
         it names each file with its rows, bytes and checksum.
Read     Readers see committed epochs alone. A folder without a record is a write that did not finish.
Discard  A restart deletes epochs without a record, and all after the epoch that it resumes after. The record goes
         first: no reader may find a committed epoch without its files.
Fence    `fence` is the fencing number of the writer's lease, which grows with every writer; null where leases have no
         number. It is a fact about who wrote the epoch, and part of no fingerprint.

Records before version 2 have neither `version` nor `fence`; everything else means the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from dualprune.core.json_file import Record
from dualprune.core.own_folder import discard
from dualprune.core.storage import FileRecord, Location
from dualprune.dynamics.layout import OWN_FILES, epoch_name, epoch_number
from dualprune.errors import RunError

COMMIT = "_commit.json"
VERSION = 2


def write_commit(
    dynamics: Location,
    epoch: int,
    files: Sequence[FileRecord],
    *,
    columns: Sequence[str],
    fingerprint: str,
    fence: int | None = None,
) -> None:
    """Declare an epoch complete: from now on it counts. `fingerprint` identifies the configuration that trained it."""
    (dynamics / epoch_name(epoch) / COMMIT).write_json(
        {
            "version": VERSION,
            "epoch": epoch,
            "rows": sum(file.rows for file in files),
            "columns": list(columns),
            "fingerprint": fingerprint,
            "fence": fence,
            "written_at": time.time(),
            "files": [file.to_json() for file in sorted(files, key=lambda file: file.name)],
        }
    )


def read_commits(dynamics: Location) -> dict[int, dict[str, Any]]:
    """Return the commit records by epoch, ascending; a RunError where a newer version of dualprune wrote one."""
    folders = epoch_folders(dynamics)
    return {epoch: _read(folder / COMMIT, epoch) for epoch, folder in folders.items() if (folder / COMMIT).exists()}


def epoch_folders(dynamics: Location) -> dict[int, Location]:
    """Return the folders of epochs by number, ascending; what other programs put beside them does not count."""
    found = {epoch_number(folder.name): folder for folder in dynamics.children()}
    return {epoch: found[epoch] for epoch in sorted(epoch for epoch in found if epoch is not None)}


def has_commits(dynamics: Location) -> bool:
    """Return whether any epoch counts."""
    return any((folder / COMMIT).exists() for folder in epoch_folders(dynamics).values())


def discard_from(dynamics: Location, epoch: int) -> None:
    """Delete every epoch from `epoch` on, and those before it that have no commit record."""
    for number, folder in epoch_folders(dynamics).items():
        if number >= epoch or not (folder / COMMIT).exists():
            (folder / COMMIT).delete()
            discard(folder, OWN_FILES)


def _read(place: Location, epoch: int) -> dict[str, Any]:
    found = place.read_record()
    record = Record(str(place), {"version": 1, "fence": None, **found})
    record.expect(version=int, epoch=int, columns=list, fingerprint=str)
    if record["version"] > VERSION:
        raise RunError(
            f"{place} is a commit record of version {record['version']}, and this dualprune reads up to {VERSION}; "
            "upgrade it"
        )
    if record["epoch"] != epoch:
        raise record.damaged(f"it is that of epoch {record['epoch']}")
    for file in record.records("files"):
        file.expect(name=str, rows=int, bytes=int, sha256=str)
    return record
