"""Kubernetes' quantities of bytes and seconds, as far as the manifests use them."""

from __future__ import annotations

_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def num_bytes(quantity: str) -> int:
    """Return the bytes of a quantity such as 64Gi; other units than Ki … Ti are a ValueError."""
    for unit, factor in _UNITS.items():
        if quantity.endswith(unit):
            return int(quantity.removesuffix(unit)) * factor
    return int(quantity)
