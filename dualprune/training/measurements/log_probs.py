"""The logarithms of the class probabilities of each sample, from a model at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dualprune.training.measurements import MEASUREMENTS, TrainedModel
from dualprune.training.measurements._models import ModelMeasurement

if TYPE_CHECKING:
    import torch

    from dualprune.data.loader import Batch


@MEASUREMENTS.register("log_probs")
class LogProbs(ModelMeasurement):
    """Logarithms of the class probabilities, for scores by a model at rest."""

    cost = "a forward pass per sample and model; 4 · K bytes per sample in the run"

    def measure(self, model: TrainedModel | None, state: Any, batch: Batch) -> torch.Tensor:
        assert model is not None
        return model.logits(batch.inputs).double().log_softmax(dim=1)
