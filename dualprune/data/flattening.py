"""Brings an opened image to 8 bits, gray or colour, and the wanted size.

There are two rules; a run keeps the one that it began with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B")
_TIFF_BITS, _TIFF_PHOTOMETRIC, _ORIENTATION = 258, 262, 274
# What turns or mirrors an image upright, by the value of its EXIF orientation.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


class UndecodableError(Exception):
    """An image cannot be decoded; the message says why."""


def flatten(image: Image.Image, channels: int | None, size: int | None) -> Image.Image:
    """Return an image in mode L or RGB: upright, and with `size` the centre square, resized to it.

    `channels` is 1, 3, or None: 1 for an image without colour, 3 for any other. A JPEG that is much larger than `size`
    is decoded at 1/2, 1/4 or 1/8 of its size, but at no less than twice `size`.
    """
    reduced = None if size is None else image.draft(None, (2 * size, 2 * size))
    # Before the orientation is read: TIFF images are turned upright while they are loaded.
    image.load()
    extent = image.size if reduced is None else reduced[1][2:]
    gray = is_gray(image) if channels is None else channels == 1
    flat = _eight_bits(image).convert("L" if gray else "RGB")
    if size is not None:
        flat = centre_square(flat, size, extent)
    return _turned(flat, _orientation(image))


def centre_square(image: Image.Image, size: int, extent: tuple[float, float] | None = None) -> Image.Image:
    """Return the centre square of an image, resized to `size`; nothing outside of it is scaled.

    `extent` is the part of the image, from its upper left corner, that holds pixels.
    """
    from PIL import Image

    if image.size == (size, size):
        return image
    width, height = extent or image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, min(left + side, width), min(top + side, height))
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def is_gray(image: Image.Image) -> bool:
    """Return whether an image has no colour, by its mode."""
    return image.mode in ("1", "L", "LA", "La", "I", "F", *_SIXTEEN_BITS)


def flatten_first(image: Image.Image, channels: int | None, size: int | None, max_pixels: int) -> Image.Image:
    """Return an image as versions before the rule of `flatten` did.

    Values above 255 become 255, EXIF orientation is ignored, and the whole image is scaled before it is cropped.
    """
    from PIL import Image

    gray = is_gray(image) if channels is None else channels == 1
    flat = image.convert("L" if gray else "RGB")
    if size is None or flat.size == (size, size):
        return flat
    scale = size / min(flat.size)
    width, height = (max(size, round(side * scale)) for side in flat.size)
    if width * height > max_pixels:
        raise UndecodableError(
            f"{image.width} × {image.height} pixels become {width} × {height} when the shorter side is resized to "
            f"{size}, more than data.max_pixels = {max_pixels}"
        )
    flat = flat.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return flat.crop((left, top, left + size, top + size))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image whose values are scaled to 8 bits by the range of their type, not by the values it holds."""
    from PIL import Image

    tags = getattr(image, "tag_v2", {})
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format == "PPM"):
        if tags.get(_TIFF_PHOTOMETRIC) == 0:
            raise UndecodableError("its 16-bit values count from white to black; convert it to 8 bits")
        highest = (1 << tags.get(_TIFF_BITS, (16,))[0]) - 1
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + highest // 2) // highest).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "32-bit floats" if image.mode == "F" else "signed or 32-bit integers"
        raise UndecodableError(f"its pixels are {kind}, whose range is not known; convert it to 8 or 16 bits")
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        # Damaged EXIF data say nothing about the pixels, which have been decoded.
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(Image.Transpose[method])
