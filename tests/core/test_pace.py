"""The time left, from when steps ended."""

from __future__ import annotations

import pytest

from dualprune.core.pace import Pace


def test_it_is_known_after_a_step_of_any_length_and_counts_down() -> None:
    pace = Pace(10)
    assert pace.left(0.0) is None
    pace.note(0, at=1000.0)
    assert pace.left(1500.0) is None
    pace.note(1, at=1600.0)
    assert pace.left(1600.0) == 9 * 600.0
    assert pace.left(1700.0) == 9 * 600.0 - 100.0
    pace.note(1, at=1900.0)
    assert pace.left(1900.0) == 9 * 600.0 - 300.0
    pace.note(2, at=2000.0)
    assert pace.left(2000.0) == 8 * 500.0
    # A step that takes longer than those before it.
    assert pace.left(9999.0) == 0.0


def test_work_that_is_resumed_has_the_pace_of_what_was_done_now() -> None:
    pace = Pace(10)
    pace.note(6, at=50.0)
    assert pace.left(55.0) is None
    pace.note(7, at=60.0)
    assert pace.left(60.0) == 30.0
    # A worker failed, and an earlier epoch is trained again.
    pace.note(5, at=80.0)
    assert pace.left(85.0) is None
    pace.note(6, at=84.0)
    assert pace.left(84.0) == 16.0


def test_the_pace_is_that_of_the_recent_steps() -> None:
    pace, now = Pace(2000), 0.0
    for count in range(1001):
        now += 1.0 if count < 500 else 0.1
        pace.note(count, now)
    # The last minute has nearly 600 steps of 0.1 s, and a few of 1 s.
    assert pace.left(now) == pytest.approx(100.0, rel=0.25)
    for count in range(1001, 1021):
        now += 30.0
        pace.note(count, now)
    assert pace.left(now) == pytest.approx(980 * 30.0)
