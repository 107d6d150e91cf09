"""What holds for every curriculum: exact numbers, resuming from the state, and losses that are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dualprune.errors import RunError
from dualprune.training.curricula import CURRICULA
from dualprune.training.curricula._draws import floor_of, mean, nearest_of
from tests.training.curricula.shown import facts, made, show, step_of, weights

NAMES = ("bls", "dynamic_random", "infobatch", "kakurenbo", "orderdp", "rcap", "repb", "rs2", "seta")


def test_exact_numbers() -> None:
    assert [floor_of(share, 100) for share in (0.29, 0.57, 0.58)] == [29, 57, 58]
    assert [nearest_of(0.9, 5), nearest_of(0.7, 5), nearest_of(0.5, 3)] == [4, 4, 2]
    values = np.random.default_rng(0).random(1001).astype(np.float32)
    assert mean(values) == mean(values[::-1]) == math.fsum(map(float, values)) / 1001
    assert mean(np.full(3, 0.1, dtype=np.float32)) == np.float32(0.1)


def test_every_curriculum_is_there() -> None:
    assert set(NAMES) <= set(CURRICULA.names())


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_training_chooses_as_an_undisturbed_one(name: str) -> None:
    rng = np.random.default_rng(9)
    straight = made(name, facts(60, epochs=12))
    chosen = []
    for epoch in range(10):
        if epoch == 5:
            # After epoch 4 the state was kept, and epoch 5 is lost.
            state = {key: value.copy() for key, value in straight.state_dict().items()}
            resumed = made(name, facts(60, epochs=12))
            resumed.load_state_dict(state)
        curricula = [straight] if epoch < 5 else [straight, resumed]
        found = [weights(one, epoch) for one in curricula]
        assert (found[0] == found[-1]).all()
        # plan is a function of the state and the epoch.
        assert (weights(straight, epoch) == found[0]).all()
        choices = [one.plan(epoch) for one in curricula]
        assert len({None if one is None else one.lr_factor for one in choices}) == 1
        chosen.append(found[0])
        loss = rng.gamma(0.5, size=60).astype(np.float32)
        step = step_of(found[0] > 0)
        if name == "kakurenbo":
            step[found[0] == 0] = -1
        for one in curricula:
            show(one, epoch, loss, step=step)
    assert any((found == 0).any() for found in chosen[5:])
    # The state that was kept did not change with the training that went on.
    again = made(name, facts(60, epochs=12))
    again.load_state_dict(state)
    assert (weights(again, 5) == chosen[5]).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("rs2", "dynamic_random")])
def test_a_loss_that_is_no_number_is_refused(name: str) -> None:
    curriculum = made(name, facts(20))
    loss = np.ones(20)
    loss[13] = np.nan
    with pytest.raises(RunError, match=rf"epoch 0: the losses of 1 samples are not finite, so '{name}' cannot choose"):
        show(curriculum, 0, loss)
