"""Times that people write."""

from __future__ import annotations

import pytest

from dualprune.core.units import parse_time
from dualprune.errors import UserError


@pytest.mark.parametrize(("text", "seconds"), [("600", 600), ("90s", 90), ("10m", 600), ("1.5 h", 5400), ("1d", 86400)])
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text, "--time-budget") == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "ten", "5 weeks", "m"])
def test_wrong_times(text: str) -> None:
    with pytest.raises(UserError, match="expected a time above 0"):
        parse_time(text, "--time-budget")
