"""Folders that this package writes outside a run directory and may replace later: each carries a mark.

_made_by.json   what made the folder, and its files; written last on a local disk, and first on an object store
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualprune.core.storage import Location
from dualprune.errors import DataError, RunError

MARK = "_made_by.json"
PACKAGE = "dualprune"


def check_own(place: Location, key: str) -> None:
    """Raise a RunError where a folder has content but not our mark; `key` is the setting that chose the folder."""
    if not place.exists():
        return
    if place.is_file():
        raise RunError(f"{key}: {place} is a file; choose another folder")
    children = place.children()
    if children and not _is_ours(place):
        raise RunError(
            f"{key}: {place} holds files that were not made by {PACKAGE}, such as {children[0].name}; nothing was "
            "changed. Choose another folder, or remove this one yourself"
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
        return
    target = Path(place.address)
    fresh = place.parent / f".tmp-{place.name}-{uuid.uuid4().hex[:8]}"
    try:
        fresh.make_folder()
        yield fresh
        (fresh / MARK).write_json(body)
        if target.exists():
            old = target.with_name(f".tmp-{place.name}-{uuid.uuid4().hex[:8]}")
            target.rename(old)
            Path(fresh.address).rename(target)
            Location(str(old)).delete()
        else:
            Path(fresh.address).rename(target)
    finally:
        fresh.delete()


def _is_ours(place: Location) -> bool:
    try:
        return (place / MARK).exists() and (place / MARK).read_record().get("made_by") == PACKAGE
    except DataError:
        return False
