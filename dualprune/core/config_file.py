"""Reads a configuration: a YAML file and `a.b=c` overrides in, a checked `Config` or a `ConfigError` out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from dualprune.core.config import Config
from dualprune.core.registry import nearest
from dualprune.core.storage import Location
from dualprune.errors import ConfigError


def load_config(place: str | os.PathLike[str] | Location | None = None, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of a YAML file with `overrides` such as `select.ratio=0.7` laid over it.

    Values of overrides are YAML. Nothing in the file is interpolated. Every problem is named in one ConfigError.
    """
    values: dict[str, Any] = {}
    if place is not None:
        location = Location.of(place)
        if not location.is_file():
            raise ConfigError(f"{location}: there is no such configuration file")
        values = _parse_yaml(location.read_bytes(), str(location))
    for override in overrides:
        _apply_override(values, override)
    return make_config(values)


def override_values(overrides: Sequence[str]) -> dict[str, Any]:
    """Return overrides such as `score.window=5` as nested values, for `make_config`."""
    values: dict[str, Any] = {}
    for override in overrides:
        _apply_override(values, override)
    return values


def make_config(values: Mapping[str, Any]) -> Config:
    """Return the checked configuration of nested plain values."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_messages(error))) from None


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, every value written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _parse_yaml(content: bytes, name: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: holds a {type(values).__name__}; expected sections such as `data:` and `select:`")
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, mark, text = override.partition("=")
    parts = key.strip().split(".")
    if not mark or not all(parts):
        raise ConfigError(f"--set {override}: expected section.key=value, such as select.ratio=0.7")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from None
    target = values
    for part in parts[:-1]:
        below = target.get(part)
        if below is None:
            below = target[part] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {override}: {part!r} is a value, not a section")
        target = below
    target[parts[-1]] = value


def _messages(error: ValidationError) -> list[str]:
    messages = dict(_describe(problem) for problem in error.errors())
    # A union reports a problem of the whole and of its parts: the parts say more.
    return [
        f"{name}{text}"
        for name, text in messages.items()
        if not any(other != name and other.startswith(f"{name}.") for other in messages)
    ]


def _describe(problem: Any) -> tuple[str, str]:
    """Return the name of what is wrong, and what is wrong with it."""
    # `ratio` is a union: pydantic adds the branch that it tried to the location.
    path = [str(part) for part in problem["loc"] if not str(part).startswith(("list[", "constrained-", "function-"))]
    while path and path[-1] in {"float", "int", "str", "none", "bool"}:
        path.pop()
    name = ".".join(["config", *path])
    value = problem.get("input")
    kind = problem["type"]
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        return name, f": unknown key; there are: {', '.join(known)}{nearest(path[-1], known)}"
    if path == ["select", "ratio"] or (len(path) == 3 and path[:2] == ["select", "ratio"]):
        return name, f": {value!r} is not in [0, 1); it is the share to remove"
    if kind == "value_error":
        message = problem["msg"].removeprefix("Value error, ")
        return name, f".{message}"
    if kind == "literal_error":
        return name, f": {value!r} is not one of {problem['ctx']['expected']}"
    message = problem["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    return name, f": {value!r} should be {message}"


def _known_keys(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in path:
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
