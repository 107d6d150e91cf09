"""One way to name and touch files, on a local disk or on any `pyarrow.fs` address (s3://, gs://)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from dualprune.core import file_systems, parquet
from dualprune.core.cleanup import cleaning_up
from dualprune.core.json_file import REMEDY, Record, decode, encode
from dualprune.core.parquet import DigestStream, TableWriter
from dualprune.errors import AddressError, DataError, StorageError, UserError

CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class FileRecord:
    """The facts about a file in a commit record, which show whether it is damaged or cut off.

    `modified` is its modification time in nanoseconds, None where it is not known.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    modified: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Location:
    """A file or folder. It is pickled as its address, so that every process opens its own connection.

    `address` is an absolute local path, or a URI; what follows `?` in a URI (`endpoint_override=…`, `region=…`)
    are `pyarrow.fs` options and stay with every child.
    """

    address: str

    @classmethod
    def of(cls, place: Location | str | os.PathLike[str]) -> Location:
        """Return the location of a path or address; a relative path is taken from the working directory."""
        if isinstance(place, Location):
            return place
        text = os.fspath(place)
        if text.startswith("file://"):
            text = text[len("file://") :]
        if "://" not in text:
            text = str(Path(text).expanduser().absolute())
        elif file_systems.has_credentials(text):
            raise AddressError(
                f"{cls(text)}: the address holds a name or password; take them out, and give them through the "
                "environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return cls(text.rstrip("/") or "/")

    @property
    def is_local(self) -> bool:
        """Whether this is a path on a mounted file system."""
        return "://" not in self.address

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._split()[0].rsplit("/", 1)[-1]

    @property
    def parent(self) -> Location:
        """The folder that holds this."""
        base, mark, options = self._split()
        return Location((base.rsplit("/", 1)[0] or "/") + mark + options)

    def is_inside(self, folder: Location) -> bool:
        """Whether this is the folder, or lies somewhere below it; links on a local disk are followed."""
        return self.path_inside(folder) is not None

    def path_inside(self, folder: Location) -> str | None:
        """Return the path from a folder to this, empty for the folder itself; None where this lies elsewhere."""
        own, other = self._comparable().rstrip("/") + "/", folder._comparable().rstrip("/") + "/"
        return own[len(other) : -1] if own.startswith(other) else None

    def below(self, folder: Location) -> str | None:
        """Return the path from a folder to this, as it is written; None where it does not lie below the folder."""
        own, other = (place._split()[0] for place in (self, folder))
        return own.removeprefix(f"{other}/") if own.startswith(f"{other}/") else None

    def _comparable(self) -> str:
        if self.is_local:
            return os.path.realpath(self.address)
        return self._split()[0]

    def _split(self) -> tuple[str, str, str]:
        """Return an address without its options, the question mark, and the options; a path has none."""
        return (self.address, "", "") if self.is_local else self.address.partition("?")

    def __truediv__(self, child: str) -> Location:
        base, mark, options = self._split()
        return Location(f"{base.rstrip('/')}/{child}{mark}{options}")

    def __str__(self) -> str:
        # For people, logs and results: neither options nor a name and password before the bucket.
        scheme, mark, rest = self._split()[0].rpartition("://")
        bucket, slash, path = rest.partition("/")
        return scheme + mark + (bucket.rpartition("@")[2] if mark else bucket) + slash + path

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The `pyarrow` file system that holds this."""
        return self._resolved()[0]

    @property
    def path(self) -> str:
        """The path inside `filesystem`."""
        return self._resolved()[1]

    def _resolved(self) -> tuple[pafs.FileSystem, str]:
        if self.is_local:
            return file_systems.local(), self.address
        base, mark, options = self._split()
        scheme, _, path = base.partition("://")
        bucket, _, _ = path.partition("/")
        filesystem, _ = file_systems.of_root(f"{scheme}://{bucket}{mark}{options}", os.getpid())
        return filesystem, path

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn what the file system reports into a StorageError that names this place; `what` says what failed."""
        try:
            yield
        except UserError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{self} cannot be {what}: {_in_words(error)}") from error

    def _info(self) -> pafs.FileInfo:
        with self._errors("looked up"):
            return self.filesystem.get_file_info([self.path])[0]

    def exists(self) -> bool:
        """Whether there is a file or folder here."""
        return bool(self._info().type != pafs.FileType.NotFound)

    def is_file(self) -> bool:
        """Whether there is a file here."""
        return bool(self._info().type == pafs.FileType.File)

    def size(self) -> int:
        """Return the file's size in bytes."""
        return int(self._info().size)

    def look(self) -> tuple[int, int] | None:
        """Return the file's size in bytes and its modification time in nanoseconds; None where there is no file."""
        return _size_and_time(self._info())

    def looks(self) -> dict[str, tuple[int, int]]:
        """Return by name what `look` returns for each file directly in this folder, with one listing."""
        selector = pafs.FileSelector(self.path, recursive=False, allow_not_found=True)
        with self._errors("listed"):
            infos = self.filesystem.get_file_info(selector)
        found = {info.base_name: _size_and_time(info) for info in infos}
        return {name: known for name, known in found.items() if known is not None}

    def digest(self, kind: str) -> str:
        """Return the file's sha256 or crc32, in hexadecimal digits."""
        sha256, crc32 = hashlib.sha256(), 0
        with self._errors("read"), self.filesystem.open_input_stream(self.path) as stream:
            while content := stream.read(CHUNK_BYTES):
                if kind == "sha256":
                    sha256.update(content)
                else:
                    crc32 = zlib.crc32(content, crc32)
        return sha256.hexdigest() if kind == "sha256" else f"{crc32:08x}"

    def children(self) -> list[Location]:
        """Return what lies directly in this folder, sorted by name; nothing where there is no folder."""
        selector = pafs.FileSelector(self.path, recursive=False, allow_not_found=True)
        with self._errors("listed"):
            infos = self.filesystem.get_file_info(selector)
        names = sorted(info.base_name for info in infos if not info.base_name.startswith(".tmp-"))
        return [self / name for name in names]

    def files(self) -> list[str]:
        """Return the files in and below this folder, as paths inside it, sorted; nothing where there is no folder."""
        return [name for name, size in self.tree().items() if size is not None]

    def tree(self) -> dict[str, int | None]:
        """Return the bytes of each file in and below this folder, and None for each folder, by the path inside it."""
        selector = pafs.FileSelector(self.path, recursive=True, allow_not_found=True)
        with self._errors("listed"):
            infos = self.filesystem.get_file_info(selector)
        base = self.path.rstrip("/") + "/"
        sizes = {info.path.removeprefix(base): info.size if info.is_file else None for info in infos}
        return {name: sizes[name] for name in sorted(sizes)}

    def read_bytes(self) -> bytes:
        """Return the file's content."""
        with self._errors("read"), self.filesystem.open_input_stream(self.path) as stream:
            return bytes(stream.read())

    def write_bytes(self, content: bytes | pa.Buffer) -> None:
        """Write the file atomically: a reader sees the old content or the new one, never a part."""
        if not self.is_local:
            # An object store shows an object when its upload is complete.
            with self._errors("written"), self.filesystem.open_output_stream(self.path) as stream:
                stream.write(content)
            return
        target = Path(self.address)
        temporary = target.with_name(f".tmp-{target.name}-{uuid.uuid4().hex[:8]}")
        with self._errors("written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            finally:
                # On a full disk or in a deleted folder this fails, too; the first error is the one to report.
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def read_json(self) -> Any:
        """Return the file's content as JSON values; a DataError where it is not JSON, or has changed.

        Looking up a missing key of a mapping is a DataError, too: this package writes the files that it reads here.
        """
        return decode(self.read_bytes(), str(self))

    def read_record(self) -> Record:
        """Return the file's content, which must be a JSON mapping; errors as for `read_json`."""
        value = self.read_json()
        if not isinstance(value, Record):
            raise DataError(f"{self} is damaged: it holds {type(value).__name__}, not a mapping; {REMEDY}")
        return value

    def write_json(self, value: Any) -> None:
        """Write JSON values, atomically; a mapping with a checksum of its own."""
        self.write_bytes(encode(value))

    def write_text(self, text: str) -> None:
        """Write UTF-8 text, atomically."""
        self.write_bytes(text.encode())

    def read_table(self, columns: Sequence[str] | None = None, remedy: str = REMEDY) -> pa.Table:
        """Return a Parquet file as a table, or a folder's files *.parquet, by name, as one.

        A DataError that ends with `remedy` where a file is missing or damaged.
        """
        files = [] if self.is_file() else [child for child in self.children() if child.name.endswith(".parquet")]
        if files:
            return pa.concat_tables(file.read_table(columns, remedy) for file in files)
        with parquet.reading(self, remedy), self.open_input() as file:
            return parquet.opened(file).read(columns=None if columns is None else list(columns))

    def write_table(self, table: pa.Table, **options: Any) -> FileRecord:
        """Write a table as one Parquet file, atomically, and return its record with rows, bytes and checksum."""
        buffer = io.BytesIO()
        parquet.write(table, buffer, **options)
        content = buffer.getbuffer()
        self.write_bytes(content)
        return self.record(table.num_rows, content)

    def record(self, rows: int, content: Any) -> FileRecord:
        """Return the record of this file, which holds `content`."""
        found = self.look()
        digest = hashlib.sha256(content).hexdigest()
        return FileRecord(self.name, rows, memoryview(content).nbytes, digest, None if found is None else found[1])

    @contextmanager
    def table_writer(self, **options: Any) -> Iterator[TableWriter]:
        """Yield a writer that appends tables to one Parquet file; the file appears, whole, when the block ends well."""
        if self.is_local:
            folder = Path(self.address).parent
            with self._errors("written"):
                folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".tmp-{self.name}-{uuid.uuid4().hex[:8]}"
        else:
            # An object store may publish what an interrupted stream had sent, so upload the finished file.
            with self._errors("written"):
                handle, name = tempfile.mkstemp(suffix=".parquet")
            os.close(handle)
            temporary = Path(name)
        try:
            with self._errors("written"):
                file = temporary.open("wb")
            with file:
                writer = TableWriter(DigestStream(file), options, self._errors)
                try:
                    yield writer
                except BaseException:
                    with cleaning_up(f"closing {temporary}"):
                        writer.close()
                    raise
                writer.close()
                with self._errors("written"):
                    file.flush()
                    if self.is_local:
                        os.fsync(file.fileno())
            with self._errors("written"):
                self._publish(temporary)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path) -> None:
        if self.is_local:
            temporary.replace(self.address)
        else:
            with temporary.open("rb") as file, self.filesystem.open_output_stream(self.path) as stream:
                shutil.copyfileobj(file, stream, CHUNK_BYTES)

    def rename(self, target: Location) -> None:
        """Rename a file or folder on a local disk; an empty folder at the target is replaced."""
        with self._errors(f"renamed to {target.name}"):
            Path(self.address).rename(target.address)

    def make_folder(self) -> None:
        """Make a folder here, with those above it; an object store has none."""
        if self.is_local:
            with self._errors("made"):
                self.filesystem.create_dir(self.path)

    @contextmanager
    def open_output(self) -> Iterator[DigestStream]:
        """Yield a stream that writes the file directly: an interruption may leave a part of it."""
        self.parent.make_folder()
        with self._errors("written"), self.filesystem.open_output_stream(self.path) as stream:
            yield DigestStream(stream)

    def open_input(self) -> pa.NativeFile:
        """Open the file for reading at any offset."""
        with self._errors("opened"):
            return self.filesystem.open_input_file(self.path)

    def delete(self) -> None:
        """Remove the file or the folder with all it holds; nothing happens where there is none."""
        kind = self._info().type
        with self._errors("deleted"):
            if kind == pafs.FileType.Directory:
                self.filesystem.delete_dir(self.path)
            elif kind == pafs.FileType.File:
                self.filesystem.delete_file(self.path)


def _size_and_time(info: pafs.FileInfo) -> tuple[int, int] | None:
    return (int(info.size), int(info.mtime_ns or 0)) if info.type == pafs.FileType.File else None


def _in_words(error: BaseException) -> str:
    """Return the first line of what a file system reports, without the addresses that it repeats."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def fingerprint(value: Mapping[str, Any] | Sequence[Any] | str) -> str:
    """Return 16 hexadecimal digits that stand for JSON values; equal values give equal digits in any process."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
