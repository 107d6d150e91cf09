from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from dualprune.core.baseline import BASELINES
from dualprune.core.config import Config
from dualprune.core.config_file import dump_config, make_config, with_values_of_run
from dualprune.core.identity import differences, inner_section, with_baseline
from dualprune.core.section import Section
from dualprune.core.sections import TrainConfig
from dualprune.core.storage import Location

# The baseline when it was first written: keys may be added to it, but no value may change.
FIRST = json.loads(Path(__file__).with_name("baseline.json").read_text())


class Inner(Section):
    baseline: ClassVar[dict[str, Any]] = {"size": 3}

    size: int = 3


class Outer(Section):
    baseline: ClassVar[dict[str, Any]] = {"lr": 0.1, "seed": 0, "path": None}
    neutral = frozenset({"path"})

    lr: float = 0.1
    seed: int = 0
    path: str | None = None
    inner: Inner = Inner()
    extra: int = Field(5)


def dumped(section: Section) -> dict[str, Any]:
    return section.model_dump(mode="json")


def test_values_of_the_baseline_do_not_count() -> None:
    assert differences(Outer, dumped(Outer(extra=5))) == {"version": 1, "extra": 5}
    assert differences(Outer, dumped(Outer(lr=0.2, inner=Inner(size=4)))) == {
        "version": 1,
        "lr": 0.2,
        "inner": {"version": 1, "size": 4},
        "extra": 5,
    }


def test_a_neutral_field_never_counts() -> None:
    assert differences(Outer, dumped(Outer(path="here"))) == differences(Outer, dumped(Outer(path="there")))


def test_a_section_inside_that_is_as_the_baseline_is_left_out() -> None:
    assert "inner" not in differences(Outer, dumped(Outer()))


def test_a_raised_version_counts() -> None:
    class Raised(Outer):
        version = 2

    assert differences(Raised, dumped(Raised())) != differences(Outer, dumped(Outer()))


def test_a_new_field_and_a_new_default_leave_the_identity_alone() -> None:
    class Later(TrainConfig):
        baseline: ClassVar[dict[str, Any]] = {**TrainConfig.baseline, "ema": 0.0}

        # Both a field that did not exist, and a default that has changed.
        ema: float = 0.999
        lr: float = 0.3

    before = TrainConfig(lr=0.05, epochs=40)
    stored = with_baseline(Later, dumped(before))
    assert differences(Later, dumped(Later(**stored))) == differences(TrainConfig, dumped(before))
    # A run of the older version without `lr` trained with its baseline, not with today's default.
    assert Later(**with_baseline(Later, {"epochs": 40})).lr == 0.1
    assert Later(**with_baseline(Later, {"epochs": 40})).ema == 0.0
    assert Later(epochs=40).ema == 0.999
    assert differences(Later, dumped(Later(epochs=40)))["ema"] == 0.999


def sections(model: type[Section]) -> list[type[Section]]:
    found = [model]
    for name in model.model_fields:
        inner = inner_section(model, name)
        if inner is not None:
            found += sections(inner)
    return found


@pytest.mark.parametrize("section", sections(Config), ids=lambda section: section.__name__)
def test_every_field_has_a_baseline(section: type[Section]) -> None:
    plain = {name for name in section.model_fields if inner_section(section, name) is None}
    assert plain <= section.baseline.keys(), (
        "add the new field to core/baseline.py, with the value that gives the behaviour without it"
    )


def test_the_baseline_is_frozen() -> None:
    now = {section: {key: BASELINES[section].get(key) for key in values} for section, values in FIRST.items()}
    assert now == FIRST


def test_the_identity_of_a_configuration_is_what_it_sets() -> None:
    config = make_config({"train": {"lr": 0.2}, "select": {"ratio": 0.5}})
    assert config.identity("train") == {"version": 1, "lr": 0.2}
    # Today's stream of noise is not that of the baseline.
    assert config.identity("select") == {"version": 1, "ratio": 0.5, "stream": 2}
    earlier = make_config({"select": {"ratio": 0.5, "stream": 1}})
    assert earlier.identity("select") == {"version": 1, "ratio": 0.5}
    assert config.identity("model") == {"version": 1}
    assert config.identity("data") == {"version": 1}


def test_options_of_another_plug_in_do_not_count() -> None:
    plain = make_config({"select": {"method": "top_k"}})
    stored = make_config({"select": {"method": "top_k", "options": {"beta": {"c_d": 5.5}}}})
    assert plain.identity("select") == stored.identity("select")
    beta = make_config({"select": {"method": "beta", "options": {"beta": {"c_d": 5.5}}}})
    assert beta.identity("select")["options"] == {"beta": {"version": 1, "c_d": 5.5}}


def test_a_preset_counts_by_what_it_changes() -> None:
    paper = make_config({"preset": "paper"})
    assert paper.identity("select")["options"] == {"beta": {"version": 1, "concentration": 15.0}}
    own = make_config({"preset": "paper", "select": {"options": {"beta": {"concentration": 16.0}}}})
    assert own.identity("select") == make_config({}).identity("select")


def test_a_run_keeps_what_it_began_with_unless_the_user_sets_it(tmp_path: Path) -> None:
    place = Location.of(tmp_path / "config.yaml")
    place.write_text("data: {source: digits, max_samples: 50}")
    assert with_values_of_run(make_config({}), place).data.subset == "first"
    assert with_values_of_run(make_config({"data": {"subset": "stratified"}}), place).data.subset == "stratified"
    place.write_text(dump_config(make_config({})))
    config = make_config({"data": {"max_samples": 50}})
    assert with_values_of_run(config, place) is config
    # To give the configuration again is the way out where the stored one is damaged.
    place.write_text("data: 5")
    assert with_values_of_run(config, place) is config
