"""Comparing what a configuration can select."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.errors import UserError
from dualprune.scores.score import SCORES
from dualprune.stages.grid import run_grid, selections
from dualprune.stages.select.names import selection_names
from pipelines import entry
from pipelines.compare import compare


def test_every_method_sampler_and_ratio_is_drawn_once_under_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORES._items, "other", SCORES["dual"])
    config = make_config(
        {"score": {"methods": ["dual", "other"]}, "select": {"ratio": [0.5, 0.9]}, "data": {"source": "digits"}}
    )
    found = selections(config, ["beta", "top_k", "random"])
    drawn = {(c.select.score, c.select.method, c.select.ratio) for c in found.values()}
    scored = {(score, sampler) for score in ("dual", "other") for sampler in ("beta", "top_k")} | {("dual", "random")}
    assert drawn == {(score, sampler, ratio) for score, sampler in scored for ratio in (0.5, 0.9)}
    assert len(found) == len(drawn)
    # What prune draws is not drawn again.
    assert set(selection_names(config)) <= set(found)
    for name, variant in found.items():
        assert selection_names(variant) == [name]


def test_a_method_that_is_not_registered_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tok_p"):
        run_grid(RunDirectory(tmp_path / "run"), Config(), ["tok_p"])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_compare_prints_the_table_and_its_rows(ray_cluster: None, tmp_path: Path, capsys) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        "model: {name: small_cnn}\n"
        "train: {epochs: 4, batch_size: 128, lr: 0.05, augment: none}\n"
        "record: {epochs: 3, checkpoint_every: 3}\n"
        "score: {window: 2}\n"
        "select: {ratio: [0.5, 0.9]}\n"
        "evaluate: {seeds: 1, epochs: 1}\n"
    )
    before = signal.getsignal(signal.SIGTERM)
    try:
        entry.finish("compare", str(path), str(tmp_path / "run"), None, False, compare)
    finally:
        signal.signal(signal.SIGTERM, before)
    out = capsys.readouterr().out
    assert "Accuracy on the test set" in out
    rows = json.loads(out.splitlines()[-1])["result"]["table"]
    subsets = [(row["subset"], row["ratio"], row["kept"]) for row in rows]
    assert subsets == [
        ("full", 0.0, 1438),
        ("random", 0.5, 719),
        ("random", 0.9, 144),
        ("beta-0.5", 0.5, 719),
        ("beta-0.9", 0.9, 144),
    ]
