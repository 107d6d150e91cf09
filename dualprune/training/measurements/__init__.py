"""Measurements, one file each, and their contract: numbers or vectors taken once per sample, after recording.

The result is a column of the run, which scores read by the measurement's name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dualprune.core.registry import Plugin, Registry
from dualprune.core.sections import ModelConfig
from dualprune.core.storage import Location

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dualprune.data.loader import Batch
    from dualprune.training.models import Model


@dataclass(frozen=True)
class Recorded:
    """The result of a recording: the model's configuration, its shape, and the newest checkpoint, if one is kept."""

    model: ModelConfig
    num_classes: int
    sample_shape: tuple[int, ...]
    checkpoint: Location | None


@dataclass(frozen=True)
class TrainedModel:
    """A model with weights, in evaluation mode."""

    plugin: Model
    module: nn.Module

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits [b, K] of inputs [b, …]."""
        found: torch.Tensor = self.module(inputs)
        return found

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the input of the last layer for inputs [b, …], float [b, d]."""
        return self.plugin.features(self.module, inputs)


class Measurement(Plugin, ABC):
    """A number or vector per sample: the mean of `measure` over the models.

    Define `measure`, and import torch inside it. It runs without gradient, on unaugmented samples, a task per bucket.
    """

    # Whether the results depend on the recorded model, and not on the samples alone.
    reads_model: ClassVar[bool] = True

    def own_inputs(self) -> list[str]:
        """Return the fingerprints of what else results depend on, such as a file that an option names."""
        return []

    def models(self, recorded: Recorded) -> Iterator[TrainedModel | None]:
        """Yield the models to measure with, by default the recorded one, as its recording ended.

        None stands for no model, where `reads_model` is False. A RunError where no checkpoint is kept.
        """
        from dualprune.errors import RunError

        if not self.reads_model:
            yield None
            return
        if recorded.checkpoint is None:
            raise RunError(
                f"{self.name} measures with the recorded model, and no checkpoint of it is kept; record again"
            )
        from dualprune.training.checkpoint import load_model
        from dualprune.training.models import make_model

        plugin = make_model(recorded.model)
        module = plugin.build(recorded.num_classes, recorded.sample_shape)
        load_model(module, recorded.checkpoint)
        yield TrainedModel(plugin, module.eval())

    def prepare(self, model: TrainedModel | None, batches: Iterator[Batch]) -> Any:
        """Return what `measure` needs to know about all samples, small and picklable; called once, before it."""
        return None

    @classmethod
    def prepares(cls) -> bool:
        """Whether it has `prepare`, which takes a pass over all training samples."""
        return cls.prepare is not Measurement.prepare

    @abstractmethod
    def measure(self, model: TrainedModel | None, state: Any, batch: Batch) -> torch.Tensor:
        """Return float [b], or [b, d], for the samples of a batch."""


MEASUREMENTS: Registry[type[Measurement]] = Registry(
    "measurement", "dualprune.training.measurements", "dualprune.measurements"
)
