"""What images of every kind become, and that no damaged one does anything but be refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dualprune.data.decoding import UndecodableError, Wanted, decode

AS_IT_IS = Wanted(None, None, 50_000_000)
RAMP = np.arange(64).reshape(8, 8) * 1000


def encoded(image: Image.Image | np.ndarray, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, form, **options)
    return stream.getvalue()


def noise(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def test_values_of_more_than_8_bits_are_scaled_by_their_type() -> None:
    expected = np.round(RAMP / 65535 * 255)[None]
    for form in ("PNG", "TIFF", "JPEG2000", "PPM"):
        assert np.array_equal(decode(encoded(RAMP.astype(np.uint16), form), AS_IT_IS), expected), form
    big_endian = Image.frombytes("I;16B", (8, 8), RAMP.astype(">u2").tobytes())
    assert np.array_equal(decode(encoded(big_endian, "TIFF"), AS_IT_IS), expected)
    # PGM files name their highest value.
    assert decode(b"P5 2 1 1000\n" + np.array([500, 1000], ">u2").tobytes(), AS_IT_IS).ravel().tolist() == [128, 255]
    colour = b"P6 1 1 65535\n" + np.array([257, 514, 65535], ">u2").tobytes()
    assert decode(colour, AS_IT_IS).ravel().tolist() == [1, 2, 255]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(RAMP.astype(np.float32), "TIFF"), "its pixels are 32-bit floats, whose range is not known"),
        (encoded(RAMP.astype(np.int32), "TIFF"), "its pixels are signed or 32-bit integers, whose range is not known"),
        (encoded(RAMP.astype(np.uint16), "TIFF", tiffinfo={262: 0}), "its 16-bit values count from white to black"),
        (encoded(noise(40, 40, 3), "JPEG")[:-200], r"the image data are damaged \(OSError: image file is truncated"),
        (encoded(noise(40, 40, 3))[:200], "the image data are damaged"),
        (b"no image", "no image of the formats AVIF, BMP"),
        (b"", "there are no image bytes"),
        (None, "there are no image bytes"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(content: bytes | None, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason):
        decode(content, AS_IT_IS)
