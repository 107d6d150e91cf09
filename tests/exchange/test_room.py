"""An import deletes or overwrites nothing that this package did not make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dualprune
from dualprune.core.storage import Location
from dualprune.errors import DataError, RunError

PROB = np.random.default_rng(0).random((4, 20), dtype=np.float32)
SHORT = {"score": {"window": 3}}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["import", "dynamics", "index", "checkpoints", "manifests", "notes"])
def test_a_folder_of_the_users_is_left_alone(tmp_path: Path, name: str, force: bool) -> None:
    (tmp_path / "mine" / name).mkdir(parents=True)
    (tmp_path / "mine" / name / "thesis.tex").write_text("mine")
    before = contents(tmp_path)
    # A file in `manifests` is taken for a damaged manifest.
    with pytest.raises(
        (RunError, DataError), match=rf"not a run directory and holds other .* such as {name}|is damaged"
    ):
        dualprune.import_dynamics(PROB, tmp_path / "mine", config=SHORT, force=force)
    assert contents(tmp_path) == before


def test_manifests_of_something_else_make_no_run(tmp_path: Path) -> None:
    (tmp_path / "mine" / "manifests").mkdir(parents=True)
    (tmp_path / "mine" / "manifests" / "deploy.json").write_text('{"kind": "Service", "settings": {}, "inputs": []}')
    (tmp_path / "mine" / "dynamics").mkdir()
    (tmp_path / "mine" / "dynamics" / "thesis.tex").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises((RunError, DataError), match=r"not a run directory|damaged"):
        dualprune.import_dynamics(PROB, tmp_path / "mine", config=SHORT, force=True)
    assert contents(tmp_path) == before


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="run is a file; import into a new folder"):
        dualprune.import_dynamics(PROB, tmp_path / "run", config=SHORT, force=True)
    assert (tmp_path / "run").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    dualprune.import_dynamics(PROB, tmp_path / "run", config=SHORT)


def test_what_lies_beside_the_dynamics_stays(tmp_path: Path) -> None:
    run = dualprune.import_dynamics(PROB, tmp_path / "run", config=SHORT)
    (tmp_path / "run" / "import").mkdir()
    (tmp_path / "run" / "import" / "thesis.tex").write_text("mine")
    dualprune.import_dynamics(PROB, run, config=SHORT, force=True)
    assert (tmp_path / "run" / "import" / "thesis.tex").read_text() == "mine"


def with_value(value: float) -> np.ndarray:
    changed = PROB.copy()
    changed[2, 7] = value
    return changed


@pytest.mark.parametrize(
    "arrays",
    [
        {"target_prob": with_value(1.5)},
        {"target_prob": with_value(np.nan)},
        {"target_prob": PROB, "sample_ids": [1, 1, *range(18)]},
        {"target_prob": PROB, "labels": np.arange(20) - 1},
        {"target_prob": PROB, "config": {"score": {"window": 9}}},
    ],
    ids=["range", "NaN", "ids", "labels", "config"],
)
def test_dynamics_that_are_wrong_replace_nothing(tmp_path: Path, arrays: dict[str, Any]) -> None:
    run = dualprune.import_dynamics(PROB, tmp_path / "run", config=SHORT)
    before = contents(tmp_path / "run")
    with pytest.raises(ValueError, match=r"target_prob|sample ids|labels|score\.options\.dual"):
        dualprune.import_dynamics(run=run, force=True, **{"config": SHORT, **arrays})
    assert contents(tmp_path / "run") == before


def test_a_source_inside_the_run_or_around_it_is_refused(tmp_path: Path) -> None:
    run = dualprune.import_dynamics(PROB, tmp_path / "run", config=SHORT)
    table = pa.table({f"target_prob_{epoch}": values for epoch, values in enumerate(PROB)})
    places = [tmp_path / "run" / "dynamics" / "d.parquet", tmp_path / "run" / "d.parquet"]
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for place in places:
        pq.write_table(table, place)
        for name in (place, tmp_path / "link" / place.relative_to(tmp_path / "run")):
            with pytest.raises(DataError, match="lie inside each other; import into a folder of its own"):
                dualprune.import_file(name, run, config=SHORT, force=True)
        assert place.exists()
    pq.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(DataError, match="lie inside each other"):
        dualprune.import_file(tmp_path, tmp_path / "new", config=SHORT)
    # A name that only begins alike is another folder.
    dualprune.import_file(tmp_path / "d.parquet", tmp_path / "d.parquet-run", config=SHORT)


def test_an_object_store_is_treated_alike(s3: str) -> None:
    base, _, options = s3.partition("?")
    run = dualprune.import_dynamics(PROB, s3, config=SHORT)
    with pytest.raises(RunError, match="is a run directory already"):
        dualprune.import_dynamics(PROB, s3, config=SHORT)
    with pytest.raises(DataError, match=r"not in \[0, 1\]"):
        dualprune.import_dynamics(with_value(1.5), s3, config=SHORT, force=True)
    assert len(dualprune.DynamicsStore(run).epochs) == 4
    dualprune.import_dynamics(PROB[:3], s3, config=SHORT, force=True)
    assert len(dualprune.DynamicsStore(run).epochs) == 3
    dualprune.export_dynamics(run, f"{base}/out.npz?{options}")
    dualprune.export_dynamics(run, f"{base}/out.npz?{options}", force=True)
    mine = Location.of(f"{base}-mine/notes.txt?{options}")
    mine.write_text("mine")
    with pytest.raises(RunError, match=r"not a run directory and holds other things, such as notes.txt"):
        dualprune.import_dynamics(PROB, mine.parent, config=SHORT, force=True)
    with pytest.raises(RunError, match=r"holds files that were not made by dualprune, such as notes.txt"):
        dualprune.export_dynamics(run, mine.parent, force=True)
    assert mine.read_bytes() == b"mine"
