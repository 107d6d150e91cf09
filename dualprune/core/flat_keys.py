"""Translates former keys of a section that are plug-in options now: `select.c_d` is `select.options.beta.c_d`.

People may still write such keys. Each becomes an option of the plug-in that is chosen in the same place; a key that
this plug-in does not have is an error. A configuration that an older version stored holds every key, whichever plug-in
was chosen; there each key goes to the plug-in that owns it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from dualprune.core.budgets import BOTH, upgraded_evaluate
from dualprune.core.families import FAMILIES, RENAMED
from dualprune.core.plugins import plugin_class
from dualprune.core.problems import shown
from dualprune.core.registry import nearest
from dualprune.errors import ConfigError

logger = logging.getLogger(__name__)


def chosen(section: str, values: Mapping[str, Any]) -> list[str]:
    """Return the names of the plug-ins that a section's values choose, or the section's default."""
    from dualprune.core.config import Config

    family = FAMILIES[section]
    default = getattr(Config.model_fields[section].default, family.chooser)
    found = values.get(family.chooser) or default
    listed = found if isinstance(found, list | tuple) else [found]
    names = [name if isinstance(name, str) else shown(name) for name in listed]
    return [RENAMED.get((family.kind, name), (name, {}))[0] for name in names]


def option_paths(key: str, names: Sequence[str]) -> list[str]:
    """Return today's dotted keys of a flat key, given the chosen plug-ins `names`; any other key as it is.

    Raises:
        ConfigError: none of these plug-ins has such an option.
    """
    section, _, rest = key.partition(".")
    family = FAMILIES.get(section)
    if family is None or rest not in family.keys:
        return [key]
    flat = family.keys[rest]
    having = [name for name in names if flat.option in _options(family.kind, name)]
    if not having:
        known = _options(family.kind, names[0])
        raise ConfigError(
            f"config.{key}: it is an option of the {family.kind} {flat.plugin!r}, and {names[0]!r} is chosen, "
            f"which has {'the options ' + ', '.join(known) if known else 'no options'}{nearest(rest, known)}; "
            f"remove it, or set {section}.{family.chooser} to {flat.plugin}"
        )
    return [f"{section}.{family.path(name, flat.option)}" for name in having]


def translate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested values that a person wrote with every flat key in its new place; errors as `option_paths`."""
    result = {section: dict(value) if isinstance(value, Mapping) else value for section, value in values.items()}
    evaluate = result.get("evaluate")
    if isinstance(evaluate, dict) and evaluate.get("budget") == "both":
        logger.warning("config.evaluate.budget: both is [%s] now", ", ".join(BOTH))
        evaluate["budget"] = list(BOTH)
    for section, family in FAMILIES.items():
        own = result.get(section)
        if not isinstance(own, dict):
            continue
        names = chosen(section, own)
        for key in [key for key in own if key in family.keys]:
            value = own.pop(key)
            for path in option_paths(f"{section}.{key}", names):
                logger.warning("config.%s.%s is %s now", section, key, path)
                put(own, path.partition(".")[2], value)
        _rename(section, own)
    return result


def translate_stored(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section's values as an older version stored them with every flat key in its new place."""
    if section == "tune":
        space = values.get("space", {})
        if not isinstance(space, Mapping):
            return dict(values)
        return {**values, "space": {_stored_key(str(key)): domain for key, domain in space.items()}}
    if section == "evaluate":
        return upgraded_evaluate(values)
    family = FAMILIES.get(section)
    if family is None:
        return dict(values)
    result = {key: value for key, value in values.items() if key not in family.keys}
    names = chosen(section, values)
    for key in [key for key in values if key in family.keys]:
        flat, value = family.keys[key], values[key]
        if value == flat.unset:
            continue
        if family.by_name or flat.plugin in names:
            put(result, family.path(flat.plugin, flat.option), value)
    _rename(section, result)
    return result


def _stored_key(key: str) -> str:
    section, _, rest = key.partition(".")
    family = FAMILIES.get(section)
    flat = None if family is None else family.keys.get(rest)
    return key if family is None or flat is None else f"{section}.{family.path(flat.plugin, flat.option)}"


def space_keys(space: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a search space with today's keys; a flat key becomes the option of each plug-in that may be chosen.

    `values` are the configuration's, by section; plug-ins that the space itself lists take precedence.
    """
    result: dict[str, Any] = {}
    for key, domain in space.items():
        section = key.partition(".")[0]
        names: list[str] = []
        if section in FAMILIES:
            listed = space.get(f"{section}.{FAMILIES[section].chooser}") or {}
            names = [str(name) for choices in listed.values() for name in choices]
            names = names or chosen(section, (values or {}).get(section) or {})
        for path in option_paths(key, names):
            result[path] = domain
    return result


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path; sections on the way are copied or made."""
    *way, last = path.split(".")
    for part in way:
        below = values.get(part)
        values[part] = dict(below) if isinstance(below, Mapping) else {}
        values = values[part]
    values[last] = value


def _rename(section: str, own: dict[str, Any]) -> None:
    family = FAMILIES[section]
    name = own.get(family.chooser)
    if isinstance(name, str) and (family.kind, name) in RENAMED:
        now, options = RENAMED[family.kind, name]
        own[family.chooser] = now
        for option, value in options.items():
            put(own, family.path(now, option), value)


def _options(kind: str, name: str) -> list[str]:
    return list(plugin_class(kind, name).Options.model_fields)
