"""Reads a configuration: a YAML file and `a.b=c` overrides in, a checked `Config` or a `ConfigError` out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from dualprune.core.budgets import former_space, has_former_budget
from dualprune.core.config import Config
from dualprune.core.families import FAMILIES
from dualprune.core.flat_keys import chosen, option_paths, put, translate, translate_stored
from dualprune.core.identity import inner_section, with_baseline
from dualprune.core.problems import config_error
from dualprune.core.section import Section
from dualprune.core.storage import Location
from dualprune.core.yaml_file import parse_yaml
from dualprune.errors import ConfigError

_STAMP = b"# checksum: "


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
    return make_config(_with_overrides(translate(values), overrides))


def load_stored_config(place: Location, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration that a run stored, perhaps with an older version, with overrides laid over it.

    Fields that the older version did not have get their baseline, see `dualprune.core.identity`.
    """
    return make_config(_with_overrides(_stored_values(place), overrides))


def with_values_of_run(config: Config, place: Location) -> Config:
    """Return a configuration in which fields `of_run` that it does not set have the values of a run's stored one.

    So a run keeps the meaning that it began with when it goes on with a user's file, whatever today's defaults are.
    """
    try:
        stored = _stored_values(place)
    except ConfigError:
        # To give the configuration again is the way out where the stored one is damaged.
        return config
    own = {name: section for name in Config.model_fields if isinstance(section := getattr(config, name), Section)}
    kept = {name: {key: stored[name][key] for key in of.of_run - of.model_fields_set} for name, of in own.items()}
    if all(getattr(own[name], key) == value for name, values in kept.items() for key, value in values.items()):
        return config
    values = config.model_dump(mode="json")
    return make_config({**values, **{name: {**values[name], **kept[name]} for name in own}})


def override_values(overrides: Sequence[str]) -> dict[str, Any]:
    """Return overrides such as `score.epochs=5` as nested values, for `make_config`."""
    return _with_overrides({}, overrides)


def make_config(values: Mapping[str, Any]) -> Config:
    """Return the checked configuration of nested plain values."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"config: a {type(values).__name__}; expected nested values by section")
    try:
        return Config.model_validate(translate(values))
    except ValidationError as error:
        raise config_error(error, Config, "config") from None


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """Return the checked configuration with overrides such as `select.ratio=0.7` laid over it."""
    # What was not set stays so: a run may have values of its own for it.
    return make_config(_with_overrides(config.model_dump(mode="json", exclude_unset=True), overrides))


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, every value written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def store_config(place: Location, config: Config) -> None:
    """Write the configuration for `load_stored_config`, with a checksum: a changed digit would be another selection."""
    content = dump_config(config).encode()
    place.write_bytes(_stamp(content) + b"\n" + content)


def _stamp(content: bytes) -> bytes:
    return _STAMP + hashlib.sha256(content).hexdigest()[:16].encode()


def _stored_values(place: Location) -> dict[str, Any]:
    """Return a stored configuration's values in today's form, missing fields at their baseline."""
    content = place.read_bytes()
    first, _, rest = content.partition(b"\n")
    if first.startswith(_STAMP) and first != _stamp(rest):
        raise ConfigError(
            f"{place} has changed since dualprune wrote it: restore it from a copy; or, where you changed it on "
            "purpose, delete its first line (to change a few values, overrides are enough)"
        )
    values = _parse_yaml(content, str(place))
    if not values:
        raise ConfigError(f"{place} is damaged: it is empty; restore it from a copy, or give the configuration again")
    evaluate, tune = values.get("evaluate"), values.get("tune")
    if isinstance(evaluate, dict) and has_former_budget(evaluate) and isinstance(tune, dict):
        values["tune"] = {**tune, "space": former_space(tune.get("space") or {})}
    for section, own in values.items():
        if isinstance(own, dict):
            values[section] = translate_stored(section, own)
        elif inner_section(Config, section) is not None:
            raise ConfigError(f"{place} is damaged: {section} holds {own!r}; expected keys and values")
    return with_baseline(Config, values)


def _parse_yaml(content: bytes, name: str) -> dict[str, Any]:
    values = parse_yaml(content, name)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: holds a {type(values).__name__}; expected sections such as `data:` and `select:`")
    return values


def _with_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    parsed = [_parse_override(override) for override in overrides]
    for override, key, value in parsed:
        _set(values, override, key, value)
    # Only after all overrides are in: one may choose the plug-in that owns the flat key of another.
    flat = {key.partition(".")[0] for _, key, _ in parsed if key.partition(".")[0] in FAMILIES}
    names = {section: chosen(section, values.get(section) or {}) for section in flat if _is_section(values, section)}
    for _, key, value in parsed:
        section, _, rest = key.partition(".")
        if section in names and rest in FAMILIES[section].keys:
            paths = option_paths(key, names[section])
            if paths != [key]:
                del values[section][rest]
            for path in paths:
                put(values, path, value)
    return values


def _is_section(values: Mapping[str, Any], name: str) -> bool:
    return isinstance(values.get(name) or {}, dict)


def _parse_override(override: str) -> tuple[str, str, Any]:
    """Return an override with its key and value."""
    key, mark, text = override.partition("=")
    if not mark or not all(key.strip().split(".")):
        raise ConfigError(f"override {override}: expected section.key=value, such as select.ratio=0.7")
    return override, key.strip(), parse_yaml(text, f"override {override}", "the value")


def _set(values: dict[str, Any], override: str, key: str, value: Any) -> None:
    *way, last = key.split(".")
    target = values
    for part in way:
        below = target.get(part)
        if below is None:
            below = target[part] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"override {override}: {part!r} is a value, not a section")
        target = below
    target[last] = value
