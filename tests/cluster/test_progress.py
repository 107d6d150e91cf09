"""What is shown of work under way: on a terminal, and in the log."""

from __future__ import annotations

import logging

import pytest

from dualprune.cluster import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that the display reads, to be changed."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def steps_of_45_s(clock: list[float]) -> None:
    with progress.progress_bar("record", total=10) as done:
        for note in ("loss 2.000", "loss 1.000"):
            clock[0] += 45.0
            done(note)


def test_the_log_tells_the_time_left_whatever_a_step_takes(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "dualprune"):
        steps_of_45_s(clock)
    assert caplog.messages == ["record: 1 of 10, 7 min left, loss 2.000", "record: 2 of 10, 6 min left, loss 1.000"]


def test_the_bar_tells_the_time_left(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    steps_of_45_s(clock)
    assert "2/10" in (shown := capsys.readouterr().err)
    assert "6 min left" in shown


def test_what_was_done_before_is_shown_at_once(caplog: pytest.LogCaptureFixture) -> None:
    board = progress.ProgressBoard()
    assert board.state() == (None, "")
    board.set(4)
    assert board.state() == (4, "")
    with caplog.at_level(logging.INFO, "dualprune"), progress._Display("record", 10) as display:
        display.show(4)
    assert caplog.messages == ["record: 4 of 10"]
