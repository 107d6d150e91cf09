"""The kinds of plug-ins, where each kind's registry is, and how a plug-in gets its options.

Which plug-in a configuration chooses, and where its options stand:

    data.source      data.options                 model.name     model.options
    score.methods    score.options.<method>       select.method  select.options.<sampler>
    train.curriculum.name   train.curriculum.options
    measure.options.<measurement>, for what the score methods read
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from dualprune.core.families import FAMILIES
from dualprune.core.presets import PRESETS
from dualprune.core.problems import config_error
from dualprune.core.registry import Registry
from dualprune.core.section import Section
from dualprune.errors import ConfigError

if TYPE_CHECKING:
    from dualprune.core.config import Config

# kind: the registry's address
KINDS = {
    "score method": "dualprune.scores.score:SCORES",
    "sampler": "dualprune.selection.sampler:SAMPLERS",
    "source": "dualprune.data.source:SOURCES",
    "model": "dualprune.training.models:MODELS",
    "statistic": "dualprune.dynamics.statistics:STATISTICS",
    "measurement": "dualprune.training.measurements:MEASUREMENTS",
    "curriculum": "dualprune.training.curricula:CURRICULA",
}


class Choice(NamedTuple):
    """A plug-in that a configuration names, its options, and the keys under which name and options stand."""

    kind: str
    name: str
    options: Mapping[str, Any]
    named_by: str
    key: str


def registry(kind: str) -> Registry[Any]:
    """Return the registry of a kind."""
    module, _, name = KINDS[kind].partition(":")
    found: Registry[Any] = getattr(import_module(module), name)
    return found


def plugin_class(kind: str, name: str) -> type[Any]:
    """Return a plug-in's class; a ConfigError where none has that name.

    `family/member` names the member of a plug-in that stands for a family, such as torchvision/resnet50.
    """
    found: type[Any] = registry(kind)[name.partition("/")[0]]
    return found


def options_of(kind: str, name: str, values: Mapping[str, Any], key: str) -> Section:
    """Return the checked options of a plug-in; a ConfigError names the key that is wrong, below `key`."""
    model = plugin_class(kind, name).Options
    try:
        checked: Section = model.model_validate(dict(values))
    except ValidationError as error:
        raise config_error(error, model, f"config.{key}") from None
    return checked


def choices(config: Config) -> Iterator[Choice]:
    """Yield every plug-in that a configuration names, including those that have options there but are not chosen."""
    yield Choice("source", config.data.source, config.data.options, "data.source", "data.options")
    yield Choice("model", config.model.name, config.model.options, "model.name", "model.options")
    curriculum = config.train.curriculum
    if curriculum.name is not None:
        key = "train.curriculum"
        yield Choice("curriculum", curriculum.name, curriculum.options, f"{key}.name", f"{key}.options")
    for name in dict.fromkeys([*config.score.methods, config.select_score, *config.score.options]):
        options, key = config.score.options.get(name, {}), f"score.options.{name}"
        named_by = (
            key if name in config.score.options else "select.score" if name == config.select.score else "score.methods"
        )
        yield Choice("score method", name, options, named_by, key)
    for name in dict.fromkeys([config.select.method, *config.select.options]):
        options, key = config.select.options.get(name, {}), f"select.options.{name}"
        yield Choice("sampler", name, options, "select.method" if name == config.select.method else key, key)
    for name, options in config.measure.options.items():
        key = f"measure.options.{name}"
        yield Choice("measurement", name, options, key, key)
    for name in config.record.statistics or ():
        yield Choice("statistic", name, {}, "record.statistics", "record.statistics")


def check(config: Config) -> None:
    """Raise a ConfigError for a plug-in that is not registered, or for options that it does not have."""
    for choice in choices(config):
        try:
            found = plugin_class(choice.kind, choice.name)
            if choice.kind == "model":
                found.check_name(choice.name)
        except ConfigError as error:
            raise type(error)(f"config.{choice.named_by}: {error}") from None
        options_of(choice.kind, choice.name, choice.options, choice.key)


def make(kind: str, name: str, values: Mapping[str, Any], key: str) -> Any:
    """Return a plug-in built with its checked options; errors as for `options_of`."""
    return plugin_class(kind, name)(options_of(kind, name, values, key))


def preset_options(preset: str, section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section's plain values, with plug-in options that are not set taken from a preset."""
    family = FAMILIES.get(section)
    if family is None or not family.by_name:
        return dict(values)
    options = dict(values["options"])
    for (kind, name), given in PRESETS[preset].options.items():
        if kind == family.kind:
            options[name] = {**given, **options.get(name, {})}
    return {**values, "options": options}


def make_score(config: Config, name: str) -> Any:
    """Return a score method with the options that a configuration gives it."""
    return make("score method", name, _options(config, "score", name), f"score.options.{name}")


def make_measurement(config: Config, name: str) -> Any:
    """Return a measurement with the options that a configuration gives it."""
    return make("measurement", name, config.measure.options.get(name, {}), f"measure.options.{name}")


def make_sampler(config: Config) -> Any:
    """Return the sampler that a configuration selects by, with its options."""
    name = config.select.method
    return make("sampler", name, _options(config, "select", name), f"select.options.{name}")


def _options(config: Config, section: str, name: str) -> dict[str, Any]:
    values = preset_options(config.preset, section, getattr(config, section).model_dump(mode="json"))
    found: dict[str, Any] = values["options"].get(name, {})
    return found
