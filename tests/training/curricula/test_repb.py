"""RePB: numbers worked by hand, and a plain loop of the formula."""

from __future__ import annotations

import numpy as np
import pytest

from dualprune.training.curricula._draws import uniforms
from tests.training.curricula.shown import facts, made, show, step_of, weights


def test_repb_of_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    curriculum = made("repb", facts(4))
    noise = np.array([0.4, 0.6, 0.1, 0.9])
    monkeypatch.setattr("dualprune.training.curricula.repb.uniforms", lambda salt, epoch, count: noise)
    show(curriculum, 0, [1.0, 2.0, 3.0, 6.0])
    assert weights(curriculum, 1).tolist() == [0.0, 1.0, 1.0, 1.0]
    # Outside, with a U of 0.4 below 1 - rho, it comes back; the second is easy and stays by its U.
    show(curriculum, 1, [9.0, 2.0, 3.0, 6.0], step=step_of(np.array([False, True, True, True])))
    assert weights(curriculum, 2).tolist() == [2.0, 1.0, 0.0, 1.0]
    curriculum.num_chosen, curriculum.chosen = np.array([4, 2, 1, 4]), np.ones(4, dtype=bool)
    assert weights(curriculum, 4).tolist() == [1.0, 2.0, 4.0, 1.0]
    constant = made("repb", facts(4))
    show(constant, 0, [0.1] * 4)
    assert weights(constant, 1).tolist() == [1.0] * 4


def test_repb_as_a_plain_loop() -> None:
    rng = np.random.default_rng(7)
    curriculum = made("repb", facts(40), window=2, rho=0.6)
    chosen, times = set(range(40)), [0] * 40
    for epoch in range(10):
        found = weights(curriculum, epoch)
        for i in range(40):
            expected = (epoch / times[i] if epoch else 1.0) if i in chosen else 0.0
            assert found[i] == pytest.approx(expected, rel=1e-6)
        loss, noise = rng.gamma(1.0, size=40).astype(np.float32), uniforms(curriculum.salt, epoch, 40)
        step = step_of(found > 0)
        show(curriculum, epoch, loss, step=step)
        stay = set()
        for i in chosen:
            times[i] += 1
            window = [float(loss[j]) for j in chosen if step[j] // 2 == step[i] // 2]
            if loss[i] >= sum(window) / len(window) or noise[i] >= 0.6:
                stay.add(i)
        chosen = stay | {i for i in range(40) if i not in chosen and noise[i] < 0.4}
