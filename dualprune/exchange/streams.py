"""Filters streams of samples, such as those of WebDataset, by the ids that a selection kept."""

from __future__ import annotations

import logging
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union

import pyarrow as pa
import pyarrow.compute as pc

from dualprune.core.storage import Location
from dualprune.errors import DataError

logger = logging.getLogger(__name__)
KEY = "__key__"
# What names kept ids: the ids themselves, or a file of them.
Ids = Union["KeptIds", Location, str, os.PathLike[str], Iterable[int | str]]


class KeptIds:
    """A set of ids, held as their sorted text: some ten bytes each beside the text, shared by forked processes.

    Args:
        ids: an export's `kept_ids.txt`, as a path or address; or the ids, integers or strings.

    Raises:
        DataError: the file is missing or not UTF-8, or there are no ids.
    """

    def __init__(self, ids: Ids) -> None:
        self.__setstate__(ids._sorted if isinstance(ids, KeptIds) else _sorted(ids))

    def __getstate__(self) -> pa.LargeStringArray:
        return self._sorted

    def __setstate__(self, texts: pa.LargeStringArray) -> None:
        self._sorted = texts
        # Ten times as fast as scalars of Arrow.
        _, offsets, content = texts.buffers()
        self._offsets, self._content = memoryview(offsets).cast("q"), memoryview(content)

    def __len__(self) -> int:
        return len(self._sorted)

    def __getitem__(self, place: int) -> bytes:
        return bytes(self._content[self._offsets[place] : self._offsets[place + 1]])

    def __contains__(self, sample_id: int | str) -> bool:
        text = str(sample_id).encode()
        place = bisect_left(self, text)
        return place < len(self) and self[place] == text


def keep_samples(kept: Ids, stream: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the samples of a stream that were kept, in their order: mappings with their ids under `__key__`.

    Nothing is held but the ids. In a WebDataset pipeline it stands before anything is decoded, as
    `.compose(partial(keep_samples, KeptIds("…/kept_ids.txt")))`.

    Args:
        kept: what `KeptIds` takes, or one, which is read once for all epochs and workers.
        stream: the samples.

    Raises:
        DataError: a sample has no `__key__`; or as for `KeptIds`.
    """
    ids = kept if isinstance(kept, KeptIds) else KeptIds(kept)
    found = seen = 0
    last = ""
    for sample in stream:
        if not isinstance(sample, Mapping) or KEY not in sample:
            held = ", ".join(map(str, sample)) if isinstance(sample, Mapping) else type(sample).__name__
            raise DataError(
                f"keep_samples: a sample of the stream has no {KEY!r}, but {held}; filter before samples are taken "
                "apart"
            )
        seen, last = seen + 1, sample[KEY]
        if last in ids:
            found += 1
            yield sample
    if seen and not found:
        logger.warning(
            "keep_samples: none of %d samples is among the %d kept ids, such as %r; kept ids are such as %r",
            seen,
            len(ids),
            last,
            ids[0].decode(),
        )


def _sorted(ids: Any) -> pa.LargeStringArray:
    if isinstance(ids, Location | str | os.PathLike):
        place = Location.of(ids)
        texts = _lines(place)
        if not len(texts):
            raise DataError(f"{place} is empty; expected an export's kept_ids.txt")
    else:
        texts = pa.array([str(one) for one in ids], pa.large_string())
        if not len(texts):
            raise DataError("keep_samples: there are no ids; expected those of a kept set")
    return texts.take(pc.sort_indices(texts))


def _lines(place: Location) -> pa.LargeStringArray:
    if not place.is_file():
        raise DataError(f"{place} is no file; expected an export's kept_ids.txt")
    content = place.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is no UTF-8 text ({error}); expected an export's kept_ids.txt") from None
    lines = pc.split_pattern(pa.scalar(text, pa.large_string()), "\n").values
    return lines.filter(pc.not_equal(lines, ""))
