"""The distance of each sample from the model's decision boundary, by DeepFool (arXiv 1511.04599).

At x, the boundary with class l lies, to first order, |f_l - f_y| / ‖∇f_l - ∇f_y‖ away. A step goes to the nearest of
these; steps follow until the prediction changes. The distance is the length of their sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt

from dualprune.training.measurements import MEASUREMENTS, TrainedModel
from dualprune.training.measurements._models import ModelMeasurement, ModelOptions

if TYPE_CHECKING:
    import torch

    from dualprune.data.loader import Batch


@MEASUREMENTS.register("boundary_distance")
class BoundaryDistance(ModelMeasurement):
    """The Euclidean distance from the decision boundary, in units of the normalised inputs, by DeepFool."""

    cost = "per sample up to 50 forward passes, each with a backward pass per class"

    class Options(ModelOptions):
        """Options of `boundary_distance`."""

        baseline: ClassVar[Mapping[str, Any]] = {
            **ModelOptions.baseline,
            "iterations": 50,
            "overshoot": 0.02,
            "classes": None,
        }
        iterations: PositiveInt = Field(50, description="At most this many steps.")
        overshoot: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
            0.02,
            description="Share by which the sum of the steps is exceeded, so that the boundary is crossed; it does not "
            "count as distance.",
        )
        classes: PositiveInt | None = Field(
            None, description="Only look at this many other classes, those with the highest logits; null: all."
        )

    def measure(self, model: TrainedModel | None, state: Any, batch: Batch) -> torch.Tensor:
        """Return the distances [b]: 0 where the prediction is wrong, infinite where no gradient leads anywhere."""
        import torch

        assert model is not None
        inputs, targets = batch.inputs, batch.targets
        with torch.no_grad():
            logits = model.logits(inputs)
        logits = logits.scatter(1, targets[:, None], -torch.inf)
        others = logits.argsort(dim=1, descending=True, stable=True)[:, :-1][:, : self.options.classes]
        moved, unreachable = torch.zeros_like(inputs), torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
        rows = torch.arange(len(inputs), device=inputs.device)
        for _ in range(self.options.iterations):
            start = inputs[rows] + (1.0 + self.options.overshoot) * moved[rows]
            inside, step, far = nearest_boundary(model, start, targets[rows], others[rows])
            # What crossed the boundary stays where it is.
            rows, step, far = rows[inside], step[inside], far[inside]
            unreachable[rows[far]] = True
            rows, step = rows[~far], step[~far]
            if not len(rows):
                break
            moved[rows] += step
        distance = moved.flatten(1).norm(dim=1)
        return torch.where(unreachable, torch.inf, distance)


def nearest_boundary(
    model: TrainedModel, inputs: torch.Tensor, targets: torch.Tensor, others: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return which samples are predicted right, the step to the nearest boundary, and which have none.

    Args:
        model: in evaluation mode.
        inputs: [b, …].
        targets: int64 [b].
        others: int64 [b, c], the other classes to look at.

    Returns:
        bool [b], [b, …], bool [b]. Only the steps of samples that are predicted right, and have a boundary, count.
    """
    import torch

    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        logits = model.logits(inputs)
        inside = logits.argmax(dim=1) == targets
        nearest = torch.full_like(logits[:, 0], torch.inf)
        step = torch.zeros_like(inputs)
        if inside.any():
            ahead = logits.gather(1, others) - logits.gather(1, targets[:, None])
            for number in range(others.shape[1]):
                [slope] = torch.autograd.grad(ahead[:, number].sum(), inputs, retain_graph=True)
                length = slope.flatten(1).norm(dim=1)
                gap = ahead[:, number].detach().abs()
                distance = torch.where(length > 0, gap / length, torch.inf)
                closer = distance < nearest
                nearest = torch.where(closer, distance, nearest)
                shape = (-1, *[1] * (inputs.ndim - 1))
                along = slope * (gap / length.square()).reshape(shape)
                step = torch.where(closer.reshape(shape), along, step)
    return inside, step.detach(), nearest.detach().isinf()
