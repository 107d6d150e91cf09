"""InfoBatch: numbers worked by hand, and a plain loop of the formula."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.curricula.shown import facts, made, show, step_of, weights


def infobatch_of_the_example(**options: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the weights after losses of which 19 of 32 are below the mean, and which those are."""
    curriculum = made("infobatch", facts(32), **options)
    loss = np.where(np.arange(32) % 5 < 3, 1.0, 4.0)
    loss[30] = 4.0
    assert curriculum.plan(0) is None
    show(curriculum, 0, loss)
    assert np.count_nonzero(loss < loss.mean()) == 19
    return weights(curriculum, 1), loss < loss.mean()


def test_infobatch_of_the_example() -> None:
    found, well = infobatch_of_the_example()
    assert np.count_nonzero(found) == 22
    assert np.count_nonzero(found[well]) == 9
    assert (found[~well] == 1.0).all()
    assert found[well].max() == np.float32(19 / 9)
    assert found.sum() == pytest.approx(32)
    authors, _ = infobatch_of_the_example(weight="ratio")
    assert (authors > 0).tolist() == (found > 0).tolist()
    assert authors[well].max() == 2.0


def test_infobatch_stops_pruning_at_the_end_of_the_schedule() -> None:
    for epochs, last in ((200, 174), (90, 77)):
        curriculum = made("infobatch", facts(32, epochs=epochs))
        show(curriculum, 0, np.arange(32.0))
        assert curriculum.plan(last) is not None
        assert curriculum.plan(last + 1) is None


def test_infobatch_as_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    curriculum = made("infobatch", facts(50), ratio=0.3)
    score = [3.0] * 50
    for epoch in range(12):
        found = weights(curriculum, epoch)
        average = math.fsum(score) / 50
        well = [i for i in range(50) if score[i] < average] if epoch else []
        stay = [i for i in well if found[i] > 0]
        assert len(stay) == (max(1, (7 * len(well)) // 10) if well else 0)
        for i in range(50):
            expected = 1.0 if i not in well else len(well) / len(stay) if i in stay else 0.0
            assert found[i] == pytest.approx(expected, abs=1e-6)
        loss = rng.gamma(2.0, size=50).astype(np.float32)
        show(curriculum, epoch, loss, step=step_of(found > 0))
        # Those left out keep their last loss.
        score = [float(loss[i]) if found[i] > 0 else score[i] for i in range(50)]
    constant = made("infobatch", facts(50))
    show(constant, 0, np.full(50, 0.1))
    assert constant.plan(1) is None
