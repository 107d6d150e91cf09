"""The search space: reads `tune.space` as domains of dotted keys, and makes the configuration of a point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.families import FAMILIES
from dualprune.core.flat_keys import put, space_keys
from dualprune.core.plugins import make_score, plugin_class, registry
from dualprune.core.registry import nearest
from dualprune.core.section import Section
from dualprune.core.sections import EvaluateConfig, ScoreConfig, SelectConfig
from dualprune.errors import ConfigError

# A dotted key of the configuration and its value, for each key of the space.
Point = dict[str, Any]

KINDS = {
    "uniform": "[low, high]",
    "loguniform": "[low, high]",
    "quniform": "[low, high, step]",
    "int": "[low, high], both included",
    "choice": "a list of values",
    "grid": "a list of values",
}
LISTED = ("choice", "grid")
MOST_VALUES = 1_000_000
# Keys that contain other keys.
SECTIONS = ("select.balance", "select.options", "score.options")
# Sections whose keys can be searched, except those in REFUSED, which has the reasons.
SEARCHED: dict[str, type[Section]] = {"select": SelectConfig, "score": ScoreConfig, "evaluate": EvaluateConfig}
REFUSED = {
    "data": "it changes what is recorded, and a sweep works on one recording",
    "model": "it changes what is recorded, and a sweep works on one recording",
    "train": "it changes what is recorded, and a sweep works on one recording",
    "record": "it changes what is recorded; search score.epochs, the part of the recorded epochs that is used",
    "export": "it does not change which samples are kept",
    "scaling": "it does not change which samples are kept",
    "tune": "it says how to search",
    "score.methods": "search select.score, the method to select by",
    "score.on_nan": "it does not change scores",
    "select.name": "each point is named by the sweep",
    "select.seed": "a sweep takes its seeds from tune.seeds",
    "select.stream": "all draws of a run come from the same stream",
    "select.nested": "a trial has one ratio",
    "select.always_keep": "a sweep draws without the constraints of files",
    "select.never_keep": "a sweep draws without the constraints of files",
    "select.deduplicate": "a sweep draws without the constraints of files",
    **{
        f"evaluate.{key}": "only evaluate.epochs, steps, batch_size and budget say how a trial trains"
        for key in EvaluateConfig.model_fields
        if key not in ("epochs", "batch_size", "budget", "steps")
    },
}


@dataclass(frozen=True)
class Domain:
    """The values that one key can take: listed ones, or a range of numbers."""

    kind: str
    values: tuple[Any, ...]

    @property
    def listed(self) -> tuple[Any, ...] | None:
        """All values, where they are finitely many; else None."""
        if self.kind in LISTED:
            return self.values
        if self.kind == "int":
            return tuple(range(self.values[0], self.values[1] + 1))
        if self.kind == "quniform":
            low, high, step = self.values
            return tuple(low + step * i for i in range(int((high - low) / step + 1e-9) + 1))
        return None

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values whose validity implies that of all: each listed one, or the ends and one between."""
        if self.kind in LISTED:
            return self.values
        low, high = self.values[:2]
        # A value that keys for whole numbers reject.
        return (low, high, low + 0.381966 * (high - low)) if self.kind in ("uniform", "loguniform") else (low, high)

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Return it as Optuna's distribution."""
        if self.kind in LISTED:
            return optuna.distributions.CategoricalDistribution(self.values)
        if self.kind == "int":
            return optuna.distributions.IntDistribution(*self.values)
        if self.kind == "quniform":
            values = self.listed
            assert values is not None
            return optuna.distributions.FloatDistribution(values[0], values[-1], step=self.values[2])
        return optuna.distributions.FloatDistribution(*self.values, log=self.kind == "loguniform")

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value."""
        if self.listed is not None:
            return self.listed[int(rng.integers(len(self.listed)))]
        low, high = self.values
        if self.kind == "loguniform":
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return float(rng.uniform(low, high))


Space = dict[str, Domain]


def parse_space(config: Config) -> Space:
    """Return the domains of `config.tune.space`, every value of which gives a valid configuration.

    Raises:
        ConfigError: the space is empty, names a key that is unknown or cannot be searched, or holds a value that the
            key cannot take, by itself or together with another key's.
    """
    if not config.tune.space:
        raise ConfigError("config.tune.space: it is empty; add a key to search, such as select.c_d: {uniform: [1, 12]}")
    space = {}
    for key, written in space_keys(config.tune.space, config.model_dump(mode="json")).items():
        _check_key(key)
        space[key] = _domain(key, written)
    check_windows(config, space, config.record.epochs)
    # Other keys keep values with which a window fits into the epochs.
    middle = {key: _easiest(key, domain) for key, domain in space.items()}
    for key, domain in space.items():
        for value in domain.extremes:
            try:
                config_at(config, {**middle, key: value})
            except ConfigError as error:
                raise ConfigError(f"config.tune.space.{key}: {value!r} cannot be used: {error}") from None
    return space


def _easiest(key: str, domain: Domain) -> Any:
    if key == "score.epochs":
        return max(domain.extremes)
    return min(domain.extremes) if _is_window(key) else domain.extremes[0]


def _is_window(key: str) -> bool:
    return key.startswith("score.options.") and key.endswith(".window")


def config_at(config: Config, point: Mapping[str, Any]) -> Config:
    """Return the checked configuration of a point; a ConfigError names the key that is wrong."""
    values = config.model_dump(mode="json")
    values["select"]["name"] = None
    for key, value in point.items():
        put(values, key, value)
    return make_config(values)


def grid_points(space: Space) -> list[Point]:
    """Return every combination of a space whose values can be counted; a ConfigError names a key where they cannot."""
    lists = []
    for key, domain in space.items():
        if domain.listed is None:
            raise ConfigError(
                f"config.tune.space.{key}: a grid search cannot go through all values of {domain.kind}; "
                "use choice, grid, int or quniform, or tune.search: random"
            )
        lists.append(domain.listed)
    number = math.prod(map(len, lists))
    if number > MOST_VALUES:
        raise ConfigError(f"config.tune.space: a grid of {number:,} points is too large; search fewer values or keys")
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def random_points(space: Space, number: int, seed: int) -> list[Point]:
    """Return random points; a longer list begins with the points of a shorter one."""
    rng = np.random.default_rng(seed)
    return [{key: domain.sample(rng) for key, domain in space.items()} for _ in range(number)]


def _check_key(key: str) -> None:
    section = key.partition(".")[0]
    known = _known_keys()
    reason = REFUSED.get(section, REFUSED.get(key))
    if reason is not None:
        raise ConfigError(f"config.tune.space.{key}: it cannot be searched, as {reason}")
    if key not in known:
        # Flat keys still work.
        near = [*known, *(f"{name}.{flat}" for name, family in FAMILIES.items() for flat in family.keys)]
        raise ConfigError(f"config.tune.space.{key}: unknown key; there are: {', '.join(known)}{nearest(key, near)}")


def _known_keys() -> list[str]:
    names = [f"{section}.{field}" for section, model in SEARCHED.items() for field in model.model_fields]
    names += [f"select.balance.{field}" for field in type(SelectConfig().balance).model_fields]
    for section, kind in (("score", "score method"), ("select", "sampler")):
        for name in registry(kind).names():
            options = plugin_class(kind, name).Options
            names += [f"{section}.options.{name}.{field}" for field in options.model_fields]
    return [name for name in names if name not in REFUSED and name not in SECTIONS]


def _domain(key: str, written: Mapping[str, Sequence[Any]]) -> Domain:
    name = f"config.tune.space.{key}"
    if len(written) != 1:
        raise ConfigError(f"{name}: {dict(written)!r} has {len(written)} kinds; expected one of {', '.join(KINDS)}")
    [(kind, given)] = written.items()
    if kind not in KINDS:
        raise ConfigError(f"{name}.{kind}: unknown kind; there are: {', '.join(KINDS)}{nearest(kind, KINDS)}")
    values = tuple(given)
    problem = ""
    if kind in LISTED:
        if not values:
            problem = "it is empty"
        elif len(set(map(repr, values))) < len(values):
            problem = "it has a value twice"
        elif any(isinstance(value, list | dict) for value in values):
            problem = "it has a list or a mapping among its values"
    elif len(values) != (3 if kind == "quniform" else 2) or not all(_is_number(value) for value in values):
        problem = "it is of another form"
    elif not all(map(math.isfinite, values)) or not math.isfinite(values[1] - values[0]):
        problem = "it has a number that is not finite, or ends too far apart"
    elif not values[0] < values[1]:
        problem = "the low end is not below the high end"
    elif kind == "int" and not all(isinstance(value, int) for value in values):
        problem = "it has a number that is not whole"
    elif kind == "loguniform" and values[0] <= 0:
        problem = "the low end must be above 0"
    elif kind == "quniform" and values[2] <= 0:
        problem = "the step must be above 0"
    elif kind == "quniform" and values[2] > values[1] - values[0]:
        problem = "the step leads beyond the high end"
    elif kind in ("int", "quniform") and (values[1] - values[0]) / (values[2:] or (1,))[0] > MOST_VALUES:
        problem = f"it has more than {MOST_VALUES:,} values"
    if problem:
        raise ConfigError(f"{name}.{kind}: {given!r}: {problem}; expected {KINDS[kind]}")
    return Domain(kind, values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_windows(config: Config, space: Space, recorded: int) -> None:
    """Raise a ConfigError where T is more than the `recorded` epochs, or the longest window than the smallest T.

    Keys are searched independently of each other.
    """
    if "score.epochs" in space:
        longest = max(space["score.epochs"].extremes)
        if longest > recorded:
            raise ConfigError(
                f"config.tune.space.score.epochs: {longest} is more than the {recorded} epochs that are recorded "
                "(record.epochs, or fewer where record.stop ended recording)"
            )
    searched = [value for key in space if _is_window(key) for value in space[key].extremes]
    windows = searched or [getattr(make_score(config, config.select_score), "min_epochs", 1)]
    epochs = space["score.epochs"].extremes if "score.epochs" in space else (config.score.epochs or recorded,)
    if max(windows) > min(epochs):
        raise ConfigError(
            f"config.tune.space: a window of {max(windows)} epochs does not fit into score.epochs of "
            f"{min(epochs)}; each value of the one must fit into each of the other"
        )
