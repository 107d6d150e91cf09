"""The statistics that can be recorded: one number a sample from its logits, on the device, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from dualprune.dynamics.statistics import STATISTICS


class Statistic(Protocol):
    """Maps log-probabilities [b, K] and targets [b] to one value a sample, [b]."""

    def __call__(self, log_prob: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return float32 [b]."""
        ...


@torch.no_grad()
def compute_statistics(names: Sequence[str], logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the named statistics of logits [b, K] and targets [b] as float32 [len(names), b]."""
    log_prob = torch.log_softmax(logits.detach().float(), dim=1)
    return torch.stack([STATISTICS[name](log_prob, targets) for name in names])


@STATISTICS.register("target_prob")
def target_prob(log_prob: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the probability of the target class."""
    return log_prob.gather(1, targets[:, None])[:, 0].exp()


@STATISTICS.register("loss")
def loss(log_prob: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy, in nats."""
    return -log_prob.gather(1, targets[:, None])[:, 0]


@STATISTICS.register("margin")
def margin(log_prob: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's probability less the highest of the others."""
    prob = log_prob.exp()
    others = prob.scatter(1, targets[:, None], -1.0)
    return target_prob(log_prob, targets) - others.amax(dim=1)


@STATISTICS.register("entropy")
def entropy(log_prob: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the entropy of the prediction, in nats."""
    result: torch.Tensor = torch.special.entr(log_prob.exp()).sum(dim=1)
    return result


@STATISTICS.register("el2n")
def el2n(log_prob: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean norm of the error vector (arXiv 2107.07075)."""
    prob = log_prob.exp()
    ones = torch.zeros_like(prob).scatter_(1, targets[:, None], 1.0)
    result: torch.Tensor = torch.linalg.vector_norm(prob - ones, dim=1)
    return result


@STATISTICS.register("correct")
def correct(log_prob: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return 1 where the prediction is the target, else 0."""
    return (log_prob.argmax(dim=1) == targets).float()
