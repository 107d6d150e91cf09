"""The network that a worker trains: built from a seed, in the form that suits its device, one of several ranks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from dualprune.core.config import Config
from dualprune.data.facts import DataFacts
from dualprune.training import collectives
from dualprune.training.models import make_model
from dualprune.training.sync_norm import with_synced_norm


def build_network(
    config: Config,
    facts: DataFacts,
    device: torch.device,
    *,
    seed: int,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
) -> nn.Module:
    """Return the configuration's model on the device, with weights drawn from the seed.

    `wrap` makes the model one of several ranks, such as `ray.train.torch.prepare_model`; None: this rank is alone.
    """
    torch.manual_seed(seed)
    model = make_model(config.model).build(facts.num_classes, facts.shape).to(device)
    if device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    if wrap is None:
        return model
    if config.train.sync_batch_norm and collectives.world_size() > 1:
        model = with_synced_norm(model, device)
    return wrap(model)
