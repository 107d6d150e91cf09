"""The result of decoding a source: its parts, and facts about all of them. No torch, which decoding does not need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Decoded images uint8 [n, C, H, W], their labels int64 [n], and which of them could be decoded, bool [n].
DecodedShard = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]


@dataclass(frozen=True)
class DataFacts:
    """The facts about a decoded data set; `mean` and `std` per channel are those of pixels in [0, 1]."""

    shape: tuple[int, int, int]
    num_train: int
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped_ids: tuple[Any, ...]
