"""`dualprune methods` and `dualprune config schema`."""

from __future__ import annotations

import json

import pytest

from dualprune.selection.sampler import SAMPLERS
from tests.cli.conftest import Command
from tests.core.test_catalogue import Made


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setitem(SAMPLERS._items, "made", Made)


def test_the_list_has_every_kind_and_what_is_broken(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLERS.broken, "gone", "ImportError: no module named other")
    told = command("methods")
    assert told.code == 0
    for part in ("score method", "dual", "beta", "parquet", "small_cnn", "target_prob", "gone (broken)"):
        assert part in told.out
    for part in ("kl", "8 bytes per sample", "DUAL, arXiv 2502.06905; behaapyy/dual-pruning@4ab525d"):
        assert part in " ".join(told.out.split())
    assert "gone: sampler\n    cannot be loaded: ImportError: no module named other" in told.out


def test_one_plug_in_with_its_options(command: Command) -> None:
    told = command("methods", "made").out
    for part in (
        "made: sampler\n    Keeps what it likes.\n    reads: score, high\n    chosen by: select.method",
        "options, under select.options.made",
        "Share that it likes.",
        "number > 0, ≤ 1",
    ):
        assert part in told


def test_a_published_method_with_its_sources(command: Command) -> None:
    told = " ".join(command("methods", "forgetting").out.split())
    for part in (
        "source: forgetting events, arXiv 1812.05159; mansheej/data_diet",
        "cost: none beyond training",
        "leave samples that were never right at 0, as if they were easy: never: zero",
    ):
        assert part in told


def test_json_has_all_of_it(command: Command) -> None:
    everything = json.loads(command("methods", "--json").out)
    [tdds] = [one for one in everything if one["name"] == "tdds"]
    assert tdds["reads"] == ["kl"]
    assert {"what", "option"} == {*tdds["differences"][0]}
    assert all(tdds[name] for name in ("source", "cost", "about"))
    assert {"sampler", "source", "model", "score method", "statistic"} <= {one["kind"] for one in everything}
    [one] = json.loads(command("methods", "made", "--json").out)
    assert [option["name"] for option in one["options"]] == ["share", "end", "limit", "names", "inner"]
    assert one["options"][2] == {
        "name": "limit",
        "type": "integer or null",
        "default": None,
        "description": "At most this many.",
    }


def test_a_name_that_is_not_there(command: Command) -> None:
    command("methods", "bta").is_user_error("there is no plug-in 'bta'", "did you mean 'beta'?")


def test_the_schema_has_the_options(command: Command) -> None:
    schema = json.loads(command("config", "schema").out)
    assert schema["$defs"]["sampler.made"]["properties"]["share"]["description"] == "Share that it likes."
