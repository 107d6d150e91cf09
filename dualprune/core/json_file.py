"""JSON files of this package: mappings carry a checksum of their own, and reading names what is wrong in them.

A changed digit is still JSON, and would say something else. Files of versions that wrote no checksum are read as they
are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

from dualprune.errors import DataError

REMEDY = "restore it from a copy, or delete it and do its stage again"
CHECKSUM = "checksum"


class Record(dict[str, Any]):
    """A JSON mapping of a file; a key that it lacks is a DataError that names the file."""

    def __init__(self, place: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.place = place

    def __missing__(self, key: str) -> Any:
        raise self.damaged(f"it has no {key!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (self.place, dict(self))

    def damaged(self, what: str) -> DataError:
        """Return the error that says what is wrong with the file."""
        return DataError(f"{self.place} is damaged: {what}; {REMEDY}")

    def expect(self, **types: type) -> Self:
        """Return the record itself; a DataError where a key is missing or its value is of another type."""
        for key, kind in types.items():
            value = self[key]
            fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
            if not fits or (isinstance(value, bool) and kind is not bool):
                raise self.damaged(f"its {key!r} is {_short(value)}, not {_NAMES.get(kind, kind.__name__)}")
        return self

    def records(self, key: str) -> list[Record]:
        """Return a list of mappings as records of the same file; a DataError where it is anything else."""
        values = self.expect(**{key: list})[key]
        for value in values:
            if not isinstance(value, Mapping):
                raise self.damaged(f"its {key!r} hold {_short(value)}, not {_NAMES[dict]}")
        return [Record(self.place, value) for value in values]


_NAMES = {dict: "a mapping", list: "a list", str: "text", int: "a whole number", float: "a number"}


def encode(value: Any) -> bytes:
    """Return JSON values as the content of a file; a mapping gets its checksum as the last key."""
    if isinstance(value, Mapping):
        value = {**value, CHECKSUM: _checksum(value)}
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def decode(content: bytes, place: str) -> Any:
    """Return the JSON values of a file, a mapping as a `Record`; a DataError where they are damaged."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is damaged: it is not JSON ({error}); {REMEDY}") from None
    if not isinstance(value, dict):
        return value
    stored = value.pop(CHECKSUM, None)
    record = Record(place, value)
    if stored is not None and stored != _checksum(value):
        raise record.damaged(f"it has changed since it was written, as its {CHECKSUM!r} shows")
    return record


def _checksum(value: Mapping[str, Any]) -> str:
    # As it will be read: JSON has no tuples, and its keys are text.
    plain = json.loads(json.dumps(value))
    text = json.dumps({key: item for key, item in plain.items() if key != CHECKSUM}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
