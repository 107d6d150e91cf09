"""The features of each sample: the input of the model's last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dualprune.training.measurements import MEASUREMENTS, TrainedModel
from dualprune.training.measurements._models import ModelMeasurement

if TYPE_CHECKING:
    import torch

    from dualprune.data.loader import Batch


@MEASUREMENTS.register("features")
class Features(ModelMeasurement):
    """The input of the model's last layer, for scores from features."""

    needs_classes = False
    cost = "a forward pass per sample and model; 4 · d bytes per sample in the run"

    def measure(self, model: TrainedModel | None, state: Any, batch: Batch) -> torch.Tensor:
        assert model is not None
        return model.features(batch.inputs)
