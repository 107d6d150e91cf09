from __future__ import annotations

import math

import pytest
import torch

from dualprune.dynamics.statistics import STATISTICS
from dualprune.dynamics.statistics.builtin import compute_statistics
from dualprune.errors import ConfigError

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [-50.0, 50.0, 0.0]])
TARGETS = torch.tensor([0, 1, 0])


def test_each_statistic_equals_its_definition() -> None:
    names = STATISTICS.names()
    values = dict(zip(names, compute_statistics(names, LOGITS, TARGETS), strict=True))
    for i, (row, target) in enumerate(zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)):
        exponentials = [math.exp(x - max(row)) for x in row]
        p = [x / sum(exponentials) for x in exponentials]
        others = [x for k, x in enumerate(p) if k != target]
        expected = {
            "target_prob": p[target],
            "loss": -math.log(p[target]),
            "margin": p[target] - max(others),
            "entropy": -sum(x * math.log(x) for x in p if x > 0),
            "el2n": math.sqrt(sum((x - (k == target)) ** 2 for k, x in enumerate(p))),
            "correct": float(max(range(3), key=lambda k: row[k]) == target),
        }
        assert set(expected) == set(names)
        for name, value in expected.items():
            assert float(values[name][i]) == pytest.approx(value, rel=1e-5, abs=1e-7), name


def test_half_precision_logits_give_single_precision_statistics() -> None:
    values = compute_statistics(["target_prob"], LOGITS.bfloat16(), TARGETS)
    assert values.dtype == torch.float32
    assert values.shape == (1, 3)


def test_no_gradient_is_kept() -> None:
    logits = LOGITS.clone().requires_grad_()
    assert not compute_statistics(["loss"], logits, TARGETS).requires_grad


def test_an_unknown_statistic() -> None:
    with pytest.raises(ConfigError, match=r"unknown statistic 'los'.*did you mean 'loss'"):
        compute_statistics(["los"], LOGITS, TARGETS)
