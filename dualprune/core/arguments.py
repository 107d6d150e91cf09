"""Checks the arguments of public functions, as core.config checks the values of a configuration."""

from __future__ import annotations

from numbers import Integral
from typing import Any, get_args

from dualprune.core.registry import nearest
from dualprune.errors import ConfigError


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raise a ConfigError unless `value` is one of the `choices`, a `Literal` of strings."""
    known = get_args(choices)
    if value not in known:
        near = nearest(value, known) if isinstance(value, str) else ""
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(map(repr, known))}{near}")


def check_whole(name: str, value: Any, least: int) -> int:
    """Return `value` as an int; a ConfigError unless it is a whole number, and at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConfigError(f"{name}: {value!r} is not a whole number of {least} or more")
    return int(value)
