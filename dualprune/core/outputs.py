"""The files that a stage made, as its manifest records them, so that it counts as done only while they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dualprune.core.parquet import WrittenFile
from dualprune.core.records import Digests, Problem, problems
from dualprune.core.storage import Location


@dataclass(frozen=True)
class Output:
    """A file: `path` below the run directory, or an address elsewhere; `modified` in nanoseconds."""

    path: str
    bytes: int
    crc32: str
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

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)


def damaged_outputs(root: Location, manifest: Mapping[str, Any], digests: Digests = "changed") -> list[Problem]:
    """Return what is wrong with the outputs in a stage's manifest; those of older versions list none."""
    records = manifest.get("outputs", ())
    return problems([(_place(root, record["path"]), record) for record in records], digests)


def _place(root: Location, path: str) -> Location:
    return Location(path) if path.startswith("/") or "://" in path else root / path
