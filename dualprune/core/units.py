"""Times as people write and read them."""

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


def time_text(seconds: float) -> str:
    """Return a duration in words, in its two largest units, such as `45 s`, `12 min`, `3 h 5 min` or `2 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    large, small, units = (*divmod(minutes, 60), ("h", "min"))
    if large >= 24:
        large, small, units = (*divmod(round(minutes / 60), 24), ("d", "h"))
    return f"{large} {units[0]}" + (f" {small} {units[1]}" if small else "")
