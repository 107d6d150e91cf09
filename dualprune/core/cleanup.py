"""Tidying up after work that may have failed: an error here must never hide the first one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def cleaning_up(what: str) -> Iterator[None]:
    """Run a block that tidies up: where it fails, say so in the log and go on; `what` says what it did."""
    try:
        yield
    except Exception as error:
        logger.warning("%s did not work: %s", what, error)
