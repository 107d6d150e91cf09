"""The `pyarrow` file systems behind addresses, one connection per address and process."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa
import pyarrow.fs as pafs

from dualprune.errors import AddressError


@lru_cache(maxsize=64)
def of_root(root_address: str, pid: int) -> tuple[pafs.FileSystem, str]:
    """Return the file system of an address and the path inside it; an AddressError where it cannot be reached."""
    # The process id is part of the key: a forked child must not share the parent's connections.
    try:
        filesystem, path = pafs.FileSystem.from_uri(root_address)
    except (pa.ArrowInvalid, OSError) as error:
        raise AddressError(
            f"{root_address.partition('?')[0]} cannot be reached: {error}; "
            "give a local path, or an address that pyarrow.fs knows, such as s3://bucket/folder"
        ) from None
    return filesystem, path


@lru_cache(maxsize=1)
def local() -> pafs.FileSystem:
    """Return the file system of this machine."""
    return pafs.LocalFileSystem()


def has_credentials(address: str) -> bool:
    """Whether a URI has a user before its host, or keys among its options; Windows drives and the like have none."""
    base, _, options = address.partition("?")
    authority = base.partition("://")[2].partition("/")[0]
    names = [option.partition("=")[0].lower() for option in options.split("&")]
    return "@" in authority or any(
        word in name for name in names for word in ("access_key", "secret", "token", "password")
    )
