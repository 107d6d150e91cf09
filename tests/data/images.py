"""Encoded images of every kind, for the tests of decoding."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

# EXIF orientations, and what makes an upright array [H, W, …] the one that is stored with each.
AS_STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
_BEST = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def encoded(image: Image.Image | np.ndarray, form: str = "PNG", **options: object) -> bytes:
    """Return an image or an array [H, W, …] in a format, without loss where the format can."""
    stream = io.BytesIO()
    opened = Image.fromarray(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image
    opened.save(stream, form, **{**_BEST.get(form, {}), **options})
    return stream.getvalue()


def with_orientation(upright: np.ndarray, orientation: int, form: str = "PNG") -> bytes:
    """Return an upright array [H, W, …] as a camera stores it that was held in another way."""
    stored = AS_STORED[orientation](upright)
    if form == "TIFF":
        return encoded(stored, form, tiffinfo={0x0112: orientation})
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, form, exif=exif)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Return random pixels uint8 [H, W] or [H, W, C]."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def landscape(height: int, width: int) -> np.ndarray:
    """Return uint8 [H, W, 3] with little detail, and another value at each border."""
    down, right = np.mgrid[0:height, 0:width]
    planes = [255 * right / width, 255 * down / height, 127 + 100 * np.sin(9 * (right + down) / (width + height))]
    return np.stack(planes, axis=2).astype(np.uint8)


def examples() -> dict[str, bytes]:
    """Return a small image of each kind that people's files contain, by name."""
    colour, gray = Image.fromarray(landscape(20, 24)), Image.fromarray(landscape(20, 24)[..., 2])
    more = [Image.fromarray(noise(20, 24, 3, seed=seed)) for seed in (1, 2)]
    deep = Image.fromarray(landscape(20, 24)[..., 0].astype(np.uint16) * 257)
    animated = {"save_all": True, "append_images": more}
    return {
        "jpeg": encoded(colour, "JPEG", quality=90),
        "jpeg with exif": with_orientation(landscape(20, 24), 6, "JPEG"),
        "progressive jpeg": encoded(colour, "JPEG", progressive=True),
        "gray jpeg": encoded(gray, "JPEG"),
        "cmyk jpeg": encoded(colour.convert("CMYK"), "JPEG"),
        "several jpegs": encoded(colour, "MPO", **animated),
        "png": encoded(colour),
        "png with exif": with_orientation(landscape(20, 24), 3),
        "palette png": encoded(colour.quantize(16), transparency=3),
        "transparent png": encoded(colour.convert("RGBA")),
        "deep png": encoded(deep),
        "1-bit png": encoded(gray.convert("1")),
        "animated png": encoded(colour, **animated),
        "webp": encoded(colour, "WEBP", lossless=False),
        "lossless webp": encoded(colour, "WEBP"),
        "animated webp": encoded(colour, "WEBP", **animated),
        "avif": encoded(colour, "AVIF", quality=80),
        "avif with exif": with_orientation(landscape(20, 24), 8, "AVIF"),
        "animated avif": encoded(colour, "AVIF", **animated),
        "gif": encoded(colour.quantize(16), "GIF"),
        "animated gif": encoded(colour, "GIF", **animated),
        "tiff": encoded(colour, "TIFF"),
        "compressed tiff": encoded(colour, "TIFF", compression="tiff_lzw"),
        "tiff of jpeg": encoded(colour, "TIFF", compression="jpeg"),
        "deep tiff": encoded(deep, "TIFF", compression="tiff_adobe_deflate"),
        "float tiff": encoded(Image.fromarray(landscape(20, 24)[..., 0].astype(np.float32)), "TIFF"),
        "cmyk tiff": encoded(colour.convert("CMYK"), "TIFF"),
        "bmp": encoded(colour, "BMP"),
        "jpeg 2000": encoded(colour, "JPEG2000"),
        "ppm": encoded(colour, "PPM"),
    }
