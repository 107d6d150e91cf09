"""Reads manifests of older versions as if this version had written them; nothing is rewritten.

Where `attempts` is missing, a stage counts as one attempt that lasted `seconds` from its last beginning on.

Version 1 (manifests without the key `version`) stored whole sections, including every default, as the settings of a
stage. Reduced to what differs from the baseline, they equal the settings that this version derives from the same
configuration. The stage keeps its fingerprint.

Version 2 had other words for `evaluate.budget`, see `dualprune.core.budgets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualprune.core.budgets import former_space, upgraded_evaluate
from dualprune.core.flat_keys import translate_stored
from dualprune.core.identity import options_identity, section_identity

VERSION = 3
# Settings that are a section by themselves, by the first part of the stage's key.
_WHOLE = {"select": "select", "export": "export"}
_SECTIONS = ("data", "model", "train", "score", "select", "evaluate", "tune")


def upgraded(key: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's manifest with its settings in the form of this version."""
    # What a sweep began with is kept like a manifest, but without times.
    if "attempts" not in manifest and "started_at" in manifest:
        started_at, seconds = manifest["started_at"], manifest["seconds"]
        manifest["attempts"] = [[started_at, started_at + seconds]] if seconds else []
    if manifest.get("version") == VERSION:
        return manifest
    settings = manifest["settings"] if "version" in manifest else upgraded_settings(key, manifest["settings"])
    return {**manifest, "version": VERSION, "settings": _with_budgets(settings)}


def _with_budgets(settings: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(settings)
    if isinstance(settings.get("evaluate"), Mapping):
        changed["evaluate"] = upgraded_evaluate(settings["evaluate"])
    if isinstance(settings.get("tune"), Mapping) and "space" in settings["tune"]:
        # No budget of today: the points in the sweep's log have the former words, so no sweep of today continues it.
        changed["tune"] = {**settings["tune"], "space": former_space(settings["tune"]["space"], "steps (samples)")}
    return changed


def upgraded_settings(key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a stage, as version 1 stored them, in the form of this version."""
    stage, _, name = key.partition(".")
    if stage in _WHOLE:
        return _select(settings) if stage == "select" else _section(stage, settings)
    if stage == "score":
        # The values of the method's options stood under `parameters`.
        options = options_identity("score method", name, settings["parameters"])
        return {**{k: v for k, v in settings.items() if k != "parameters"}, "options": options}
    return {k: _section(k, v) if k in _SECTIONS and isinstance(v, Mapping) else v for k, v in settings.items()}


def _select(settings: Mapping[str, Any]) -> dict[str, Any]:
    # `ratio` and `score` always count, and `within` is no key of the configuration.
    apart = {name: settings[name] for name in ("ratio", "score", "within") if name in settings}
    return {**_section("select", {k: v for k, v in settings.items() if k not in apart}), **apart}


def _section(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return section_identity(name, translate_stored(name, values))
