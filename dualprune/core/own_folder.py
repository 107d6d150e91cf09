"""Folders that this package may replace later. One of an export carries a mark that lists what was written.

_made_by.json   what made the folder, and its files; on an object store without the files until all are written
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dualprune.core.cleanup import cleaning_up
from dualprune.core.storage import Location
from dualprune.errors import DataError, RunError

MARK = "_made_by.json"
PACKAGE = "dualprune"
FILES = "files"
# What systems leave in any folder that somebody looks at.
LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def check_own(place: Location, key: str, ours: re.Pattern[str], *, in_run: bool = False) -> None:
    """Raise a RunError where a folder holds anything that this package did not write.

    `key` names the folder for people. `ours` matches the files that an export writes, by their paths inside it; it
    counts where the mark has no list, as in exports that were interrupted or made by older versions. Only inside a run
    directory (`in_run`) may a folder lack the mark.
    """
    if not place.exists():
        return
    if place.is_file():
        raise RunError(f"{key}: {place} is a file; choose another folder")
    there = [name for name in place.files() if name not in LITTER and not _is_temporary(name)]
    if not there and not place.children():
        return
    mark = _mark(place)
    if mark is None and not in_run:
        first = there[0] if there else place.children()[0].name
        raise RunError(
            f"{key}: {place} holds files that were not made by {PACKAGE}, such as {first}; nothing was "
            "changed. Choose another folder, or remove this one yourself"
        )
    listed = None if mark is None else mark.get(FILES)
    known = {MARK, *listed} if isinstance(listed, list) else {name for name in there if ours.fullmatch(name)} | {MARK}
    others = [name for name in there if name not in known and name.rpartition("/")[2] not in LITTER]
    if others:
        raise RunError(
            f"{key}: {place} holds {others[0]}, which was not made by {PACKAGE} and would be lost; nothing was "
            "changed. Move it elsewhere, or choose another folder"
        )


@contextmanager
def replaced(place: Location, facts: Mapping[str, Any]) -> Iterator[Location]:
    """Yield an empty folder; when the block ends without an exception, it replaces what stood at `place`.

    On a local disk the folder is made beside `place` and renamed at the end. An object store cannot rename: there the
    old files are removed first, and `place` itself is filled. `facts` are written to the mark. Call `check_own`
    before, to make sure that `place` may be replaced.
    """
    body = {"made_by": PACKAGE, **facts}
    if not place.is_local:
        place.delete()
        (place / MARK).write_json(body)
        yield place
        (place / MARK).write_json({**body, FILES: [name for name in place.files() if name != MARK]})
        return
    fresh = _beside(place)
    try:
        fresh.make_folder()
        yield fresh
        (fresh / MARK).write_json({**body, FILES: fresh.files()})
        if place.exists():
            old = _beside(place)
            place.rename(old)
            try:
                fresh.rename(place)
            except BaseException:
                with cleaning_up(f"putting {place} back"):
                    old.rename(place)
                raise
            with cleaning_up(f"removing {old}"):
                old.delete()
        else:
            fresh.rename(place)
    finally:
        with cleaning_up(f"removing {fresh}"):
            fresh.delete()


def discard(folder: Location, ours: re.Pattern[str]) -> None:
    """Delete a folder of this package's files; what does not match `ours` by its path inside it stays, and so does it.

    Nothing happens where there is no folder.
    """
    names = [] if folder.is_file() else folder.files()
    if all(ours.fullmatch(name) for name in names):
        folder.delete()
        return
    for name in filter(ours.fullmatch, names):
        (folder / name).delete()


def _beside(place: Location) -> Location:
    return place.parent / f".tmp-{place.name}-{uuid.uuid4().hex[:8]}"


def _is_temporary(name: str) -> bool:
    return any(part.startswith(".tmp-") for part in name.split("/"))


def _mark(place: Location) -> Mapping[str, Any] | None:
    """Return the mark of a folder; None where it has none, or another program's."""
    try:
        mark = (place / MARK).read_record() if (place / MARK).exists() else None
    except DataError:
        return None
    return mark if mark is not None and mark.get("made_by") == PACKAGE else None
