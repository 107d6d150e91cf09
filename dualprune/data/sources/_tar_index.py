"""Lists the samples of a tar shard: which members belong together, the label, and where the image's bytes are."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from dualprune.core.storage import Location
from dualprune.data.listed_source import IMAGE_SUFFIXES
from dualprune.errors import DataError, StorageError, UserError

IMAGES = tuple(suffix[1:] for suffix in IMAGE_SUFFIXES)
LABELS = ("cls", "json", "txt")
# One request to an object store brings the headers of many members; on a disk, a jump costs less than reading on.
BUFFER_BYTES = {True: 1 << 13, False: 1 << 20}
SCHEMA = pa.schema({"sample_id": pa.string(), "label": pa.string(), "offset": pa.int64(), "size": pa.int64()})


@dataclass(frozen=True)
class Members:
    """Extensions of the members that are images and labels, and the field of a JSON label."""

    image: str | None
    label: str | None
    field: str


def samples_of(place: Location, members: Members) -> tuple[pa.Table, str | None]:
    """Return the samples of a shard, and the extension of its labels, None without samples.

    Where `members` names none, it is the first of cls, json, txt that the first sample has. The table has, in the
    order of the shard, sample_id and label as text, offset and size of the image in bytes. A file is read once per
    process as long as it stays the same.

    Raises:
        DataError: a sample lacks image or label, or the file is damaged; key and shard are named.
    """
    with _errors(place):
        info = place.filesystem.get_file_info([place.path])[0]
    return _samples(place, info.size, info.mtime_ns, members)


@lru_cache(maxsize=1 << 16)
def _samples(place: Location, _size: int, _changed: int | None, members: Members) -> tuple[pa.Table, str | None]:
    groups: dict[str, dict[str, tuple[int, int, bytes | None]]] = {}
    with _errors(place), place.open_input() as file:
        for key, extension, offset, size, content in _members(place, file, members):
            parts = groups.setdefault(key, {})
            if extension in parts:
                raise DataError(f"{place} has two members {key}.{extension}; keep one of them")
            parts[extension] = offset, size, content
    if members.label is None:
        found = (label for parts in groups.values() for label in LABELS if label in parts)
        members = replace(members, label=next(found, None))
    rows = [_sample(place, key, parts, members) for key, parts in groups.items()]
    return pa.Table.from_pylist([row for row in rows if row is not None], SCHEMA), members.label


def _members(place: Location, file: Any, members: Members) -> Iterator[tuple[str, str, int, int, bytes | None]]:
    """Yield key, extension, offset and size of each member, with its content where it may be a label."""
    labels = [members.label] if members.label else LABELS
    for tar, member in _walk(place, file):
        key, extension = _split(member.name)
        if member.isdir() or not key or not extension or key.startswith("__"):
            continue
        if not member.isreg() or member.issparse():
            raise DataError(f"{place}: the member {member.name!r} is no plain file; write shards without links")
        if not _is_text(key):
            raise DataError(f"{place}: the name {member.name!r} is not valid UTF-8; rename the member")
        part = tar.extractfile(member) if extension in labels else None
        content = None if part is None else part.read()
        yield key, extension, member.offset_data, member.size, content


def ranges_of(place: Location, keys: set[str]) -> list[tuple[int, int]]:
    """Return where the members of some keys lie in a shard, from header to padding, ascending; neighbours are one.

    Raises:
        DataError: the shard lacks one of the keys, or is damaged.
    """
    ranges: list[tuple[int, int]] = []
    missing = set(keys)
    with _errors(place), place.open_input() as file:
        for tar, member in _walk(place, file):
            key, _ = _split(member.name)
            if key not in keys:
                continue
            missing.discard(key)
            # A long name has headers of its own, with which the member begins.
            start = ranges.pop()[0] if ranges and ranges[-1][1] == member.offset else member.offset
            ranges.append((start, tar.offset))
    if missing:
        raise DataError(f"{place} no longer has the key {min(missing)!r}; restore the file")
    return ranges


def _walk(place: Location, file: Any) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield the archive and its next member, whose header has been read; what is behind its end is an error."""
    stream = io.BufferedReader(file, BUFFER_BYTES[place.is_local])
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        while (member := tar.next()) is not None:
            # The archive would keep a record of every member.
            tar.members.clear()  # type: ignore[attr-defined]
            yield tar, member
        # Past a damaged header, the library returns what it has.
        stream.seek(tar.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise DataError(f"{place} is damaged at byte {tar.offset}: there is no header of a member; write it anew")


def _split(name: str) -> tuple[str, str]:
    """Return a member's key, which ends at the first dot of the file's name, and its extension."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return (folder + slash + stem if stem else ""), extension.lower()


def _sample(
    place: Location, key: str, parts: dict[str, tuple[int, int, bytes | None]], members: Members
) -> dict[str, Any] | None:
    """Return the row of a sample; None for files that are neither an image nor a label."""
    images = [one for one in ([members.image] if members.image else IMAGES) if one in parts]
    label = members.label if members.label in parts else None
    if not images and label is None:
        return None
    held = f"it has {', '.join(f'.{one}' for one in parts)}"
    if label is None:
        wanted = f".{members.label}" if members.label else "label (.cls, .json or .txt)"
        raise DataError(
            f"{place}: the key {key!r} has no {wanted}, {held}; add it, or set data.options.label to the extension of "
            "the labels"
        )
    if not images:
        wanted = f".{members.image}" if members.image else "image"
        raise DataError(
            f"{place}: the key {key!r} has no {wanted}, {held}; add it, or set data.options.image to the extension of "
            "the images"
        )
    if len(images) > 1:
        raise DataError(f"{place}: the key {key!r} has several images, {held}; set data.options.image to one of them")
    offset, size, _ = parts[images[0]]
    text = _label(parts[label][2] or b"", label, members.field, f"{place}: the key {key!r}")
    return {"sample_id": key, "label": text, "offset": offset, "size": size}


def _label(content: bytes, extension: str, field: str, what: str) -> str:
    try:
        text = content.decode().strip()
        value = json.loads(text) if extension.endswith("json") else text
    except ValueError as error:
        raise DataError(f"{what} has a .{extension} that cannot be read: {error}") from None
    if isinstance(value, dict):
        if field not in value:
            raise DataError(
                f"{what} has no field {field!r} in its .{extension}; it has: {', '.join(value)}; set "
                "data.options.label_field"
            )
        value = value[field]
    if isinstance(value, bool):
        value = int(value)
    if not isinstance(value, int | str) or value == "":
        raise DataError(f"{what} has the label {value!r} in its .{extension}; expected an integer or a text")
    return str(value)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _errors(place: Location) -> Iterator[None]:
    """Turn what reading a tar file reports into an error that names it."""
    try:
        yield
    except UserError:
        raise
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise DataError(f"{place} is not a readable tar file: {error}") from None
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{place} cannot be read: {error}") from error
