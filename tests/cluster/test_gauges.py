"""Figures for Prometheus: named once, drawn by the dashboard, and off without Ray or its metrics."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dualprune.cluster import gauges
from dualprune.core import metrics

BOARD = Path(__file__).parents[2] / "cluster" / "grafana" / "dualprune.json"


def test_the_dashboard_draws_every_figure_and_no_other() -> None:
    board = json.loads(BOARD.read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    assert set(re.findall(r"ray_(dualprune_\w+)", asked)) == set(metrics.GAUGES)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", BOARD.read_text())) <= variables


def test_the_docs_name_every_figure() -> None:
    text = (BOARD.parents[2] / "docs" / "kubernetes.md").read_text()
    assert set(re.findall(r"ray_(dualprune_\w+)", text)) == set(metrics.GAUGES)


def test_without_ray_nothing_happens_and_ray_is_not_loaded() -> None:
    program = """
import sys
from dualprune.cluster import gauges
from dualprune.core import metrics
metrics.gauge("dualprune_epoch", 3, run="x")
assert "ray" not in sys.modules
gauges.install()
metrics.gauge("dualprune_epoch", 3, run="x")
assert not gauges._gauges
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_gauge_is_set_once_ray_is_joined_and_not_where_metrics_are_off(ray_cluster: None, monkeypatch) -> None:
    monkeypatch.setattr(metrics, "_sink", None)
    monkeypatch.setattr(gauges, "_gauges", {})
    metrics.gauge("dualprune_epoch", 3, run="x")
    assert gauges._gauges == {}, "no sink is installed"
    gauges.install()
    monkeypatch.setenv(gauges.SWITCH, "0")
    metrics.gauge("dualprune_epoch", 3, run="x")
    assert gauges._gauges == {}
    monkeypatch.delenv(gauges.SWITCH)
    metrics.gauge("dualprune_epoch", 3, run="x")
    assert list(gauges._gauges) == ["dualprune_epoch"]


def test_a_tag_that_is_missing_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="dualprune_stage_seconds has the tags"):
        metrics.gauge("dualprune_stage_seconds", 1.0, run="x")
