"""Statistics that can be recorded, one file each."""

from __future__ import annotations

from typing import Any

from dualprune.core.registry import Registry

STATISTICS: Registry[Any] = Registry("statistic", "dualprune.dynamics.statistics", "dualprune.statistics")
