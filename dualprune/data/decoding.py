"""Brings one image, encoded or as pixels, to uint8 [C, H, W]."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dualprune.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

GRAY_MODES = {"1", "L", "LA", "I", "I;16", "F"}
# Pillow reads further formats. For EPS it would start another program, which runs code in the file.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


class UndecodableError(Exception):
    """An image cannot be decoded; the message says why."""


def open_image(content: bytes | None, max_pixels: int) -> Image.Image:
    """Return an image whose header is read and whose size is checked, before any pixel is decoded."""
    from PIL import Image

    if not content:
        raise UndecodableError("there are no image bytes")
    try:
        with warnings.catch_warnings():
            # The limit is checked below, against max_pixels.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UndecodableError(str(error)) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UndecodableError(f"no image of the formats {', '.join(FORMATS)} ({error})") from None
    if image.width * image.height > max_pixels:
        raise UndecodableError(f"{image.width} × {image.height} pixels are more than data.max_pixels = {max_pixels}")
    return image


@contextmanager
def pixel_limit(max_pixels: int) -> Iterator[None]:
    """Have Pillow refuse larger images by their header, including those that other libraries open."""
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


def pixels(image: Image.Image, channels: int, size: int | None) -> NDArray[np.uint8]:
    """Return uint8 [channels, H, W]; with `size`, the shorter side is resized to it and the centre is cropped."""
    from PIL import Image

    try:
        converted = image.convert("L" if channels == 1 else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise UndecodableError(f"the image data are damaged ({error})") from None
    if size is not None and converted.size != (size, size):
        scale = size / min(converted.size)
        width, height = (max(size, round(side * scale)) for side in converted.size)
        converted = converted.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - size) // 2, (height - size) // 2
        converted = converted.crop((left, top, left + size, top + size))
    array = np.asarray(converted)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def num_channels(image: Image.Image) -> int:
    """Return 1 for a gray image, 3 for any other."""
    return 1 if image.mode in GRAY_MODES else 3


def from_array(array: Any, size: int | None) -> NDArray[np.uint8]:
    """Return uint8 [C, H, W] of pixels [H, W], [H, W, C] or [C, H, W] in 0 … 255."""
    from PIL import Image

    values = np.asarray(array)
    if values.ndim not in (2, 3):
        raise DataError(f"a pixel array has the shape {values.shape}; expected [H, W], [H, W, C] or [C, H, W]")
    if values.dtype != np.uint8:
        whole = np.issubdtype(values.dtype, np.integer)
        if not whole or values.min() < 0 or values.max() > 255:
            raise DataError(f"a pixel array holds {values.dtype} values; expected whole numbers 0 … 255")
        values = values.astype(np.uint8)
    if values.ndim == 2:
        values = values[None]
    elif values.shape[2] in (1, 3) and values.shape[0] not in (1, 3):
        values = values.transpose(2, 0, 1)
    elif values.shape[0] not in (1, 3):
        raise DataError(f"a pixel array has the shape {values.shape}; expected 1 or 3 channels, first or last")
    if size is not None and values.shape[1:] != (size, size):
        hwc = values[0] if len(values) == 1 else values.transpose(1, 2, 0)
        values = pixels(Image.fromarray(np.ascontiguousarray(hwc)), len(values), size)
    return np.ascontiguousarray(values)
