"""Checks the arguments of public functions, as core.config checks the values of a configuration."""

from __future__ import annotations

from typing import Any, get_args

from dualprune.core.registry import nearest
from dualprune.errors import ConfigError


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raise a ConfigError unless `value` is one of the `choices`, a `Literal` of strings."""
    known = get_args(choices)
    if value not in known:
        near = nearest(value, known) if isinstance(value, str) else ""
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(map(repr, known))}{near}")
