"""The base of every part of the configuration: frozen, and strict about its keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

# Far beyond every count; seeds, too, must fit into 64 bits.
MOST = 1 << 62
MOST_CHARACTERS = 10_000


class _Checked(ModelMetaclass):
    """Makes a ConfigError of what pydantic reports where Python code builds a section."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except ValidationError as error:
            from dualprune.core.problems import config_error

            model = cast("type[BaseModel]", self)
            raise config_error(error, model, "config" if self.__name__ == "Config" else self.__name__) from None


class Section(BaseModel, metaclass=_Checked):
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

    @field_validator("*", mode="before")
    @classmethod
    def _makes_sense(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        if type(value) is not type(field.default) or value != field.default:
            for one in _flat(value):
                _check(one, bool_allowed=_takes(field.annotation, bool))
        return value


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _flat(one)
    else:
        yield value


def _check(value: Any, *, bool_allowed: bool) -> None:
    """Raise a ValueError for what pydantic would take as another value, and what no field can mean."""
    if isinstance(value, bool) and not bool_allowed:
        raise ValueError(f": {value} is neither a number nor text")
    if isinstance(value, int) and abs(value) > MOST:
        raise ValueError(f": a number of {value.bit_length()} bits; expected at most {MOST}")
    if isinstance(value, str) and (not value or "\0" in value or len(value) > MOST_CHARACTERS):
        raise ValueError(
            f": {value[:80]!r} ({len(value):,} characters) is no name or path; write null, or leave the key out, to "
            "set none"
        )


def _takes(annotation: Any, kind: type) -> bool:
    return annotation in (kind, Any) or any(_takes(part, kind) for part in get_args(annotation))
