"""`dualprune.Run`: a run from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dualprune
from dualprune.errors import ConfigError, RunError
from dualprune.scores import dual
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(3).random((40, 5), dtype=np.float32)
CONFIG: dict[str, Any] = {
    "data": {"source": "imported"},
    "train": {"epochs": 5},
    "record": {"epochs": 5},
    "score": {"window": 3},
    "select": {"method": "top_k", "ratio": 0.5},
}


@pytest.fixture
def run(make_dynamics: MakeDynamics) -> dualprune.Run:
    directory = make_dynamics(PROB, ids=[f"id-{i}" for i in range(40)], num_buckets=1)
    for key, summary in {"index": {"samples": 40}, "record": {"epochs": 5}}.items():
        with directory.stage(key, {}) as stage:
            stage.summary = summary
    return dualprune.Run(directory, config=CONFIG)


def test_stages_run_by_name_and_their_results_are_read(run: dualprune.Run) -> None:
    run.score()
    scores = run.scores()
    assert scores.column_names == ["sample_id", "label", "position", "score", "mean_prob"]
    np.testing.assert_array_equal(scores["score"].to_numpy(), dual(PROB, window=3))
    assert run.scores("dual", ["score"]).column_names == ["score"]

    run.select()
    kept = run.kept()
    highest = np.sort(np.argsort(-dual(PROB, window=3), kind="stable")[:20])
    assert kept.positions.tolist() == highest.tolist()
    assert kept.sample_ids.tolist() == [f"id-{i}" for i in highest]
    assert np.flatnonzero(kept.mask).tolist() == highest.tolist()
    assert kept.mask.shape == (40,)

    run.export()
    assert {row["state"] for row in run.status()} == {"done", "off"}


def test_overrides_are_dotted_keys_that_are_stored(run: dualprune.Run) -> None:
    run.score()
    run.select({"select.ratio": 0.9, "select.order": "easiest"})
    assert len(run.kept("top_k-0.9").positions) == 4
    assert run.config.select.ratio == 0.9
    assert dualprune.Run(run.directory).config.select.ratio == 0.9
    with pytest.raises(ConfigError, match=r"config.select.ratoi: unknown key; .*did you mean 'ratio'\?"):
        run.select({"select.ratoi": 0.5})


def test_a_kept_set_that_is_not_there_is_an_error_that_names_those_that_are(run: dualprune.Run) -> None:
    with pytest.raises(RunError, match="has no single selection; there are: none"):
        run.kept()
    run.score()
    run.select({"select.ratio": [0.5, 0.9]})
    with pytest.raises(RunError, match=r"no single selection; there are: top_k-0\.5, top_k-0\.9"):
        run.kept()
    with pytest.raises(RunError, match=r"no finished selection 'beta-0\.5'; there are: top_k-0\.5, top_k-0\.9"):
        run.kept("beta-0.5")
    with pytest.raises(RunError, match=r"stage 'score\.el2n' is not finished"):
        run.scores("el2n")


def test_its_repr_tells_how_far_it_is(run: dualprune.Run, tmp_path: Path) -> None:
    assert repr(dualprune.Run(run.directory)).splitlines() == [
        f"Run('{run}')",
        "    40 samples, 5 epochs recorded",
        "    done: index, record",
        "    missing: score, select, export",
        "    off: evaluate",
        "    next: run.score(), with a configuration: dualprune.Run(place, config=…)",
    ]
    run.score()
    assert repr(run).splitlines()[1:] == [
        "    40 samples, 5 epochs recorded",
        "    done: index, record, score.dual",
        "    missing: select, export",
        "    off: evaluate",
        "    next: run.select()",
    ]


def test_the_repr_of_a_directory_without_a_run(tmp_path: Path) -> None:
    empty = dualprune.Run(tmp_path / "nothing")
    assert "nothing is there yet; begin with a configuration: dualprune.Run(place, config=…)" in repr(empty)
    assert repr(dualprune.Run(tmp_path / "nothing", config={})).endswith("next: run.record()")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(RunError, match="is not a run directory"):
        empty.score()
    (tmp_path / "config.yaml").write_text("select: {ratio: 7}\n")
    assert "cannot be read: config.select.ratio: 7 is not in [0, 1)" in repr(dualprune.Run(tmp_path))


def test_a_configuration_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text("select: {ratio: 0.3}\n")
    assert dualprune.Run(tmp_path / "run", config=tmp_path / "given.yaml").config.select.ratio == 0.3
    assert dualprune.Run(tmp_path / "run", config=dualprune.Config()).config == dualprune.Config()


def test_what_it_reads_and_says_needs_neither_ray_nor_torch(run: dualprune.Run) -> None:
    import subprocess
    import sys

    run.score()
    run.select()
    code = (
        f"import sys, dualprune; run = dualprune.Run({str(run)!r}); repr(run); run.scores(); run.kept(); run.status();"
        "print([m for m in ('ray', 'torch') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
