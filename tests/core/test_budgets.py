"""Budgets of an evaluation, and what older versions called them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from dualprune.core.config_file import dump_config, load_config, load_stored_config, make_config
from dualprune.core.migration import VERSION, upgraded
from dualprune.core.storage import Location


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("epochs", ["epochs"]),
        ("samples", ["samples"]),
        ("steps", ["steps"]),
        ("both", ["epochs", "samples"]),
        (["steps", "epochs", "steps"], ["epochs", "steps"]),
    ],
)
def test_a_word_or_a_list(written: Any, expected: list[str], tmp_path: Path) -> None:
    config = make_config({"evaluate": {"budget": written}})
    assert config.evaluate.budget == expected
    stored = tmp_path / "config.yaml"
    stored.write_text(dump_config(config))
    assert load_stored_config(Location.of(stored)) == load_config(stored) == config


def test_both_is_told(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("dualprune").propagate = True
    make_config({"evaluate": {"budget": "both"}})
    assert "config.evaluate.budget: both is [epochs, samples] now" in caplog.text


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ({"budget": "epochs"}, {"budget": ["epochs"]}),
        ({"budget": "steps", "steps": None}, {"budget": ["samples"]}),
        ({"budget": "steps", "steps": 300}, {"budget": ["steps"], "steps": 300}),
        ({"budget": "both"}, {"budget": ["epochs", "samples"]}),
    ],
)
def test_a_stored_configuration_means_what_it_meant(
    former: dict[str, Any], now: dict[str, Any], tmp_path: Path
) -> None:
    import yaml

    stored = tmp_path / "config.yaml"
    space = {"evaluate.budget": {"choice": ["epochs", "steps"]}}
    stored.write_text(yaml.safe_dump({"evaluate": former, "tune": {"space": space}}))
    config = load_stored_config(Location.of(stored))
    assert (config.evaluate.budget, config.evaluate.steps) == (now["budget"], now.get("steps"))
    assert config.tune.space == {"evaluate.budget": {"choice": ["epochs", "samples"]}}
    # The manifests of the two versions before: whole sections, and differences from the baseline.
    whole = {**make_config({}).evaluate.model_dump(mode="json", exclude={"redraw"}), **former}
    for manifest in (
        {"settings": {"evaluate": whole}},
        {"version": 2, "settings": {"evaluate": {"version": 1, **{k: v for k, v in former.items() if v}}}},
    ):
        if manifest.get("version") and former["budget"] == "epochs":
            del manifest["settings"]["evaluate"]["budget"]
        found = upgraded("evaluate", manifest)
        assert found["version"] == VERSION
        assert found["settings"]["evaluate"] == config.identity("evaluate")


def test_a_sweep_over_former_budgets_is_another_sweep() -> None:
    space = {"evaluate.budget": {"choice": ["epochs", "steps"]}}
    manifest = {"version": 2, "settings": {"tune": {"version": 1, "space": space}}}
    found = upgraded("tune", manifest)["settings"]["tune"]["space"]["evaluate.budget"]["choice"]
    assert found[0] == "epochs"
    assert found[1] not in ("samples", "steps")
