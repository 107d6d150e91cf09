"""The optimizers of a recipe."""

from __future__ import annotations

import torch
from torch import nn

from dualprune.core.sections import TrainConfig


def make_optimizer(model: nn.Module, recipe: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    """Return the recipe's optimizer of all parameters: one kernel per step on a GPU, the plain loop elsewhere."""
    fused = True if device.type == "cuda" else None
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            model.parameters(),
            lr=recipe.lr,
            betas=(recipe.betas[0], recipe.betas[1]),
            weight_decay=recipe.weight_decay,
            fused=fused,
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=fused,
    )
