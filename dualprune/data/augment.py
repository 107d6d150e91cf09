"""Random changes of images. Those of a sample depend on seed, epoch and position alone, not on the rank.

Each change draws whole numbers per sample on the host (`draw`), and is done for a batch on the device (`apply`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from numpy.typing import NDArray

from dualprune.core.hashing import mix, salted, stream_salt, uniform
from dualprune.core.sections import TrainConfig

# Of torchvision's random resized crop: how often it tries, and the limits of width / height.
ATTEMPTS = 10
RATIO = (3 / 4, 4 / 3)


class Change(Protocol):
    """One kind of random change; `rows` is how many whole numbers it draws per sample."""

    rows: int

    def draw(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the random numbers of the samples at positions [m], int64 [rows, m]."""
        ...

    def apply(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return images [b, C, H, W], of bytes or of values 0 … 255, changed as draws int64 [rows, b] say."""
        ...


class Augment:
    """The changes of a recipe for images of a shape [C, H, W], in order; none for arrays of a shape [d]."""

    def __init__(self, recipe: TrainConfig, shape: tuple[int, ...], seed: int) -> None:
        self._changes: list[Change] = []
        if len(shape) != 3:
            return
        if recipe.augment == "random_resized_crop":
            self._changes.append(ResizedCrop(shape[1:], recipe.crop_scale, seed))
        elif recipe.augment == "crop_flip" or (recipe.augment == "crop" and recipe.crop_padding > 0):
            self._changes.append(CropFlip(recipe.augment, recipe.crop_padding, seed))
        if recipe.color_jitter > 0.0:
            self._changes.append(ColorJitter(recipe.color_jitter, seed))

    def draw(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the random numbers of all changes, int64 [rows, m]; no rows where nothing changes."""
        nothing = np.empty((0, len(positions)), dtype=np.int64)
        return np.vstack([nothing, *(change.draw(positions, epoch) for change in self._changes)])

    def apply(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return images [b, C, H, W], changed as draws int64 [rows, b] say."""
        start = 0
        for change in self._changes:
            images = change.apply(images, draws[start : start + change.rows])
            start += change.rows
        return images


class CropFlip:
    """Zero padding and a random crop (`crop`), then a random mirror image (`crop_flip`)."""

    rows = 3

    def __init__(self, kind: str, padding: int, seed: int) -> None:
        self._padding = padding
        self._flip = kind == "crop_flip"
        self._salt = stream_salt(seed, "augment")

    def draw(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return, per sample, the rows and columns to move by and whether to mirror (0 or 1): int64 [3, m]."""
        noise = _noise(positions, epoch, self._salt)
        span = np.uint64(2 * self._padding + 1)
        down = (noise >> np.uint64(32)) * span >> np.uint64(32)
        # 31 bits, as the last one is the flip's.
        across = (noise >> np.uint64(1) & np.uint64(0x7FFFFFFF)) * span >> np.uint64(31)
        flip = (noise & np.uint64(1)) if self._flip else np.zeros_like(noise)
        return np.stack([down, across, flip]).astype(np.int64)

    def apply(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return images [b, C, H, W], each cut out of its zero-padded self and mirrored as draws int64 [3, b] say."""
        count, channels, height, width = images.shape
        device = images.device
        padded = F.pad(images, (self._padding,) * 4)
        rows = draws[0][:, None] + torch.arange(height, device=device)
        across = torch.arange(width, device=device)
        columns = draws[1][:, None] + torch.where(draws[2][:, None] > 0, width - 1 - across, across)
        item = torch.arange(count, device=device)[:, None, None, None]
        channel = torch.arange(channels, device=device)[None, :, None, None]
        return padded[item, channel, rows[:, None, :, None], columns[:, None, None, :]]


class ResizedCrop:
    """A random part of the image, resized to the image's size, then a random mirror image.

    The part is drawn as torchvision's RandomResizedCrop draws it: a share of the area within `scale` and a ratio of
    3/4 … 4/3, at most ten times until it fits, else the largest part in the centre whose ratio is within the limits.
    As the part is never larger than the result, bilinear interpolation needs no smoothing before it.
    """

    rows = 5

    def __init__(self, size: tuple[int, ...], scale: list[float], seed: int) -> None:
        self._height, self._width = size
        self._scale = scale
        self._salt = stream_salt(seed, "augment")

    def draw(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return, per sample, the part's top, left, height and width, and whether to mirror (0 or 1): int64 [5, m]."""
        noise = _noise(positions, epoch, self._salt)
        drawn = np.empty((5, len(noise)), dtype=np.int64)
        drawn[:4] = np.array(self._in_centre())[:, None]
        drawn[4] = (noise & np.uint64(1)).astype(np.int64)
        low, high = np.log(RATIO)
        open_ones = np.arange(len(noise))
        for _ in range(ATTEMPTS):
            share, ratio, down, across = np.empty((4, len(noise)))
            for values in (share, ratio, down, across):
                noise = mix(noise)
                values[:] = uniform(noise)
            area = (self._scale[0] + (self._scale[1] - self._scale[0]) * share) * self._height * self._width
            aspect = np.exp(low + (high - low) * ratio)
            height, width = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
            fits = (height > 0) & (height <= self._height) & (width > 0) & (width <= self._width)
            top = np.floor(down * (self._height - height + 1))
            left = np.floor(across * (self._width - width + 1))
            drawn[:4, open_ones[fits]] = np.stack([top, left, height, width])[:, fits]
            open_ones, noise = open_ones[~fits], noise[~fits]
            if not len(open_ones):
                break
        return drawn

    def apply(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return the parts of images [b, C, H, W] that draws int64 [5, b] name, float32 [b, C, H, W]."""
        rows = _places(draws[0], draws[2], self._height)
        columns = _places(draws[1], draws[3], self._width)
        columns = torch.where(draws[4][:, None] > 0, columns.flip(1), columns)
        shape = (len(images), self._height, self._width)
        grid = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], dim=3)
        return F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _in_centre(self) -> tuple[int, int, int, int]:
        ratio = self._width / self._height
        height = round(self._width / RATIO[0]) if ratio < RATIO[0] else self._height
        width = round(self._height * RATIO[1]) if ratio > RATIO[1] else self._width
        return (self._height - height) // 2, (self._width - width) // 2, height, width


class ColorJitter:
    """Brightness, contrast and saturation, in this order, each times a random factor of 1 - strength … 1 + strength.

    Each is what torchvision's functions of these names do with values 0 … 255; the hue stays.
    """

    rows = 3

    def __init__(self, strength: float, seed: int) -> None:
        self._strength = strength
        self._salt = stream_salt(seed, "augment/color")

    def draw(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return three whole numbers of 24 bits per sample, int64 [3, m]: float32 holds them exactly."""
        noise = [_noise(positions, epoch, self._salt)]
        for _ in range(2):
            noise.append(mix(noise[-1]))
        return (np.stack(noise) >> np.uint64(40)).astype(np.int64)

    def apply(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Return images [b, C, H, W] of values 0 … 255 with other colours, float32, as draws int64 [3, b] say."""
        factors = 1.0 + self._strength * (draws.float() * 2.0**-23 - 1.0)
        brightness, contrast, saturation = factors[:, :, None, None, None]
        images = (images.float() * brightness).clamp(0.0, 255.0)
        mean = _gray(images).mean(dim=(1, 2, 3), keepdim=True)
        images = (contrast * images + (1.0 - contrast) * mean).clamp(0.0, 255.0)
        if images.shape[1] != 3:
            return images
        changed: torch.Tensor = saturation * images + (1.0 - saturation) * _gray(images)
        return changed.clamp(0.0, 255.0)


def _noise(positions: NDArray[np.int64], epoch: int, salt: np.uint64) -> NDArray[np.uint64]:
    salts = mix(np.array([salt, epoch], dtype=np.uint64))
    return salted(positions.astype(np.uint64), salts[0] ^ salts[1])


def _places(start: torch.Tensor, length: torch.Tensor, size: int) -> torch.Tensor:
    """Return where `size` pixels of the result lie in each image, -1 … 1 from edge to edge, float32 [b, size]."""
    start, length = start[:, None].float(), length[:, None].float()
    between = (torch.arange(size, device=start.device) + 0.5) * (length / size) - 0.5
    # No pixel outside the part shows at its edges.
    inside = torch.minimum(between.clamp(min=0.0), length - 1.0)
    return (2.0 * (start + inside) + 1.0) / size - 1.0


def _gray(images: torch.Tensor) -> torch.Tensor:
    """Return the brightness of images [b, C, H, W] as [b, 1, H, W], with the weights of ITU-R BT.601."""
    if images.shape[1] != 3:
        return images
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    gray: torch.Tensor = 0.2989 * red + 0.587 * green + 0.114 * blue
    return gray
