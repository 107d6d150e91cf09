"""What makes two configurations the same: the values that differ from a frozen baseline, and a version.

A *baseline* holds, for each field, the value that reproduces the behaviour at the time when the field was added.
Defaults may change; a baseline never does. So neither a new field (its baseline is the behaviour without it) nor a new
default (the baseline stays the old one) orphans a recorded run or changes what it means. Where the meaning of a value
changes, the section's `version` is raised.

A key that is missing in a run's own configuration takes its baseline; a key that is missing in a user's file takes its
default. Results of one run are comparable only if all have the same value of the fields that a section names in
`of_run`: where a user's file leaves such a field out, it takes the run's own value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, get_args

from dualprune.core.section import Section


def differences(section: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of a section that differ from its baseline, with its version.

    Sections inside are treated alike, and left out where nothing in them differs.
    """
    changed: dict[str, Any] = {"version": section.version}
    for name, value in values.items():
        if name in section.neutral:
            continue
        inner = inner_section(section, name)
        if inner is not None and isinstance(value, Mapping):
            below = differences(inner, value)
            if below != {"version": 1}:
                changed[name] = below
        elif name not in section.baseline or value != section.baseline[name]:
            changed[name] = value
    return changed


def section_identity(name: str, values: Mapping[str, Any], exclude: Collection[str] = ()) -> dict[str, Any]:
    """Return what results depend on in the section `name` of a configuration, given its plain values.

    Only the options of the chosen plug-ins count. Keys in `exclude` do not.
    """
    from dualprune.core.budgets import budget_identity
    from dualprune.core.config import Config
    from dualprune.core.families import FAMILIES
    from dualprune.core.flat_keys import chosen

    model = Config.model_fields[name].annotation
    assert isinstance(model, type)
    assert issubclass(model, Section), f"{name} is a section of the configuration"
    kept = {key: value for key, value in values.items() if key not in exclude and key != "options"}
    if name == "evaluate" and "budget" in kept:
        kept["budget"] = budget_identity(kept["budget"])
    changed = differences(model, kept)
    stored = values.get("options") or {}
    if name in FAMILIES and FAMILIES[name].by_name:
        own = {
            plugin: options_identity(FAMILIES[name].kind, plugin, stored.get(plugin, {}))
            for plugin in chosen(name, values)
        }
        own = {plugin: options for plugin, options in own.items() if options}
    elif name in ("data", "model"):
        kind, plugin = ("source", values["source"]) if name == "data" else ("model", values["name"])
        own = options_identity(kind, plugin, stored)
    else:
        own = {}
    return changed | ({"options": own} if own else {})


def options_identity(kind: str, plugin: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a plug-in that differ from their baseline, with a version above 1; empty where all agree.

    Options of a plug-in that is not installed here all count, as they were written.
    """
    from dualprune.core.plugins import plugin_class
    from dualprune.errors import ConfigError

    try:
        model = plugin_class(kind, plugin).Options
    except ConfigError:
        return dict(values)
    changed = differences(model, values)
    return {} if changed == {"version": 1} else changed


def inner_section(section: type[Section], name: str) -> type[Section] | None:
    """Return the section that a field of a section holds, or None."""
    field = section.model_fields.get(name)
    if field is None:
        return None
    candidates = [field.annotation, *get_args(field.annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), None)


def with_baseline(section: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section's values as a run stored them, with every missing key at its baseline."""
    filled = {name: value for name, value in section.baseline.items() if name in section.model_fields}
    filled.update(values)
    for name in section.model_fields:
        inner = inner_section(section, name)
        if inner is not None and isinstance(own := filled.get(name) or {}, Mapping):
            filled[name] = with_baseline(inner, own)
    return filled
