"""Says in words what pydantic found wrong: the key, the value, what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dualprune.core.registry import nearest
from dualprune.errors import ConfigError, MissingPluginError

MOST_CHARACTERS = 100


def messages(error: ValidationError, model: type[BaseModel], root: str = "config") -> list[str]:
    """Return a sentence per problem of `model`'s values; keys are named from `root` on."""
    found = dict(_describe(problem, model, root) for problem in error.errors())
    # A union reports a problem of the whole and of its parts: the parts say more.
    return [
        f"{name}{text}"
        for name, text in found.items()
        if not any(other != name and other.startswith(f"{name}.") for other in found)
    ]


def config_error(error: ValidationError, model: type[BaseModel], root: str) -> ConfigError:
    """Return what pydantic found as a ConfigError, or as a MissingPluginError where that is among it."""
    missing = any(isinstance(found.get("ctx", {}).get("error"), MissingPluginError) for found in error.errors())
    return (MissingPluginError if missing else ConfigError)("\n".join(messages(error, model, root)))


def _describe(problem: Any, model: type[BaseModel], root: str) -> tuple[str, str]:
    """Return the name of what is wrong, and what is wrong with it."""
    # `ratio` is a union: pydantic adds the branch that it tried to the location.
    path = [str(part) for part in problem["loc"] if not str(part).startswith(("list[", "constrained-", "function-"))]
    while path and path[-1] in {"float", "int", "str", "none", "bool"}:
        path.pop()
    name = ".".join([root, *path])
    value = problem.get("input")
    kind = problem["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        return name, f": unknown key; there are: {', '.join(known) or 'none'}{nearest(path[-1], known)}"
    if path == ["select", "ratio"] or (len(path) == 3 and path[:2] == ["select", "ratio"]):
        return name, f": {shown(value)} is not in [0, 1); it is the share to remove"
    if kind == "value_error":
        message = problem["msg"].removeprefix("Value error, ")
        if message.startswith(":"):
            return name, message
        # A plug-in's problem names its key itself.
        return (message, "") if message.startswith(f"{root}.") else (name, f".{message}")
    if kind == "literal_error":
        return name, f": {shown(value)} is not one of {problem['ctx']['expected']}"
    if kind == "too_short" and not value:
        return name, f": {value!r} is empty"
    if kind in ("too_short", "too_long") and isinstance(value, Sequence):
        bound, key = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        return name, f": {shown(value)} has length {len(value)}; expected at {bound} {problem['ctx'][key]}"
    message = problem["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    return name, f": {shown(value)} should be {message}"


def shown(value: Any) -> str:
    """Return a value for a message, not longer than a line."""
    try:
        text = repr(value)
    except ValueError:
        # Python refuses to write out whole numbers of thousands of digits.
        return f"a {type(value).__name__}"
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _known_keys(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
