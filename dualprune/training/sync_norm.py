"""Batch normalisation over the batches of all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dualprune.training import collectives


class SyncedNorm(_BatchNorm):
    """The arithmetic of torch's SyncBatchNorm, which runs on accelerators only, for a CPU."""

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - torch's name
        """Any number of dimensions is right: the layer that this one replaces takes its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Normalise the inputs [b, C, ...] by mean and variance per channel over all ranks, in training mode."""
        if not self.training:
            normed: torch.Tensor = super().forward(input)
            return normed
        axes = [0, *range(2, input.dim())]
        shape = (1, -1, *[1] * (input.dim() - 2))
        values = input.float()
        own = torch.full((1,), values.numel() / values.shape[1])
        sums = _AllSum.apply(torch.cat([values.sum(axes), own]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = _AllSum.apply(centred.square().sum(axes)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        values = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            values = values * self.weight.view(shape) + self.bias.view(shape)
        result: torch.Tensor = values.to(input.dtype)
        return result

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _AllSum(torch.autograd.Function):
    """The sum over ranks. Each rank's loss depends on it, so its gradient is the sum over ranks as well."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        return collectives.all_sum(values.clone())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return collectives.all_sum(gradient.clone())


def with_synced_norm(module: nn.Module, device: torch.device) -> nn.Module:
    """Return the module with every batch normalisation replaced; parameters, buffers and their names stay."""
    if device.type != "cpu":
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return synced
    if isinstance(module, _BatchNorm):
        norm = SyncedNorm(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
        norm.weight, norm.bias = module.weight, module.bias
        norm.running_mean, norm.running_var = module.running_mean, module.running_var
        norm.num_batches_tracked = module.num_batches_tracked
        return norm.train(module.training)
    for name, child in module.named_children():
        setattr(module, name, with_synced_norm(child, device))
    return module
