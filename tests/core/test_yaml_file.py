from __future__ import annotations

import time

import pytest

from dualprune.core.config_file import load_config, make_config
from dualprune.core.yaml_file import parse_documents, parse_yaml
from dualprune.errors import ConfigError


def test_plain_values_come_back() -> None:
    assert parse_yaml("a: {b: [1, 2.5, x, null, true]}", "c.yaml") == {"a": {"b": [1, 2.5, "x", None, True]}}
    assert parse_yaml("", "c.yaml") is None


def test_a_merged_mapping_is_no_second_key() -> None:
    text = "base: &b {lr: 1, seed: 0}\ntrain: {<<: *b, lr: 2}\n"
    assert parse_yaml(text, "c.yaml")["train"] == {"lr": 2, "seed": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "select: {ratio: 0.3}\nselect: {ratio: 0.5}",
            r"c\.yaml: it is not valid YAML: the key 'select' is given twice, in",
        ),
        (
            "select:\n  ratio: 0.3\n  seed: 1\n  ratio: 0.5",
            r"the key 'ratio' is given twice, in lines 2 and 4; keep one",
        ),
        ("? [1, 2]\n: 3", "a key is a list or a mapping"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("a: 2026-13-45", "not valid YAML"),
        ("a: *missing", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "c.yaml")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml: it is not valid YAML"):
        parse_yaml(b"\x80abc", "c.yaml")


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"more than 20 aliases \(\*name\); write the values out"):
        parse_yaml(text, "c.yaml")
    assert time.monotonic() - started < 60, "it would take years"


@pytest.mark.parametrize("key", ["train.lr", "tune.epsilon", "train.momentum"])
@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_numbers_are_finite(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.{key}: (inf|-inf|nan) should be"):
        load_config(overrides=[f"{key}={value}"])


def test_classes_named_by_whole_numbers_have_quotas() -> None:
    values = parse_yaml("select: {balance: {quota: {0: 1, 1: 2.5, cat: 3}}}", "c.yaml")
    assert make_config(values).select.balance.quota == {"0": 1.0, "1": 2.5, "cat": 3.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("kind: A\n---\nkind: B\nkind: C\n", "the key 'kind' is given twice"),
        ("a: &a [1, 1]\n" + "".join(f"b{n}: *a\n" for n in range(30)), "more than 20 aliases"),
        ("a: [\n", "not valid YAML"),
        ("[" * 100_000, "nested too deeply|not valid YAML"),
    ],
)
def test_several_documents_are_read_with_the_same_care(content: str, message: str) -> None:
    assert parse_documents("kind: A\n---\nkind: B\n", "f") == [{"kind": "A"}, {"kind": "B"}]
    with pytest.raises(ConfigError, match=message):
        parse_documents(content, "f")
