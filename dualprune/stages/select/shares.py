"""Finds the classes that a selection all but removes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# A class is thin below this part of its share.
THIN = 1 / 3
# The number of classes that are named.
FEW = 3


class ThinClass(NamedTuple):
    """A class that is kept far below its share of the kept set."""

    name: str
    kept: int
    samples: int
    share: float


def thin_classes(facts: Mapping[str, Any]) -> list[ThinClass]:
    """Return the classes that are kept at under a third of their share, those with the smallest part of it first.

    `facts` are those of `selection.json`. The share of a class is its number of samples times the part of all samples
    that is kept. Classes whose share is below one sample do not count, nor do any where a quota of classes was asked
    for. Selections of older versions do not say how many samples a class has.
    """
    sizes = facts.get("samples_per_class")
    balance = facts["constraints"].get("balance", {})
    if not sizes or (balance.get("by") == "label" and balance.get("quota", "none") != "none"):
        return []
    part = facts["num_kept"] / sum(sizes.values())
    found = [
        ThinClass(name, kept, sizes[name], share)
        for name, kept in facts["kept_per_class"].items()
        if (share := part * sizes[name]) >= 1.0 and kept < THIN * share
    ]
    return sorted(found, key=lambda one: one.kept / one.share)


def thin_in_words(facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence about the thin classes of a selection, and the quota that mends it; none where all are well."""
    thin = thin_classes(facts)
    if not thin:
        return []
    named = "; ".join(
        f"{one.name if one.name.isprintable() else repr(one.name)}: {one.kept:,} of {one.samples:,}, its share is "
        f"{one.share:,.0f}"
        for one in thin[:FEW]
    )
    more = f"; and {len(thin) - FEW:,} more" if len(thin) > FEW else ""
    number, every = len(thin), len(facts["kept_per_class"])
    text = f"{facts['name']} keeps {number:,} of {every:,} classes at under a third of their share ({named}{more}). "
    return [text + "Accuracy on them may suffer; select.balance.quota: proportional keeps every class at its share."]
