"""Compares files with what was recorded when they were written: size, digest and modification time.

A look is cheap: the digest is computed where the file is small, or the modification time is not the recorded one, as
after a copy. A record without a time, as older versions wrote it, says only that there was a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

from dualprune.core.storage import Location
from dualprune.errors import DataError

NUM_THREADS = 8
DIGESTS = ("sha256", "crc32")
# Up to this size a file is always read: a disk may lose a bit and keep the time.
SMALL = 1 << 24


class Problem(NamedTuple):
    """A file that is not as it was recorded, and why, in words that follow its name."""

    place: Location
    what: str

    def __str__(self) -> str:
        return f"{self.place} {self.what}"


# Which digests are computed: none, those of files with another modification time, or all.
Digests = Literal["none", "changed", "all"]


def problems(files: Iterable[tuple[Location, Mapping[str, Any]]], digests: Digests = "changed") -> list[Problem]:
    """Return how files differ from their records, in order, with one listing per folder."""
    known = list(files)
    folders = {str(place.parent): place.parent for place, _ in known}
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        listed = dict(zip(folders, pool.map(Location.looks, folders.values()), strict=True))
        found: dict[int, Problem] = {}
        suspects = []
        for number, (place, record) in enumerate(known):
            seen = listed[str(place.parent)].get(place.name)
            problem = _at_a_glance(place, record, seen, digests)
            if problem is not None:
                found[number] = problem
            elif seen is not None and (_is_suspect(record, seen, digests) or _is_small(record, digests)):
                suspects.append(number)
        read = pool.map(_by_digest, *zip(*(known[number] for number in suspects), strict=True)) if suspects else ()
        for number, problem in zip(suspects, read, strict=True):
            if problem is not None:
                found[number] = problem
    return [found[number] for number in sorted(found)]


def named(files: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    """Return the record of the file of this name; None where there is none."""
    return next((dict(file) for file in files if file["name"] == name), None)


def delete_files(places: Iterable[Location]) -> None:
    """Delete damaged files, which will be made again; whatever else stands in their place is left alone."""
    for place in places:
        if place.is_file():
            place.delete()


def check(place: Location, record: Mapping[str, Any] | None, remedy: str) -> None:
    """Raise a DataError where a file differs from its record; without a record there is nothing to compare."""
    if record is None or record.get("modified") is None:
        return
    seen = place.look()
    found = _at_a_glance(place, record, seen, "changed")
    if found is None and seen is not None and _is_suspect(record, seen, "changed"):
        found = _by_digest(place, record)
    if found is not None:
        raise DataError(f"{found}; {remedy}")


def _at_a_glance(
    place: Location, record: Mapping[str, Any], seen: tuple[int, int] | None, digests: Digests
) -> Problem | None:
    if seen is None:
        return Problem(place, "is missing")
    counts = record.get("modified") is not None or (digests == "all" and "bytes" in record)
    if counts and seen[0] != record["bytes"]:
        return Problem(place, f"has {seen[0]:,} bytes instead of {record['bytes']:,}")
    return None


def _is_suspect(record: Mapping[str, Any], seen: tuple[int, int], digests: Digests) -> bool:
    modified = record.get("modified")
    return digests == "all" or (digests == "changed" and modified is not None and modified != seen[1])


def _is_small(record: Mapping[str, Any], digests: Digests) -> bool:
    return digests == "changed" and record.get("modified") is not None and record["bytes"] <= SMALL


def _by_digest(place: Location, record: Mapping[str, Any]) -> Problem | None:
    for kind in DIGESTS:
        if record.get(kind) is not None and place.digest(kind) != record[kind]:
            return Problem(place, "has changed since it was written: its checksum is not the recorded one")
    return None
