"""The descriptions of plug-ins, and the schema with their options."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import jsonschema
import pytest
from pydantic import Field

from dualprune.core.catalogue import PLACES, catalogue, config_schema, described, type_text
from dualprune.core.config import Config
from dualprune.core.plugins import KINDS, registry
from dualprune.core.registry import Plugin
from dualprune.core.section import Section
from dualprune.errors import ConfigError
from dualprune.selection.sampler import SAMPLERS


class Inner(Section):
    depth: int = Field(2, description="How deep.")


class Made(Plugin):
    """Keeps what it likes.

    And says more about it.
    """

    has_ratio = False

    class Options(Section):
        share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(0.5, description="Share that it likes.")
        end: Literal["high", "low"] = Field("high", description="Which end.")
        limit: int | None = Field(None, description="At most this many.")
        names: list[str] = Field(["a"], description="Names.")
        inner: Inner = Field(Inner(), description="More.")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("score", self.options.end)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Made, "name", "made", raising=False)
    monkeypatch.setitem(SAMPLERS._items, "made", Made)


def test_every_plug_in_of_ours_is_described() -> None:
    found = catalogue()
    for kind in PLACES:
        assert [one.name for one in found if one.kind == kind and not one.broken] == registry(kind).names()
    assert all(one.about for one in found)


def test_a_plug_in_says_what_it_reads_and_takes(made: None) -> None:
    [one] = described("made")
    assert (one.kind, one.about, one.chosen_by) == ("sampler", "Keeps what it likes.", "select.method")
    assert one.options_key == "select.options.made"
    assert one.reads == ("score", "high")
    assert one.traits == {"has_ratio": False}
    assert [(option.name, option.type, option.default) for option in one.options] == [
        ("share", "number > 0, ≤ 1", 0.5),
        ("end", "high | low", "high"),
        ("limit", "integer or null", None),
        ("names", "list of string", ["a"]),
        ("inner", "object", {"depth": 2}),
    ]
    assert one.options[0].description == "Share that it likes."
    assert json.loads(json.dumps(one.to_json()))["options"][1]["default"] == "high"


def test_an_unknown_name_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no plug-in 'bta'; there are: .*; did you mean 'beta'\?"):
        described("bta")


def test_a_broken_plug_in_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLERS.broken, "gone", "ImportError: no module (entry point other:Gone)")
    [one] = described("gone")
    assert one.to_json() == {
        "kind": "sampler",
        "name": "gone",
        "reads": (),
        "options": (),
        "broken": "ImportError: no module (entry point other:Gone)",
    }
    assert described("beta")


def test_a_plug_in_that_cannot_be_described_spares_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Made):
        """Is wrong."""

        @property
        def reads(self) -> tuple[str, ...]:
            raise RuntimeError("no default")

    monkeypatch.setitem(SAMPLERS._items, "wrong", Wrong)
    [one] = described("wrong")
    assert one.broken.startswith("RuntimeError: no default (")
    assert "sampler.wrong" not in config_schema()["$defs"]
    assert "sampler.beta" in config_schema()["$defs"]


def test_the_schema_has_the_options_of_every_plug_in(made: None) -> None:
    schema = json.loads(json.dumps(config_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(
        {"select": {"method": "made", "options": {"made": {"share": 0.1, "inner": {"depth": 3}}}}}
    )
    assert not validator.is_valid({"select": {"options": {"made": {"share": 2}}}})
    assert not validator.is_valid({"select": {"options": {"made": {"sahre": 0.1}}}})
    assert not validator.is_valid({"select": {"options": {"made": {"inner": {"dept": 1}}}}})
    assert validator.is_valid(Config().model_dump(mode="json"))


def test_types_in_words() -> None:
    assert type_text({"type": "integer", "minimum": 1}) == "integer ≥ 1"
    assert type_text({"anyOf": [{"const": "auto"}, {"type": "number"}]}) == "auto or number"
    assert type_text({"type": "object", "additionalProperties": {"type": "number"}}) == "mapping to number"
    assert type_text({}) == "any value"


def test_every_kind_is_at_the_top_of_the_package() -> None:
    import dualprune

    for kind in PLACES:
        module, _, name = KINDS[kind].partition(":")
        assert getattr(dualprune, name) is registry(kind), module
