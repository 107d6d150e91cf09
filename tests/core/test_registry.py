from __future__ import annotations

import pytest

from dualprune.core.registry import Registry
from dualprune.errors import ConfigError


@pytest.fixture
def registry() -> Registry[int]:
    made: Registry[int] = Registry("number", "dualprune.test_numbers")
    made.register("one")(1)
    made.register("three")(3)
    return made


def test_lookup_and_names(registry: Registry[int]) -> None:
    assert registry["one"] == 1
    assert registry.names() == ["one", "three"]
    assert "three" in registry
    assert "two" not in registry


def test_unknown_name_lists_what_there_is(registry: Registry[int]) -> None:
    with pytest.raises(ConfigError, match=r"unknown number 'thre'; there are: one, three; did you mean 'three'\?"):
        registry["thre"]


def test_a_second_object_of_a_name_is_refused(registry: Registry[int]) -> None:
    with pytest.raises(ValueError, match="number 'one' is registered already"):
        registry.register("one")(2)


def test_entry_points_of_other_packages_are_found(tmp_path, monkeypatch) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dualprune.test_found]\nseven = other_package:SEVEN\n")
    (tmp_path / "other_package.py").write_text("SEVEN = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[int] = Registry("number", "dualprune.test_found")
    assert registry.names() == ["seven"]
    assert registry["seven"] == 7
