from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dualprune.core.config_file import load_config, make_config
from dualprune.core.flat_keys import space_keys, translate_stored
from dualprune.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "section", "options"),
    [
        ({"select": {"c_d": 5.5}}, "select", {"beta": {"c_d": 5.5}}),
        ({"select": {"method": "top_k", "skip": 0.1}}, "select", {"top_k": {"skip": 0.1}}),
        ({"select": {"method": "threshold", "min_score": 0.1}}, "select", {"threshold": {"min_score": 0.1}}),
        (
            {"select": {"method": "ccs", "drop_hardest": 0.1, "strata": 7}},
            "select",
            {"ccs": {"drop": 0.1, "strata": 7}},
        ),
        ({"score": {"window": 5}}, "score", {"dual": {"window": 5}}),
        ({"data": {"source": "parquet", "path": "x", "id_column": None}}, "data", {"id_column": None}),
        ({"data": {"source": "torchvision", "name": "CIFAR10", "root": "r"}}, "data", {"name": "CIFAR10", "root": "r"}),
    ],
)
def test_a_flat_key_becomes_an_option_of_the_chosen_plug_in(
    written: dict[str, Any], section: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(written)
    assert getattr(config, section).options == options
    assert "is " in caplog.text, "what replaces the key is said"
    assert f"{section}.options." in caplog.text


def test_what_replaces_a_flat_key_is_said(caplog: pytest.LogCaptureFixture) -> None:
    make_config({"select": {"c_d": 5.5}})
    assert "config.select.c_d is select.options.beta.c_d now" in caplog.text


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            {"select": {"method": "top_k", "c_d": 4.0}},
            r"config\.select\.c_d: it is an option of the sampler 'beta', and 'top_k' is chosen, .*order, skip",
        ),
        ({"select": {"method": "random", "order": "easiest"}}, r"'random' is chosen, which has no options"),
        ({"data": {"image_column": "x"}}, r"config\.data\.image_column: .* of the source 'parquet', and 'digits'"),
        ({"select": {"options": {"beta": {"cd": 4.0}}}}, r"config\.select\.options\.beta\.cd: unknown key; .*'c_d'\?"),
        ({"select": {"options": {"beta": {"c_d": -1}}}}, r"config\.select\.options\.beta\.c_d: -1 should be greater"),
        ({"select": {"options": {"bta": {}}}}, r"config\.select\.options\.bta: unknown sampler 'bta'.*'beta'\?"),
        ({"score": {"options": {"dual": {"window": 1}}}}, r"config\.score\.options\.dual\.window: 1 should be"),
        ({"select": {"method": "bta"}}, r"config\.select\.method: unknown sampler 'bta'"),
        ({"model": {"name": "resnet81"}}, r"config\.model\.name: unknown model 'resnet81'"),
        ({"model": {"name": "small_cnn", "options": {"wdth": 3}}}, r"config\.model\.options\.wdth: unknown key"),
        ({"record": {"statistics": ["los"]}}, r"config\.record\.statistics: unknown statistic 'los'"),
        ({"data": {"source": "parqet"}}, r"config\.data\.source: unknown source 'parqet'"),
    ],
)
def test_what_a_plug_in_does_not_have_is_refused(written: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(written)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text("select: {c_d: 5.5}\n")
    return path


def test_options_of_a_file_do_not_stand_in_the_way_of_another_sampler(file: Path) -> None:
    config = load_config(file, ["select.method=top_k"])
    assert config.select.method == "top_k"
    assert config.select.options == {"beta": {"c_d": 5.5}}


def test_an_override_is_an_option_of_the_sampler_that_the_file_or_another_override_chooses(file: Path) -> None:
    assert load_config(file, ["select.c_d=7"]).select.options == {"beta": {"c_d": 7}}
    assert load_config(file, ["select.skip=0.1", "select.method=top_k"]).select.options["top_k"] == {"skip": 0.1}
    with pytest.raises(ConfigError, match=r"config\.select\.c_d: .* and 'top_k' is chosen"):
        load_config(file, ["select.c_d=7", "select.method=top_k"])


def test_the_old_name_of_a_sampler_is_what_it_was(file: Path) -> None:
    config = load_config(file, ["select.method=stratified"])
    assert config.select.method == "ccs"
    assert config.select.options["ccs"] == {"drop_by": "score"}


def test_stored_keys_go_to_whom_they_belong_whatever_was_chosen() -> None:
    stored = {"method": "top_k", "ratio": 0.5, "c_d": 3.0, "exponent": "c_d", "order": "hardest", "skip": 0.25}
    assert translate_stored("select", stored) == {
        "method": "top_k",
        "ratio": 0.5,
        "options": {"beta": {"c_d": 3.0}, "top_k": {"skip": 0.25}},
    }


def test_a_search_space_is_read_by_its_old_keys() -> None:
    assert space_keys({"select.c_d": {"uniform": [1, 12]}, "score.window": {"choice": [3, 5]}}) == {
        "select.options.beta.c_d": {"uniform": [1, 12]},
        "score.options.dual.window": {"choice": [3, 5]},
    }
    both = {"select.method": {"choice": ["beta", "top_k"]}, "select.c_d": {"uniform": [1, 12]}}
    assert set(space_keys(both)) == {"select.method", "select.options.beta.c_d"}
    with pytest.raises(ConfigError, match=r"config\.select\.c_d: .*'top_k' is chosen"):
        space_keys({"select.c_d": {"uniform": [1, 12]}}, {"select": {"method": "top_k"}})
