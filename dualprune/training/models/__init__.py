"""Models, one file each."""

from __future__ import annotations

from typing import Any

from dualprune.core.registry import Registry

MODELS: Registry[Any] = Registry("model", "dualprune.training.models", "dualprune.models")
