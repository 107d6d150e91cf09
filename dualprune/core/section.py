"""The base of every part of the configuration: frozen, and strict about its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from dualprune.errors import ConfigError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    # pydantic exports its models' type under no public name.
    ModelMetaclass = type(BaseModel)


class _Worded(ModelMetaclass):
    """The type of sections: one that is built from Python reports wrong values as files do, in a ConfigError."""

    def __call__(self, *values: Any, **named: Any) -> Any:
        try:
            return super().__call__(*values, **named)
        except ValidationError as error:
            from dualprune.core.problems import messages

            root = "config" if self.__name__ == "Config" else self.__qualname__
            raise ConfigError("\n".join(messages(error, cast(type[BaseModel], self), root))) from None


class Section(BaseModel, metaclass=_Worded):
    """A part of the configuration, or the options of a plug-in; an unknown key is an error.

    `baseline`, `neutral`, `of_run` and `version` say what a value means to the identity of a run, see
    `dualprune.core.identity`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    baseline: ClassVar[Mapping[str, Any]] = {}
    # Fields on which no result depends, such as where data lie.
    neutral: ClassVar[frozenset[str]] = frozenset()
    # Fields of which a run keeps the value that it began with, unless a configuration sets them.
    of_run: ClassVar[frozenset[str]] = frozenset()
    version: ClassVar[int] = 1
