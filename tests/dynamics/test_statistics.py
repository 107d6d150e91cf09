from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from dualprune.dynamics.statistics import STATISTICS, Forward, check_needs, make_statistics
from dualprune.errors import ConfigError

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [-50.0, 50.0, 0.0]])
TARGETS = torch.tensor([0, 1, 0])


def test_each_statistic_equals_its_definition() -> None:
    names = STATISTICS.names()
    forward = Forward(logits=LOGITS, targets=TARGETS)
    values = {statistic.name: statistic.compute(forward) for statistic in make_statistics(names)}
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
            "logit_margin": row[target] - max(x for k, x in enumerate(row) if k != target),
            "class_logits": [math.log(max(x, 1e-300)) for x in p],
            # What `combine` compares with the epoch before.
            "kl": p,
        }
        assert set(expected) == set(names)
        for name, value in expected.items():
            assert values[name][i].tolist() == pytest.approx(value, rel=1e-5, abs=2e-6), name


def test_kl_is_the_absolute_divergence_from_the_epoch_before() -> None:
    random = np.random.default_rng(0)
    now, before = random.dirichlet([0.3] * 4, 50), random.dirichlet([0.3] * 4, 50)
    now[0], before[0] = [1, 0, 0, 0], [0, 1, 0, 0]
    found = STATISTICS["kl"]().combine(now.astype(np.float32), before.astype(np.float32))
    for i in range(50):
        expected = sum(
            abs(p * (math.log(p + 1e-8) - math.log(q + 1e-8))) for p, q in zip(now[i], before[i], strict=True)
        )
        assert found[i] == pytest.approx(expected, rel=1e-4), i
    assert found.dtype == np.float32
    assert STATISTICS["kl"].first_epoch == 1
    assert not STATISTICS["kl"]().combine(now.astype(np.float32), now.astype(np.float32)).any()


def test_half_precision_logits_give_single_precision_statistics() -> None:
    [statistic] = make_statistics(["target_prob"])
    values = statistic.compute(Forward(logits=LOGITS.bfloat16(), targets=TARGETS))
    assert values.dtype == torch.float32
    assert values.shape == (3,)


def test_no_gradient_is_kept() -> None:
    logits = LOGITS.clone().requires_grad_()
    [statistic] = make_statistics(["loss"])
    assert not statistic.compute(Forward(logits=logits, targets=TARGETS)).requires_grad


def test_an_unknown_statistic() -> None:
    with pytest.raises(ConfigError, match=r"unknown statistic 'los'.*did you mean 'loss'"):
        make_statistics(["los"])


def test_a_loop_without_logits_has_what_it_gives() -> None:
    prob, loss = torch.tensor([0.25, 1.0]), torch.tensor([3.0, 0.5])
    pairs, regression = Forward(target_prob=prob), Forward(loss=loss)
    assert STATISTICS["target_prob"]().compute(pairs).tolist() == prob.tolist()
    torch.testing.assert_close(STATISTICS["loss"]().compute(pairs), -prob.log())
    assert STATISTICS["loss"]().compute(regression).tolist() == loss.tolist()
    check_needs(make_statistics(["loss", "target_prob"]), pairs)
    with pytest.raises(ConfigError, match=r"margin needs log_prob, and a step of .* has only: target_prob, loss;"):
        check_needs(make_statistics(["loss", "margin"]), pairs)
    with pytest.raises(ConfigError, match=r"target_prob needs target_prob, and a step of .* has only: loss;"):
        check_needs(make_statistics(["target_prob"]), regression)


def test_statistics_are_listed_without_torch() -> None:
    code = "import sys; from dualprune.dynamics.statistics import STATISTICS as s; s.names(); print(*sys.modules)"
    assert "torch" not in subprocess.check_output([sys.executable, "-c", code], text=True).split()
