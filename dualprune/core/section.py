"""The base of every part of the configuration: frozen, and strict about its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration, or the options of a plug-in; an unknown key is an error.

    `baseline`, `neutral` and `version` say what a value means to the identity of a run, see `dualprune.core.identity`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    baseline: ClassVar[Mapping[str, Any]] = {}
    # Fields on which no result depends, such as where data lie.
    neutral: ClassVar[frozenset[str]] = frozenset()
    version: ClassVar[int] = 1
