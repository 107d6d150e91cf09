from __future__ import annotations

import pytest
import yaml

from dualprune.core.config import Config
from dualprune.core.config_file import dump_config, load_config, make_config
from dualprune.core.plugins import make_sampler, make_score
from dualprune.errors import ConfigError


def test_defaults_are_the_papers() -> None:
    config = load_config()
    assert (config.train.epochs, config.record.epochs, make_score(config, "dual").options.window) == (200, 30, 10)
    assert (config.train.lr, config.train.weight_decay, config.train.batch_size) == (0.1, 5e-4, 128)
    beta = make_sampler(config).options
    assert (beta.concentration, beta.scale, beta.anchor_size) == (16, 15, 10)


def test_a_file_with_overrides(tmp_path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("select: {ratio: 0.3}\ntrain: {epochs: 40}\n")
    config = load_config(path, ["select.ratio=[0.5, 0.9]", "select.seed=7", "data.path=${HOME}"])
    assert config.select.ratios == [0.5, 0.9]
    assert config.select.seed == 7
    assert config.train.epochs == 40
    assert config.data.path == "${HOME}"


def test_an_empty_file_is_the_defaults(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("")
    assert load_config(tmp_path / "c.yaml") == Config()


def test_dump_and_load_again_is_the_same(tmp_path) -> None:
    config = make_config({"select": {"ratio": [0.1, 0.2]}, "data": {"source": "parquet", "path": "x"}})
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("select.ratio=1.2", r"config\.select\.ratio: 1\.2 is not in \[0, 1\)"),
        ("select.ratio=1", r"config\.select\.ratio: 1 is not in \[0, 1\)"),
        ("select.ratio=-0.1", r"config\.select\.ratio: -0\.1 is not in \[0, 1\)"),
        ("select.ratio=[0.3,1.5]", r"config\.select\.ratio\.1: 1\.5 is not in \[0, 1\)"),
        ("select.ratoi=0.5", r"config\.select\.ratoi: unknown key; there are: .*ratio.*; did you mean 'ratio'\?"),
        ("slect.ratio=0.5", r"config\.slect: unknown key; there are: .*; did you mean 'select'\?"),
        ("record.epochs=5", r"config\.score\.methods: dual needs 10 epochs, which do not fit into 5 recorded epochs"),
        ("record.epochs=300", r"config\.record\.epochs: 300 is more than the schedule's train\.epochs = 200"),
        ("score.epochs=31", r"config\.score\.epochs: 31 is more than record\.epochs = 30"),
        ("train.min_lr=0.2", r"config\.train\.min_lr: 0\.2 is above train\.lr = 0\.1"),
        ("evaluate.steps=10", r"config\.evaluate\.steps: 10 is a number of steps, but evaluate\.budget is epochs; set"),
        ("evaluate.budget=step", r"config\.evaluate\.budget\.0: 'step' is not one of 'epochs', 'samples' or 'steps'"),
        ("evaluate.budget=[]", r"config\.evaluate\.budget: \[\] is empty"),
        ("train.lr=-1", r"config\.train\.lr: -1 should be greater than 0"),
        ("train.schedule=step", r"config\.train\.schedule: 'step' is not one of 'cosine' or 'constant'"),
        ("data.on_error=ignore", r"config\.data\.on_error: 'ignore' is not one of 'raise' or 'skip'"),
        ("data=3", r"config\.data: 3 should be"),
        ("ratio", r"override ratio: expected section\.key=value"),
        ("select.ratio=[", r"override select\.ratio=\[: the value is not valid YAML"),
        ("select.ratio.deep=1", r"override select\.ratio\.deep=1: 'ratio' is a value, not a section"),
    ],
)
def test_bad_values_are_named(override: str, message: str, tmp_path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("select: {ratio: 0.3}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(path, [override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["record.online=false"], r"config\.record\.online: false, but record\.stop: stable follows the scores"),
        (["record.stable.overlap=1.5"], r"config\.record\.stable\.overlap: 1\.5 should be less than or equal to 1"),
        (["record.stable.lagg=2"], r"config\.record\.stable\.lagg: unknown key; .*did you mean 'lag'\?"),
        (["record.stop=never"], r"config\.record\.stop: 'never' is not one of 'fixed' or 'stable'"),
    ],
)
def test_a_wrong_rule_to_stop_by_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=["record.stop=stable", *overrides])
    assert load_config(overrides=["record.stop=stable", "record.epochs=14"]).record.stable.lag == 3


def test_several_problems_are_named_together() -> None:
    with pytest.raises(ConfigError) as caught:
        make_config({"train": {"lr": 0, "momentum": 2}})
    assert "config.train.lr" in str(caught.value)
    assert "config.train.momentum" in str(caught.value)


def test_a_name_for_several_ratios_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"config\.select\.name: 'x' cannot name 2 selections"):
        make_config({"select": {"name": "x", "ratio": [0.1, 0.2]}})


def test_a_missing_file_and_bad_yaml(tmp_path) -> None:
    with pytest.raises(ConfigError, match="there is no such configuration file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "c.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="holds a list; expected sections"):
        load_config(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("data: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "c.yaml")


def test_the_schema_describes_every_section() -> None:
    schema = Config.model_json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert yaml.safe_load(yaml.safe_dump(schema)) == schema
