"""Reads numbers with units that people write."""

from __future__ import annotations

import re

from dualprune.errors import UserError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_time(text: str, name: str) -> float:
    """Return the seconds of a time such as `600`, `90s`, `10m` or `1.5h`; a UserError names the setting `name`."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smhd]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UserError(f"{name} {text}: expected a time above 0, such as 600, 90s, 10m or 2h")
    return float(match[1]) * _SECONDS[match[2]]
