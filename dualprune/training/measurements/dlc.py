"""Distorting-based learning complexity: how well a network still places a sample as its weights are masked.

The features of a sample are compared with the mean features of each class; the loss is the cross-entropy of the
inverse distances as logits. It is averaged over `passes` passes. The first one has all weights, and before each other
one the share `mask` of those that are left is masked, the smallest first (arXiv 2402.05356).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import Field, PositiveInt

from dualprune.errors import ConfigError
from dualprune.training.measurements import MEASUREMENTS, Recorded, TrainedModel
from dualprune.training.measurements._models import ModelMeasurement, ModelOptions, last_linear

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dualprune.data.loader import Batch

# The smallest distance: a sample that is on a centroid has a finite logit, 1e6.
SMALLEST = 1e-6


@dataclass(frozen=True)
class MaskableModel(TrainedModel):
    """A model with the weights that can be masked, and the rank of each by its size, the smallest first."""

    weights: tuple[nn.Parameter, ...]
    ranks: tuple[torch.Tensor, ...]


@MEASUREMENTS.register("dlc")
class Dlc(ModelMeasurement):
    """Distorting-based learning complexity, the mean loss of a network while more and more weights are masked."""

    needs_classes = False
    cost = "a pass over all samples, then 50 forward passes per sample; 8 · K · d bytes"

    class Options(ModelOptions):
        """Options of `dlc`."""

        baseline: ClassVar[Mapping[str, Any]] = {**ModelOptions.baseline, "passes": 50, "mask": 0.02}
        initialisations: int = Field(
            0, ge=0, le=1, description="1: a model with new random weights; 0: the recorded model."
        )
        passes: PositiveInt = Field(50, description="Passes to average over; the first has all weights.")
        mask: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
            0.02, description="Share of the weights left that is masked before each pass but the first."
        )

    def models(self, recorded: Recorded) -> Iterator[TrainedModel | None]:
        """Yield the model with the ranks of its weights: those of all convolutions and linear layers but the last."""
        for model in super().models(recorded):
            assert model is not None
            weights = maskable(model.module)
            if not weights:
                raise ConfigError(
                    "measure.options.dlc: the model has no weights to mask, neither a convolution nor a linear layer "
                    "before its last one; name another model (architecture, weights)"
                )
            yield MaskableModel(model.plugin, model.module, weights, ranks_of(weights))

    def prepare(self, model: TrainedModel | None, batches: Iterator[Batch]) -> Any:
        """Return the mean features of each class, float64 [K, d], NaN for a class without samples."""
        import torch

        assert model is not None
        sums: dict[int, torch.Tensor] = {}
        counts: dict[int, int] = {}
        with torch.no_grad():
            for batch in batches:
                features = model.features(batch.inputs).double()
                for label in torch.unique(batch.targets).tolist():
                    own = features[batch.targets == label]
                    sums[label] = sums.get(label, 0.0) + own.sum(dim=0)
                    counts[label] = counts.get(label, 0) + len(own)
        width = len(next(iter(sums.values())))
        centroids = torch.full((max(sums) + 1, width), torch.nan, dtype=torch.float64)
        for label, total in sums.items():
            centroids[label] = total / counts[label]
        return centroids

    def measure(self, model: TrainedModel | None, state: Any, batch: Batch) -> torch.Tensor:
        import torch

        assert isinstance(model, MaskableModel)
        whole = [weight.detach().clone() for weight in model.weights]
        size = sum(weight.numel() for weight in whole)
        total = torch.zeros(len(batch.inputs), dtype=torch.float64, device=batch.inputs.device)
        masked = 0
        try:
            for number in range(self.options.passes):
                if number:
                    masked += round(self.options.mask * (size - masked))
                    _mask(model, whole, masked)
                with torch.no_grad():
                    features = model.features(batch.inputs)
                total += loss_of(features, state.to(features.device), batch.targets)
        finally:
            _mask(model, whole, 0)
        mean: torch.Tensor = total / self.options.passes
        return mean


def maskable(module: nn.Module) -> tuple[nn.Parameter, ...]:
    """Return the weights of all convolutions and linear layers but the last linear one."""
    from torch import nn

    last = last_linear(module)
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    layers = [layer for layer in module.modules() if isinstance(layer, kinds) and layer is not last]
    return tuple(cast("nn.Parameter", layer.weight) for layer in layers)


def ranks_of(weights: tuple[nn.Parameter, ...]) -> tuple[torch.Tensor, ...]:
    """Return the rank of each weight among all, by absolute value from 0, ties in the order of the layers."""
    import torch

    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    ranks = torch.empty(len(sizes), dtype=torch.int64, device=sizes.device)
    ranks[sizes.argsort(stable=True)] = torch.arange(len(sizes), device=sizes.device)
    parts = torch.split(ranks, [weight.numel() for weight in weights])
    return tuple(part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True))


def loss_of(features: torch.Tensor, centroids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of the inverse distances to centroids [K, d] as logits, float64 [b].

    A class whose centroid is NaN has no samples, and is left out.
    """
    import torch

    distances = torch.cdist(features.double(), centroids, compute_mode="donot_use_mm_for_euclid_dist")
    logits = 1.0 / distances.clamp(min=SMALLEST)
    logits[:, centroids.isnan().any(dim=1)] = -torch.inf
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def _mask(model: MaskableModel, whole: list[torch.Tensor], number: int) -> None:
    """Set the smallest weights to 0, this many, and all others to what they were."""
    import torch

    with torch.no_grad():
        for weight, before, rank in zip(model.weights, whole, model.ranks, strict=True):
            weight.copy_(before * (rank >= number))
