"""Random crops and flips. Those of a sample depend on seed, epoch and position alone, not on the rank."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from numpy.typing import NDArray

from dualprune.core.hashing import mix, salted, stream_salt


class CropFlip:
    """Zero padding and a random crop (`crop`), then a random mirror image (`crop_flip`); `none` does neither."""

    def __init__(self, kind: str, padding: int, seed: int) -> None:
        self._padding = padding if kind in ("crop", "crop_flip") else 0
        self._flip = kind == "crop_flip"
        self._salt = stream_salt(seed, "augment")

    @property
    def active(self) -> bool:
        """Whether images change."""
        return self._flip or self._padding > 0

    def draw(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return, per sample, the rows and columns to move by and whether to mirror (0 or 1): int64 [3, m]."""
        salt = mix(np.array([self._salt, epoch], dtype=np.uint64))
        noise = salted(positions.astype(np.uint64), salt[0] ^ salt[1])
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
