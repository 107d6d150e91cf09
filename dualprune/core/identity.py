"""What makes two configurations the same: only values that differ from a frozen baseline count, and a version.

A *baseline* holds the value of each field that gives the behaviour of the time when the field was added. Defaults may
change; a baseline never does. So a new field (whose baseline is how it was without the field) and a new default (whose
baseline is the old one) neither orphan a recorded run nor change what it means. Where the meaning of a value changes,
the section's `version` is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualprune.core.section import Section


def differences(section: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of a section that differ from its baseline, with its version."""
    changed = {
        name: value for name, value in values.items() if name not in section.baseline or value != section.baseline[name]
    }
    return {"version": section.version, **changed}
