"""Writes kept image files into a folder: as links to those of the source, or as copies."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dualprune.core.parquet import WrittenFile
from dualprune.core.sections import Images
from dualprune.core.storage import Location
from dualprune.data.decoding import UndecodableError
from dualprune.data.listed_source import read_images
from dualprune.errors import DataError, StorageError

# Where a file system makes no hard link to a file: it is another one, it has none, or the file is somebody else's.
NO_HARD_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


def write_images(images: Sequence[tuple[str, Location]], place: Location, how: Images) -> list[tuple[str, WrittenFile]]:
    """Write image files, given by their ids, which are their paths in `place`, and where they are now.

    Links are hard links, or symbolic ones where the file system makes no hard link. Images from and to addresses are
    copied. Return each path and size, without a digest: links are not read.

    Raises:
        DataError: an image is no longer there.
        StorageError: an image cannot be read or written.
    """
    for folder in sorted({(place / sample_id).parent.address for sample_id, _ in images}):
        Location(folder).make_folder()
    if how == "link" and place.is_local and all(source.is_local for _, source in images):
        return [(sample_id, _linked(sample_id, source, place / sample_id)) for sample_id, source in images]
    written = []
    with ThreadPoolExecutor(16) as pool:
        for first in range(0, len(images), 64):
            part = images[first : first + 64]
            contents = read_images((source, sample_id) for sample_id, source in part)
            written += list(pool.map(_written, [(*image, place) for image in part], contents))
    return written


def _linked(sample_id: str, source: Location, target: Location) -> WrittenFile:
    # A hard link to a symbolic one would be a symbolic one, too, and might lead elsewhere from here.
    real, link = Path(source.address).resolve(), Path(target.address)
    try:
        size = real.stat().st_size
        try:
            link.hardlink_to(real)
        except OSError as error:
            if error.errno not in NO_HARD_LINK:
                raise
            link.symlink_to(real)
    except FileNotFoundError:
        raise _missing(sample_id, source) from None
    except OSError as error:
        raise StorageError(f"{target} cannot be made a link to {source}: {error.strerror}") from error
    return WrittenFile(size, None)


def _written(image: tuple[str, Location, Location], content: bytes | UndecodableError) -> tuple[str, WrittenFile]:
    sample_id, source, place = image
    if isinstance(content, UndecodableError):
        raise _missing(sample_id, source)
    with (place / sample_id).open_output() as stream:
        stream.write(content)
    return sample_id, WrittenFile(len(content), None)


def _missing(sample_id: str, source: Location) -> DataError:
    return DataError(f"the image of the kept sample {sample_id!r} is no longer there ({source}); restore it")
