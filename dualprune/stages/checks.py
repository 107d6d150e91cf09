"""Checks that need the data: done before a stage spends hours on what cannot succeed."""

from __future__ import annotations

from collections.abc import Collection

from dualprune.core.config import Config
from dualprune.errors import DataError


def check_before(stages: Collection[str], config: Config) -> None:
    """Raise a UserError where what the stages are to do cannot succeed."""
    if "record" in stages and "evaluate" in stages:
        check_test_set(config)
    if "tune" in stages:
        from dualprune.stages.tune.stage import check_tune

        check_tune(config)


def check_test_set(config: Config) -> None:
    """Raise a DataError where there is no test set to measure accuracy on."""
    from dualprune.data.source import open_source

    if not open_source(config.data).chunks("test"):
        raise DataError(
            "evaluate.enabled: there is no test set to measure accuracy on; "
            "set data.test_path or data.test_fraction, or turn evaluate.enabled off"
        )
