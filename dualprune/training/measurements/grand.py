"""GraNd: the norm of each sample's gradient of the loss (arXiv 2107.07075).

The gradient by the weights and the bias of the last layer is the outer product of p - e, the class probabilities less
the one-hot target, with the features h and a 1. Its norm is ‖p - e‖ · sqrt(1 + ‖h‖²).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from dualprune.errors import ConfigError
from dualprune.training.measurements import MEASUREMENTS, TrainedModel
from dualprune.training.measurements._models import ModelMeasurement, ModelOptions, last_linear

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dualprune.data.loader import Batch

# Gradients of all parameters are held for as many samples as fit into this many bytes, at least one.
MAX_GRADIENT_BYTES = 1 << 28


@MEASUREMENTS.register("grand")
class Grand(ModelMeasurement):
    """The norm of the gradient of a sample's loss, by default of the last layer's, over ten new models."""

    cost = "a forward pass per sample and model; with layers: all, a backward pass per sample, too"

    class Options(ModelOptions):
        """Options of `grand`."""

        baseline: ClassVar[Mapping[str, Any]] = {**ModelOptions.baseline, "initialisations": 10, "layers": "last"}
        initialisations: int = Field(
            10,
            ge=0,
            lt=1 << 31,
            description="Average over this many models with new random weights; 0: the recorded model. `weights` go "
            "first.",
        )
        layers: Literal["last", "all"] = Field(
            "last", description="The gradient by the parameters of the last layer, or by all of the model's."
        )

    def measure(self, model: TrainedModel | None, state: Any, batch: Batch) -> torch.Tensor:
        import torch

        assert model is not None
        if self.options.layers == "all":
            return norms_of_all(model.module, batch.inputs, batch.targets)
        logits, features, has_bias = self._last_layer(model.module, batch.inputs)
        one_hot = torch.nn.functional.one_hot(batch.targets, logits.shape[1])
        error = logits.double().softmax(dim=1) - one_hot
        squared = features.double().flatten(1).square().sum(dim=1)
        norm: torch.Tensor = torch.linalg.vector_norm(error, dim=1) * (squared + has_bias).sqrt()
        return norm

    def _last_layer(self, module: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Return logits [b, K], the last layer's input [b, d], and whether that layer has a bias."""
        import torch

        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        last = last_linear(module)
        logits: torch.Tensor
        if last is None:
            logits = module(inputs)
        else:
            hook = last.register_forward_hook(lambda _, given, made: seen.append((given[0], made)))
            try:
                logits = module(inputs)
            finally:
                hook.remove()
        if last is None or len(seen) != 1 or not torch.equal(seen[0][1], logits):
            raise ConfigError(
                "measure.options.grand.layers: last: the logits of this model are not the result of a linear layer; "
                "set it to all"
            )
        return logits, seen[0][0], last.bias is not None


def norms_of_all(module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the norm of the gradient by all parameters of the loss of each sample, float64 [b]."""
    import torch
    from torch.func import functional_call, grad, vmap

    parameters = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}
    buffers = {name: value.detach() for name, value in module.named_buffers()}

    def loss(values: dict[str, torch.Tensor], one: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits = functional_call(module, (values, buffers), (one[None],))
        return torch.nn.functional.cross_entropy(logits, target[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))
    size = sum(value.numel() * value.element_size() for value in parameters.values())
    rows = max(1, MAX_GRADIENT_BYTES // max(size, 1))
    norms = []
    for some, own in zip(torch.split(inputs, rows), torch.split(targets, rows), strict=True):
        found = gradients(parameters, some, own)
        norms.append(sum(value.double().flatten(1).square().sum(dim=1) for value in found.values()))
    joined: torch.Tensor = torch.cat(norms).sqrt()
    return joined
