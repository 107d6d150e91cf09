"""Constraints and inspection of selections on a run directory and a Parquet source."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
from PIL import Image
from typer.testing import CliRunner

from dualprune.cli import app
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.data.source import open_source
from dualprune.errors import ConfigError, DataError, RunError
from dualprune.exchange.kept import KEPT
from dualprune.stages.export import run_export
from dualprune.stages.score.stage import run_score
from dualprune.stages.select.inspect import inspect
from dualprune.stages.select.overlap import overlap
from dualprune.stages.select.stage import run_select
from tests.conftest import MakeDynamics

NUM = 120
PROB = np.random.default_rng(8).random((NUM, 6)).astype(np.float32)
IDS = [f"id-{i * 7 % NUM:03d}" for i in range(NUM)]
COUNTRY = [["de", "fr", None][i % 3] if i > 2 else "is" for i in range(NUM)]
# Three pairs of equal images.
IMAGE = [i if i not in {50, 70, 119} else i - 30 for i in range(NUM)]


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), number, dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def run(make_dynamics: MakeDynamics, ray_cluster: None, tmp_path: Path) -> RunDirectory:
    table = pa.table(
        {
            "sample_id": IDS,
            "image": [png(number) for number in IMAGE],
            "label": np.arange(NUM) % 3,
            "country": COUNTRY,
        }
    )
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=50)
    run = make_dynamics(PROB, ids=IDS, num_buckets=3)
    data = settings(run).data
    with run.stage("index", {"source": open_source(data).fingerprint()}) as done:
        done.summary = {"samples": NUM}
    with run.stage("record", {}) as done:
        done.summary = {"epochs": 6}
    run_score(run, settings(run))
    return run


def settings(run: RunDirectory, **select: Any) -> Config:
    config = make_config(
        {
            "data": {"source": "parquet", "path": str(run.root.parent / "train.parquet")},
            "score": {"window": 4},
            "record": {"epochs": 6},
            "train": {"epochs": 6},
            "select": select,
        }
    )
    run.save_config(config)
    return config


def kept(run: RunDirectory, name: str) -> list[str]:
    return (run.selection(name) / KEPT).read_table()["sample_id"].to_pylist()


def test_id_files_groups_and_duplicates(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "always.txt").write_text("id-003\n\n id-100 \n")
    pq.write_table(pa.table({"sample_id": ["id-001", "id-002"]}), tmp_path / "never.parquet")
    files = {"always_keep": str(tmp_path / "always.txt"), "never_keep": str(tmp_path / "never.parquet")}
    run_select(run, settings(run, method="random", ratio=[0.1, 0.9], deduplicate=True, **files))
    few, many = kept(run, "random-0.9"), kept(run, "random-0.1")
    assert len(few) == 12
    assert {"id-003", "id-100"} <= set(few)
    assert not {"id-001", "id-002"} & set(many)
    later = {max(IDS[place], IDS[place - 30]) for place in (50, 70, 119)}
    assert not later & set(many)
    found = (run.root / "duplicates" / "duplicates.parquet").read_table()
    assert set(found["sample_id"].to_pylist()) == later
    weights = (run.selection("random-0.9") / KEPT).read_table()
    chance = dict(zip(weights["sample_id"].to_pylist(), weights["inclusion"].to_pylist(), strict=True))
    assert chance.pop("id-003") == chance.pop("id-100") == 1.0
    # 10 more of the 120 without 2 that are never kept, 3 duplicates and the 2 that always are
    assert set(chance.values()) == {10 / 113}
    assert (run.selection("random-0.9") / "selection.json").read_json()["constraints"]["deduplicate"] is True
    # A column of the source as the groups, with a value that is missing.
    balance = {"by": "country", "quota": "equal", "short": "redistribute"}
    run_select(run, settings(run, method="top_k", ratio=0.6, balance=balance))
    countries = dict(zip(IDS, COUNTRY, strict=True))
    numbers: dict[Any, int] = {}
    for sample_id in kept(run, "top_k-0.6"):
        numbers[countries[sample_id]] = numbers.get(countries[sample_id], 0) + 1
    assert numbers == {"is": 3, "de": 15, "fr": 15, None: 15}


@pytest.mark.parametrize(
    ("text", "key", "error", "message"),
    [
        ("id-001\nnope\nno\n", "never_keep", DataError, r"never_keep: 2 of the 3 ids .* not among .* 'nope', 'no'"),
        (None, "always_keep", ConfigError, r"always_keep: there is no file"),
    ],
)
def test_bad_id_files(
    run: RunDirectory, tmp_path: Path, text: str | None, key: str, error: type[Exception], message: str
) -> None:
    if text is not None:
        (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(error, match=message):
        run_select(run, settings(run, **{key: str(tmp_path / "ids.txt")}))


def test_errors_of_constraints(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("id-001\n")
    pq.write_table(pa.table({"id": ["id-001"]}), tmp_path / "ids.parquet")
    ids = str(tmp_path / "ids.txt")
    with pytest.raises(ConfigError, match=r"1 ids are in both files"):
        run_select(run, settings(run, always_keep=ids, never_keep=ids))
    with pytest.raises(DataError, match=r"has no column 'sample_id'; it has: id"):
        run_select(run, settings(run, always_keep=str(tmp_path / "ids.parquet")))
    with pytest.raises(ConfigError, match=r"no column 'contry'; it has: .*did you mean 'country'"):
        run_select(run, settings(run, balance={"by": "contry", "minimum": 1}))
    with pytest.raises(ConfigError, match=r"leaves none"):
        run_select(run, settings(run, ratio=0.999))


def test_inspect_overlap_and_export(run: RunDirectory) -> None:
    config = settings(run, method="beta", ratio=[0.5, 0.9])
    run_select(run, config)
    facts = inspect(run, config, "beta-0.5")
    assert sum(facts["per_quartile"]) == 60
    scored = pa.concat_tables((run.scores("dual") / f"bucket=0000{b}.parquet").read_table() for b in range(3))
    density = scipy.stats.beta.pdf(scored["mean_prob"], facts["parameters"]["a"], facts["parameters"]["b"])
    weight = density * np.asarray(scored["score"])
    assert facts["effective"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    ranked = settings(run, method="top_k", ratio=0.5)
    run_select(run, ranked)
    one, other = set(kept(run, "beta-0.5")), set(kept(run, "top_k-0.5"))
    assert facts["overlap"]["top_k"] == len(one & other) / 60
    mean = np.asarray(scored["mean_prob"])
    chosen = np.isin(np.asarray(scored["sample_id"]).astype(str), list(one))
    quarter = np.argsort(np.argsort(mean)) // 30
    assert np.abs(np.array(facts["per_quartile"]) - np.bincount(quarter[chosen], minlength=4)).max() <= 1
    found = overlap(run, config, "beta-0.5", "top_k-0.5")
    assert (found.in_both, found.only_first, found.only_second) == (
        len(one & other),
        len(one - other),
        len(other - one),
    )
    assert found.jaccard == len(one & other) / len(one | other)
    assert set(found.first_examples) <= one - other
    with pytest.raises(RunError, match=r"no selection 'beta-0.55'; there are: .*did you mean 'beta-0.5'"):
        overlap(run, config, "beta-0.55", "top_k-0.5")
    run_export(run, ranked)
    exported = pq.read_table(f"{run.export('top_k-0.5')}/data")
    assert set(exported["sample_id"].to_pylist()) == other
    assert exported["inclusion"].to_pylist() == [1.0] * 60


def test_the_commands(run: RunDirectory) -> None:
    settings(run)
    arguments = ["select", str(run), "--method", "random", "--ratios", "0.3,0.9", "--explain"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "random-0.3: kept 84 of 120" in shown.output
    # All weights are the same.
    assert re.search(r"effective number of candidates +│ 120.0", shown.output)
    shown = CliRunner().invoke(app, ["select", str(run), "--method", "beta", "--ratios", "0.5", "--explain"])
    assert shown.exit_code == 0, shown.output
    facts = (run.selection("beta-0.5") / "selection.json").read_json()
    for name in ("a", "b", "anchor"):
        assert re.search(rf"│ {name} +│ {facts['parameters'][name]:.6g} ", shown.output)
    lines = ["kept of class 2", "kept of the hardest quarter", "also kept by top_k", "also kept by random"]
    assert all(line in shown.output for line in lines)
    for wrong in (["random-0.3"], ["random-0.3", "random-0.9", "beta-0.5"]):
        shown = CliRunner().invoke(app, ["overlap", str(run), "--selections", *wrong])
        assert shown.exit_code != 0
        assert "expected two" in str(shown.output) + str(shown.exception)
    for command in ("overlap", "compare"):
        shown = CliRunner().invoke(app, [command, str(run), "--selections", "random-0.3", "random-0.9"])
        assert shown.exit_code == 0, shown.output
        # Without weights, draws of one seed are nested: 12 of 84.
        assert "Jaccard overlap: 0.1429" in shown.output
