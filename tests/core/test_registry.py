from __future__ import annotations

from pathlib import Path

import pytest

from dualprune.core.registry import Plugin, Registry
from dualprune.errors import ConfigError

ONE = """
from dualprune.core.registry import Plugin
from numbers_here import NUMBERS


def one(value):
    return value + 1


@NUMBERS.register("one")
class One(Plugin):
    pass
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[type[Plugin]]:
    """A registry whose folder is a package with the modules `one` and `_hidden`, and one entry point."""
    folder = tmp_path / "numbers_here"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from dualprune.core.registry import Registry\n"
        "NUMBERS = Registry('number', 'numbers_here', 'dualprune.test_numbers')\n"
    )
    (folder / "one.py").write_text(ONE)
    (folder / "_hidden.py").write_text("raise AssertionError('passed over')\n")
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dualprune.test_numbers]\nseven = other_package:Seven\nbroken = other_package:Missing\n"
    )
    (tmp_path / "other_package.py").write_text(
        "from dualprune.core.registry import Plugin\nclass Seven(Plugin):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("numbers_here", "numbers_here.one", "other_package"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    import numbers_here

    found: Registry[type[Plugin]] = numbers_here.NUMBERS
    return found


def test_modules_of_the_folder_and_entry_points_are_found(registry: Registry[type[Plugin]]) -> None:
    assert registry.names() == ["one", "seven"]
    assert registry["one"].name == "one"
    assert registry["seven"].__name__ == "Seven"
    assert "seven" in registry
    assert "two" not in registry


def test_a_name_is_found_without_importing_all_others(registry: Registry[type[Plugin]]) -> None:
    assert registry["one"].name == "one"
    assert not registry.broken


def test_the_function_of_a_module_stands_for_it(registry: Registry[type[Plugin]]) -> None:
    import numbers_here

    assert registry["one"].name == "one"
    assert numbers_here.one(1) == 2
    from numbers_here.one import One

    assert One.name == "one"
    assert numbers_here.one(1) == 2
    registry.scan()
    assert numbers_here.one(1) == 2


def test_unknown_name_lists_what_there_is(registry: Registry[type[Plugin]]) -> None:
    with pytest.raises(ConfigError, match=r"unknown number 'seve'; there are: one, seven; did you mean 'seven'\?"):
        registry["seve"]


def test_a_broken_entry_point_spares_the_others_and_says_why_when_asked_for(
    registry: Registry[type[Plugin]],
) -> None:
    assert registry.names() == ["one", "seven"]
    with pytest.raises(ConfigError, match=r"number 'broken' cannot be loaded: AttributeError: .*Missing"):
        registry["broken"]


def test_a_second_object_of_a_name_is_refused(registry: Registry[type[Plugin]]) -> None:
    class Other(Plugin):
        pass

    registry.scan()
    with pytest.raises(ValueError, match="number 'one' is registered already"):
        registry.register("one")(Other)
