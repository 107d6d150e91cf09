"""Every key of the configuration and every option of a plug-in refuses values that make no sense, and names itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dualprune
from dualprune.core.config import Config
from dualprune.core.config_file import dump_config, load_config, load_stored_config, make_config
from dualprune.core.identity import inner_section
from dualprune.core.plugins import plugin_class, registry
from dualprune.core.section import Section
from dualprune.core.sections import DataConfig, SelectConfig
from dualprune.core.storage import Location
from dualprune.core.yaml_file import parse_yaml
from dualprune.errors import ConfigError

NUMBERS: tuple[Any, ...] = (math.nan, math.inf, -math.inf, 10**30, -(10**30), 10**5000, [math.nan], [math.inf], 1 + 2j)
ODD: tuple[Any, ...] = ("", "a\x00b", "x" * 100_000, [[1]], [None], {"a": {"b": 1}}, {None: 1}, b"\xff", object())
PLAIN: tuple[Any, ...] = (
    -1,
    -1.5,
    0,
    1,
    2.5,
    1e308,
    "text",
    [],
    {},
    None,
    True,
    False,
    {"a": 1},
    {1: 2},
    "nan",
    "1e400",
)


def fields(model: type[Section], path: str = "") -> Iterator[str]:
    for name in model.model_fields:
        inner = inner_section(model, name)
        yield f"{path}{name}"
        if inner is not None:
            yield from fields(inner, f"{path}{name}.")


def options() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, key in (("score method", "score.options"), ("sampler", "select.options")):
        for name in registry(kind).names():
            for option in plugin_class(kind, name).Options.model_fields:
                yield f"{key}.{name}.{option}", {}
    for kind, section, key in (("source", "data", "source"), ("model", "model", "name")):
        for name in registry(kind).names():
            chosen = f"{name}/resnet18" if getattr(plugin_class(kind, name), "family", False) else name
            for option in plugin_class(kind, name).Options.model_fields:
                yield f"{section}.options.{option}", {section: {key: chosen}}


KEYS = [*((path, {}) for path in fields(Config)), *options()]


def at(path: str, value: Any, others: dict[str, Any]) -> dict[str, Any]:
    values = below = copy.deepcopy(others)
    *way, last = path.split(".")
    for part in way:
        below = below.setdefault(part, {})
    below[last] = value
    return values


def refusal(path: str, value: Any, others: dict[str, Any]) -> str | None:
    """Return why a value is refused; None where it is taken, and survives being written and read."""
    try:
        config = make_config(at(path, value, others))
    except ConfigError as error:
        return str(error)
    assert make_config(parse_yaml(dump_config(config), "dumped")) == config
    return None


@pytest.mark.parametrize(("path", "others"), KEYS, ids=[path for path, _ in KEYS])
def test_no_key_takes_what_no_key_can_mean(path: str, others: dict[str, Any]) -> None:
    for value in (*NUMBERS, *ODD):
        why = refusal(path, value, others)
        if isinstance(value, dict) and path.endswith("options"):
            continue
        assert why is not None, f"{path} takes {str(value)[:50]}" if not isinstance(value, int) else path
        assert path.rpartition(".")[2] in why
        assert len(why) < 1500
    for value in PLAIN:
        why = refusal(path, value, others)
        assert why is None or path.rpartition(".")[2] in why


@given(
    st.sampled_from(KEYS),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
        ),
        max_leaves=5,
    ),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_any_value_is_taken_or_refused_with_a_message(key: tuple[str, dict[str, Any]], value: Any) -> None:
    path, others = key
    why = refusal(path, value, others)
    assert why is None or (why and len(why) < 3000)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train.lr", math.inf, r"config\.train\.lr: inf should be a finite number"),
        ("train.lr", True, r"config\.train\.lr: True is neither a number nor text"),
        ("train.seed", 10**30, r"config\.train\.seed: a number of 100 bits; expected at most"),
        ("export.path", "", r"config\.export\.path: '' \(0 characters\) is no name or path; write null"),
        ("select.options.beta.c_d", math.inf, r"config\.select\.options\.beta\.c_d: inf should be a finite number"),
        ("select.ratio", [], r"config\.select\.ratio: \[\] "),
        ("select.ratio", [0.5, 0.5], r"config\.select\.ratio: 0\.5 is there twice"),
        ("select.ratio", [0.1234567, 0.12345671], r"rounds to the same name \(0\.123457\)"),
        ("train.curriculum.options", {"a": 1}, r"train\.curriculum\.options: \{'a': 1\} belong to no curriculum"),
        ("model.name", "small_cnn/x", r"config\.model\.name: 'small_cnn/x' is not a model; use 'small_cnn' alone"),
        ("model.name", "torchvision", r"config\.model\.name: 'torchvision' is not a model; name one of its members"),
    ],
)
def test_what_makes_no_sense_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(at(path, value, {}))


def test_building_a_section_in_python_raises_our_error() -> None:
    with pytest.raises(ConfigError, match=r"config\.select\.ratio: 2 is not in \[0, 1\)"):
        Config(select={"ratio": 2})
    with pytest.raises(ConfigError, match=r"SelectConfig\.ratoi: unknown key; .* did you mean 'ratio'"):
        SelectConfig(ratoi=0.5)
    with pytest.raises(ConfigError, match=r"DataConfig\.on_error: 3 is not one of"):
        DataConfig(on_error=3)


@pytest.mark.parametrize("value", [[], 3, None, "text"])
def test_what_is_no_configuration(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected nested values by section"):
        make_config(value)
    if value is not None:
        with pytest.raises(ConfigError, match=r"expected nested values|there is no such configuration file"):
            dualprune.Run(tmp_path, value)


@pytest.mark.parametrize("path", [path for path, _ in KEYS if path.count(".") < 2])
def test_a_stored_configuration_of_an_older_version_is_checked_too(path: str, tmp_path: Path) -> None:
    place = Location.of(tmp_path / "config.yaml")
    for value in (None, [], "text", 3, {"a": 1}):
        values = at(path, value, yaml.safe_load(dump_config(Config())))
        place.write_bytes(yaml.safe_dump(values).encode())
        why = ""
        try:
            load_stored_config(place)
        except ConfigError as error:
            why = str(error)
        assert not why or path.rpartition(".")[2] in why


def test_an_override_is_named_as_it_was_given() -> None:
    with pytest.raises(ConfigError, match=r"^override select\.ratio: expected section\.key=value"):
        load_config(None, ["select.ratio"])
