"""The files that a stage made, as its manifest records them, so that it counts as done only while they are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dualprune.core.parquet import WrittenFile
from dualprune.core.records import Digests, Problem, problems
from dualprune.core.storage import Location


@dataclass(frozen=True)
class Output:
    """A file: `path` below the run directory, or an address elsewhere; `modified` in nanoseconds.

    Without a `crc32`, it is compared by its size.
    """

    path: str
    bytes: int
    crc32: str | None
    modified: int

    @classmethod
    def of(cls, root: Location, place: Location, written: WrittenFile | None = None) -> Output:
        """Return the record of a file that was just written; without `written`, the file is read."""
        found = place.look()
        assert found is not None, f"{place} was written"
        size, modified = found
        path = place.below(root) or place.address
        if written is None:
            return cls(path, size, place.digest("crc32"), modified)
        # The size that was written, not the one that is found: the two differ where the file was cut meanwhile.
        return cls(path, written.bytes, written.crc32, modified)

    @classmethod
    def of_written(cls, root: Location, folder: Location, files: Iterable[tuple[str, WrittenFile]]) -> list[Output]:
        """Return the records of files that were just written below a folder, which is listed and not read."""
        outputs = []
        listed: dict[Location, dict[str, tuple[int, int]]] = {}
        for name, written in files:
            place = folder / name
            if place.parent not in listed:
                listed[place.parent] = place.parent.looks()
            modified = listed[place.parent][place.name][1]
            outputs.append(cls(place.below(root) or place.address, written.bytes, written.crc32, modified))
        return outputs

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)


def damaged_outputs(root: Location, manifest: Mapping[str, Any], digests: Digests = "changed") -> list[Problem]:
    """Return what is wrong with the outputs in a stage's manifest; those of older versions list none."""
    records = manifest.get("outputs", ())
    return problems([(_place(root, record["path"]), record) for record in records], digests)


def _place(root: Location, path: str) -> Location:
    return Location(path) if path.startswith("/") or "://" in path else root / path
