"""What images of every kind become."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dualprune.data.decoding import UndecodableError, Wanted, decode, from_array
from tests.data.images import AS_STORED, encoded, examples, landscape, noise, with_orientation

AS_IT_IS = Wanted(None, None, 50_000_000)
RAMP = np.arange(64).reshape(8, 8) * 1000


def wanted(channels: int | None = None, size: int | None = None, rule: int = 2) -> Wanted:
    return Wanted(channels, size, 50_000_000, rule)


def hwc(image: np.ndarray) -> np.ndarray:
    """Return uint8 [C, H, W] as whole numbers [H, W, C]."""
    return image.transpose(1, 2, 0).astype(np.int64)


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


@pytest.mark.parametrize("name", [name for name in examples() if name != "float tiff"])
def test_every_kind_of_file_shows_the_first_image_upright(name: str) -> None:
    found = decode(examples()[name], AS_IT_IS)
    if len(found) == 1:
        bit = 255 if "1-bit" in name else 12
        plane = 0 if "deep" in name else 2
        assert np.abs(hwc(found)[..., 0] - landscape(20, 24)[..., plane]).mean() < bit
    else:
        # Palettes, printing colours and lossy files are near; another frame or a turned image is 50 and more away.
        assert found.shape == (3, 20, 24)
        assert np.abs(hwc(found) - landscape(20, 24)).mean() < 20


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", AS_STORED)
def test_images_are_turned_upright(form: str, orientation: int) -> None:
    upright = landscape(20, 36)
    content = with_orientation(upright, orientation, form)
    assert np.abs(hwc(decode(content, AS_IT_IS)) - upright).max() <= (0 if form in ("PNG", "WEBP", "TIFF") else 8)
    # Turned and resized is the same as resized, but for rounding.
    resized = decode(encoded(upright), wanted(size=9))
    assert np.abs(hwc(decode(content, wanted(size=9))) - hwc(resized)).max() <= 3


def test_damaged_exif_data_leave_the_pixels_alone() -> None:
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(40))):
        content = encoded(landscape(8, 8), "JPEG", exif=exif)
        assert np.array_equal(decode(content, AS_IT_IS), decode(encoded(landscape(8, 8), "JPEG"), AS_IT_IS))


def as_defined(mode: str, stored: Image.Image) -> np.ndarray:
    """Return the gray or colour values [H, W] or [H, W, 3] that an image of a mode shows, from its definition."""
    values = np.asarray(stored).astype(np.int64)
    if mode == "1":
        return values * 255
    if mode == "P":
        return np.asarray(stored.getpalette()).reshape(-1, 3)[values]
    if mode == "I;16":
        return np.round(values / 65535 * 255).astype(np.int64)
    if mode == "CMYK":
        return np.round((255 - values[..., :3]) * (255 - values[..., 3:]) / 255).astype(np.int64)
    return values[..., 0] if mode == "LA" else values[..., :3] if mode == "RGBA" else values


@st.composite
def images(draw: st.DrawFn) -> tuple[str, np.ndarray, bytes]:
    """Return an image's mode, the values that it shows, and its file, in a format that loses nothing."""
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"]))
    forms = {"CMYK": ["TIFF"], "RGB": ["PNG", "TIFF", "WEBP"], "RGBA": ["PNG", "TIFF", "WEBP"]}
    form = draw(st.sampled_from(forms.get(mode, ["PNG", "TIFF"])))
    pixels = noise(draw(st.integers(1, 12)), draw(st.integers(1, 12)), 4, seed=draw(st.integers(0, 99)))
    if mode == "I;16":
        made = Image.fromarray(pixels[..., 0].astype(np.uint16) * 256 + pixels[..., 1])
    elif mode == "P":
        made = Image.fromarray(pixels[..., :3]).quantize(8)
    elif mode == "1":
        made = Image.fromarray(pixels[..., 0]).convert("1")
    else:
        bands = [Image.fromarray(pixels[..., band]) for band in range(len(mode))]
        made = Image.merge(mode, bands)
    return mode, as_defined(mode, made), encoded(made, form)


@settings(max_examples=150, deadline=None)
@given(images(), st.sampled_from([None, 1, 3]), st.sampled_from([None, 1, 7]))
def test_any_mode_becomes_what_it_shows(image, channels: int | None, size: int | None) -> None:
    mode, shown, content = image
    gray = mode in ("1", "L", "LA", "I;16")
    found = decode(content, wanted(channels, size))
    count = channels or (1 if gray else 3)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    if size is not None:
        assert found.shape == (count, size, size)
        if count == 3 or gray:
            # A weighted mean of the values there.
            assert shown.min() - 1 <= found.min() <= found.max() <= shown.max() + 1
        return
    if gray:
        expected = shown[..., None].repeat(count, axis=2)
    elif count == 1:
        expected = np.round(shown @ [0.299, 0.587, 0.114])[..., None]
    else:
        expected = shown
    assert np.abs(hwc(found) - expected).max() <= (1 if mode == "CMYK" or (count == 1 and not gray) else 0)


@pytest.mark.parametrize("lies", [True, False])
def test_a_thin_image_is_cropped_before_it_is_scaled(lies: bool) -> None:
    pixels = np.zeros((1, 60_000, 3), dtype=np.uint8)
    pixels[:, 29_990:30_010] = (7, 8, 9)
    program = """
import resource, sys
from dualprune.data.decoding import Wanted, decode
from PIL import Image
content = sys.stdin.buffer.read()
Image.preinit()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = decode(content, Wanted(None, 224, 50_000_000))
assert found.shape == (3, 224, 224), found.shape
assert (found == [[[7]], [[8]], [[9]]]).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    content = encoded(pixels if lies else pixels.swapaxes(0, 1))
    ran = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    # KiB; the whole image would take 12 GB when it is scaled.
    assert int(ran.stdout) < 20_000


def test_too_little_memory_for_an_image_makes_it_undecodable() -> None:
    program = """
import resource, sys
from dualprune.data.decoding import UndecodableError, Wanted, decode
from PIL import Image
content = sys.stdin.buffer.read()
Image.init()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 50_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    decode(content, Wanted(None, 224, 50_000_000))
except UndecodableError as error:
    print(error)
"""
    content = encoded(np.zeros((6_000, 8_000, 3), np.uint8))
    ran = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=False)
    assert ran.stdout == b"there is not enough memory for its pixels\n", ran.stderr.decode()


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    pixels = landscape(768, 1024)
    content = encoded(pixels, "JPEG", quality=95)
    small, exact = (hwc(decode(some, wanted(size=64))) for some in (content, encoded(pixels)))
    assert np.abs(small - exact).mean() < 0.7
    # No side is reduced below twice the size that is wanted: nothing changes for images that are smaller than that.
    near = encoded(landscape(127, 160), "JPEG")
    whole = encoded(Image.fromarray(decode(near, AS_IT_IS).transpose(1, 2, 0)))
    assert np.array_equal(decode(near, wanted(size=64)), decode(whole, wanted(size=64)))


def test_the_limit_of_pixels_is_the_configured_one_whatever_pillow_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UndecodableError, match=r"8 × 9 pixels are more than data\.max_pixels = 71"):
        decode(encoded(noise(9, 8)), Wanted(None, None, 71))
    # Pillow by itself would refuse more than twice its own limit.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert decode(encoded(noise(9, 8)), Wanted(None, None, 72)).shape == (1, 9, 8)
    assert Image.MAX_IMAGE_PIXELS == 20


def as_versions_before(image: Image.Image, channels: int, size: int | None) -> np.ndarray:
    flat = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        scale = size / min(flat.size)
        width, height = (max(size, round(side * scale)) for side in flat.size)
        left, top = (width - size) // 2, (height - size) // 2
        flat = flat.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    array = np.asarray(flat)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


@pytest.mark.parametrize("size", [None, 8, 31])
def test_the_first_rule_yields_the_pixels_of_versions_before(size: int | None) -> None:
    for made in (noise(20, 33, 3), noise(41, 23), noise(24, 30, 4), RAMP.astype(np.uint16)):
        for channels in (1, 3):
            expected = as_versions_before(Image.fromarray(made), channels, size)
            assert np.array_equal(decode(encoded(made), wanted(channels, size, rule=1)), expected)
    turned = with_orientation(landscape(20, 36), 6)
    assert decode(turned, wanted(rule=1)).shape == (3, 36, 20)
    thin = encoded(np.zeros((1, 60_000), np.uint8))
    with pytest.raises(UndecodableError, match=r"60000 × 1 pixels become 13440000 × 224 when the shorter side"):
        decode(thin, wanted(1, 224, rule=1))


def test_pixel_arrays_keep_their_colour_or_get_the_channels_that_are_wanted() -> None:
    gray, colour = noise(9, 8), noise(9, 8, 3)
    for rule in (1, 2):
        assert np.array_equal(from_array(gray, wanted(rule=rule)), gray[None])
        for form in (colour, colour.transpose(2, 0, 1), colour.astype(np.int64), colour.tolist()):
            assert np.array_equal(from_array(form, wanted(rule=rule)), colour.transpose(2, 0, 1))
    assert np.array_equal(from_array(gray[..., None], wanted(3)), np.stack([gray] * 3))
    assert np.array_equal(from_array(colour, wanted(1))[0], np.asarray(Image.fromarray(colour).convert("L")))
    for pixels in (gray, colour):
        assert np.array_equal(from_array(pixels, wanted(size=4)), decode(encoded(pixels), wanted(size=4)))
    assert from_array(gray, wanted(3, 4)).shape == (3, 4, 4)
    expected = as_versions_before(Image.fromarray(colour), 3, 5)
    assert np.array_equal(from_array(colour, wanted(size=5, rule=1)), expected)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (noise(4, 5) / 255, "holds float64 values; expected whole numbers 0 … 255"),
        (noise(4, 5).astype(np.uint16) + 300, "holds uint16 values; expected whole numbers 0 … 255"),
        (np.full((4, 5), -1), "holds int64 values; expected whole numbers 0 … 255"),
        (noise(4, 5) > 9, "holds bool values; expected whole numbers 0 … 255"),
        (noise(4), r"has the shape \(4,\); expected \[H, W\], \[H, W, C\] or \[C, H, W\]"),
        (noise(0, 5), r"has the shape \(0, 5\); expected"),
        (noise(4, 5, 4), r"has the shape \(4, 5, 4\); expected 1 or 3 channels, first or last"),
        (noise(3, 5, 3), r"has the shape \(3, 5, 3\), whose channels may come first or last"),
        ([[1, 2], [3]], "the pixel array cannot be used"),
        ([[1, None], [3, 4]], "holds object values; expected whole numbers 0 … 255"),
        (None, r"has the shape \(\); expected"),
    ],
)
def test_pixel_arrays_of_other_values_or_shapes_are_refused(array: object, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason):
        from_array(array, AS_IT_IS)
