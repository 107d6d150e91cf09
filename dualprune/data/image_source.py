"""What sources share that decode images one by one: rows that cannot be decoded, one size, channels of a shard."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.data.decoding import UndecodableError, Wanted
from dualprune.data.source import Source
from dualprune.errors import DataError


class ImageSource(Source):
    """A source that says where its images are, and how one of them becomes pixels."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """What messages call the place of the training images."""

    @abstractmethod
    def training_images(self) -> Iterator[Any]:
        """Yield what `pixels` takes for each training image, in order."""

    @abstractmethod
    def pixels(self, image: Any, wanted: Wanted) -> NDArray[np.uint8]:
        """Return one image as uint8 [C, H, W]; an UndecodableError says why it cannot be used."""

    def stack(
        self, images: Iterable[Any], ids: Sequence[Any], place: Callable[[int], str]
    ) -> tuple[NDArray[np.uint8], dict[int, Any]]:
        """Return decoded images uint8 [n, C, H, W], and the ids of those that cannot be decoded, by row.

        Where one image has colour, all have three channels; where none has, one. What cannot be decoded is zeros.
        `place` says where a row is.

        Raises:
            DataError: with `on_error: raise`, the first that cannot be decoded, by its id and place; or an image of
                another size than the first.
        """
        # By the first rule, all images got the channels of the first one.
        channels = self.shape[0] if self.decoding == 1 else None
        wanted = Wanted.of(self.config, channels, self.decoding)
        decoded: list[NDArray[np.uint8] | None] = []
        failed: dict[int, Any] = {}
        for row, image in enumerate(images):
            try:
                decoded.append(self.pixels(image, wanted))
            except UndecodableError as error:
                if self.config.on_error == "raise":
                    raise DataError(
                        f"image of sample {ids[row]!r} cannot be used: {error} ({place(row)}); "
                        "set data.on_error to skip to leave such samples out"
                    ) from None
                failed[row] = ids[row]
                decoded.append(None)
        size = self.config.image_size
        return _alike(decoded, ids, self.shape[1:] if size is None else (size, size)), failed

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the first readable training image; all images have this H and W."""
        wanted = Wanted.of(self.config, rule=self.decoding)
        reason = "it has no rows"
        for image in self.training_images():
            try:
                found = self.pixels(image, wanted)
            except UndecodableError as error:
                reason = str(error)
                continue
            return (found.shape[0], found.shape[1], found.shape[2])
        raise DataError(f"{self.origin} has no image that can be read: {reason}")


def _alike(images: Sequence[NDArray[np.uint8] | None], ids: Sequence[Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    channels = max((len(image) for image in images if image is not None), default=1)
    stacked = np.zeros((len(images), channels, *size), dtype=np.uint8)
    for row, image in enumerate(images):
        if image is None:
            continue
        if image.shape[1:] != size:
            raise DataError(
                f"image of sample {ids[row]!r} has {_size(image.shape[1:])}, others have {_size(size)}; "
                "set data.image_size to bring all to one size"
            )
        stacked[row] = image
    return stacked


def _size(size: tuple[int, ...]) -> str:
    return f"{size[1]} × {size[0]} pixels"
