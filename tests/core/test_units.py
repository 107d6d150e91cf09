"""Times that people write and read."""

from __future__ import annotations

import pytest

from dualprune.core.units import parse_time, time_text
from dualprune.errors import UserError


@pytest.mark.parametrize(("text", "seconds"), [("600", 600), ("90s", 90), ("10m", 600), ("1.5 h", 5400), ("1d", 86400)])
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text, "--time-budget") == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "ten", "5 weeks", "m"])
def test_wrong_times(text: str) -> None:
    with pytest.raises(UserError, match="expected a time above 0"):
        parse_time(text, "--time-budget")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (3569, "59 min"),
        (3600, "1 h"),
        (3 * 3600 + 310, "3 h 5 min"),
        (86399, "1 d"),
        (100 * 3600, "4 d 4 h"),
    ],
)
def test_times_in_words(seconds: float, text: str) -> None:
    assert time_text(seconds) == text
