"""What a sampler is, and the registry of them: adding a sampler is adding one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from dualprune.config import SelectConfig
from dualprune.registry import Registry
from dualprune.selection.ranking import Draw


@dataclass(frozen=True)
class Summary:
    """What a sampler knows of all samples: their number, and the mean μ of the highest-scored ones (NaN without μ)."""

    num_samples: int
    anchor: float


class Sampler(ABC):
    """One way to choose the samples to keep; built from `config.select`."""

    needs_mean_prob: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, config: SelectConfig) -> None: ...

    @abstractmethod
    def draw(self, ratio: float, summary: Summary) -> tuple[Draw, dict[str, Any]]:
        """Return what ranks samples for a ratio, and the parameters that it came to, as JSON values."""


SAMPLERS: Registry[type[Sampler]] = Registry("sampler", "dualprune.samplers")
