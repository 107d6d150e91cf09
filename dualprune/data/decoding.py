"""Brings one image, encoded or as pixels, to uint8 [C, H, W].

`decode` is the one way from encoded bytes to pixels. What an image becomes is said in `docs/recording.md`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.sections import DataConfig
from dualprune.data.flattening import UndecodableError as UndecodableError
from dualprune.data.flattening import centre_square, flatten, flatten_first

if TYPE_CHECKING:
    from PIL import Image

# Pillow reads further formats. For EPS it would start another program, which runs code in the file.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# The rule by which images become pixels. It is raised whenever it yields other pixels, and stands with a run's index.
RULE = 2

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Wanted:
    """What an image becomes.

    Attributes:
        channels: 1, 3, or None: 1 for an image without colour, 3 for any other.
        size: of the centre square that is kept, resized; None: the whole image as it is.
        max_pixels: an encoded image of more pixels is not decoded.
        rule: 1 for runs that began before there was a second.
    """

    channels: int | None
    size: int | None
    max_pixels: int
    rule: int = RULE

    @classmethod
    def of(cls, config: DataConfig, channels: int | None = None, rule: int = RULE) -> Wanted:
        """Return what a configuration wants; `channels` count where it does not say how many."""
        return cls(config.channels or channels, config.image_size, config.max_pixels, rule)


def decode(content: bytes | None, wanted: Wanted) -> Pixels:
    """Return an encoded image as uint8 [C, H, W].

    Raises:
        UndecodableError: whatever the decoder raised, or the image is of a kind that is not taken.
    """
    return from_image(open_image(content, wanted.max_pixels), wanted)


def from_image(image: Image.Image, wanted: Wanted) -> Pixels:
    """Return an image that Pillow has opened as uint8 [C, H, W]; an UndecodableError as in `decode`."""
    if image.width * image.height > wanted.max_pixels:
        raise UndecodableError(
            f"{image.width} × {image.height} pixels are more than data.max_pixels = {wanted.max_pixels}"
        )
    with _undecodable("the image data are damaged"):
        if wanted.rule == 1:
            flat = flatten_first(image, wanted.channels, wanted.size, wanted.max_pixels)
        else:
            flat = flatten(image, wanted.channels, wanted.size)
        return _planes(flat)


def from_array(array: Any, wanted: Wanted) -> Pixels:
    """Return uint8 [C, H, W] of pixels [H, W], [H, W, C] or [C, H, W] in 0 … 255; an UndecodableError of any other."""
    from PIL import Image

    with _undecodable("the pixel array cannot be used"):
        values = _planes_of(np.asarray(array))
        size, channels = wanted.size, wanted.channels
        if channels == 3 and len(values) == 1:
            values = np.repeat(values, 3, axis=0)
        resized = size is not None and values.shape[1:] != (size, size)
        if not resized and channels in (None, len(values)):
            return np.ascontiguousarray(values)
        image = Image.fromarray(np.ascontiguousarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0)))
        if channels == 1:
            image = image.convert("L")
        if size is None:
            return _planes(image)
        if wanted.rule == 1:
            return _planes(flatten_first(image, len(image.getbands()), size, wanted.max_pixels))
        return _planes(centre_square(image, size))


def open_image(content: bytes | None, max_pixels: int) -> Image.Image:
    """Return an image whose header is read and whose size is checked, before any pixel is decoded."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise UndecodableError("there are no image bytes")
    with _undecodable("the image data are damaged"), _own_limit(None):
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            raise UndecodableError(f"no image of the formats {', '.join(FORMATS)}") from None
    if image.width * image.height > max_pixels:
        raise UndecodableError(f"{image.width} × {image.height} pixels are more than data.max_pixels = {max_pixels}")
    return image


@contextmanager
def pixel_limit(max_pixels: int) -> Iterator[None]:
    """Make whatever is raised inside an UndecodableError, and have Pillow refuse larger images by their header.

    It is for images that other libraries open.
    """
    with _undecodable("the image cannot be read"), _own_limit(max_pixels):
        yield


@contextmanager
def _undecodable(what: str) -> Iterator[None]:
    """Turn whatever is raised inside into an UndecodableError: decoders raise nearly anything on damaged bytes."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata, which do not count here.
            warnings.simplefilter("ignore")
            yield
    except UndecodableError:
        raise
    except MemoryError:
        raise UndecodableError("there is not enough memory for its pixels") from None
    except Exception as error:
        raise UndecodableError(f"{what} ({type(error).__name__}: {error})") from None


@contextmanager
def _own_limit(max_pixels: int | None) -> Iterator[None]:
    """Put another limit in the place of Pillow's own."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UndecodableError(f"{error} data.max_pixels = {max_pixels}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _planes(image: Image.Image) -> Pixels:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _planes_of(values: NDArray[Any]) -> Pixels:
    """Return a checked pixel array as uint8 [C, H, W]."""
    shape = values.shape
    if values.ndim not in (2, 3) or not values.size:
        raise UndecodableError(f"a pixel array has the shape {shape}; expected [H, W], [H, W, C] or [C, H, W]")
    if values.dtype != np.uint8:
        whole = np.issubdtype(values.dtype, np.integer)
        if not whole or values.min() < 0 or values.max() > 255:
            raise UndecodableError(f"a pixel array holds {values.dtype} values; expected whole numbers 0 … 255")
        values = values.astype(np.uint8)
    if values.ndim == 2:
        return values[None]
    first, last = shape[0] in (1, 3), shape[2] in (1, 3)
    if first and last:
        raise UndecodableError(f"a pixel array has the shape {shape}, whose channels may come first or last")
    if not first and not last:
        raise UndecodableError(f"a pixel array has the shape {shape}; expected 1 or 3 channels, first or last")
    return values if first else values.transpose(2, 0, 1)
