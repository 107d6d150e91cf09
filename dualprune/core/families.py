"""Which section chooses which kind of plug-in, and which of the section's former keys are plug-in options now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Flat(NamedTuple):
    """Where a flat key moved: the plug-in that owns it, the option's name there, and the key's default of that time."""

    plugin: str
    option: str
    unset: Any


class Family(NamedTuple):
    """The flat keys of a section: its kind of plug-in, the key that chooses one, whether options stand by name."""

    kind: str
    chooser: str
    by_name: bool
    keys: Mapping[str, Flat]

    def path(self, plugin: str, option: str) -> str:
        """Return the dotted place of a plug-in's option below the section."""
        return f"options.{plugin}.{option}" if self.by_name else f"options.{option}"


FAMILIES: dict[str, Family] = {
    "select": Family(
        "sampler",
        "method",
        True,
        {
            "c_d": Flat("beta", "c_d", 4.0),
            "exponent": Flat("beta", "exponent", "c_d"),
            "concentration": Flat("beta", "concentration", 16.0),
            "scale": Flat("beta", "scale", 15.0),
            "anchor_size": Flat("beta", "anchor_size", 10),
            "order": Flat("top_k", "order", "hardest"),
            "skip": Flat("top_k", "skip", 0.0),
            "strata": Flat("ccs", "strata", 50),
            "drop_hardest": Flat("ccs", "drop", 0.0),
            "min_score": Flat("threshold", "min_score", None),
            "max_score": Flat("threshold", "max_score", None),
        },
    ),
    "score": Family("score method", "methods", True, {"window": Flat("dual", "window", 10)}),
    "data": Family(
        "source",
        "source",
        False,
        {
            "image_column": Flat("parquet", "image_column", "image"),
            "label_column": Flat("parquet", "label_column", "label"),
            "id_column": Flat("parquet", "id_column", "sample_id"),
            "name": Flat("torchvision", "name", None),
            "root": Flat("torchvision", "root", "data"),
            "download": Flat("torchvision", "download", False),
        },
    ),
}
# Former names of plug-ins: today's name, and the options that give the former behaviour.
RENAMED: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("sampler", "stratified"): ("ccs", {"drop_by": "score"}),
}
