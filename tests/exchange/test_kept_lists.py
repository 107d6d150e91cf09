"""Lists of a kept set hold what the selection kept, bucket by bucket, and refuse ids that they cannot hold."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.errors import ConfigError, DataError, StorageError
from dualprune.exchange import uids
from dualprune.exchange.kept import read_kept
from dualprune.exchange.kept_lists import LISTS, write_lists
from dualprune.stages.integrity import check_run
from dualprune.stages.pipeline import run_stages
from dualprune.stages.select.id_files import listed_ids
from dualprune.stages.status import stage_states
from tests.conftest import MakeDynamics
from tests.reliability.sound import work_in_this_process
from tests.reliability.test_full_disk import no_file_larger_than

NUM, NAME = 60, "beta-0.5"
SETTINGS = {"data": {"source": "imported"}, "select": {"ratio": 0.5}, "score": {"window": 3}}
RANDOM = np.random.default_rng(0)
UUIDS = [str(uuid.UUID(bytes=RANDOM.bytes(16))) for _ in range(NUM)]


@pytest.fixture
def selected(make_dynamics: MakeDynamics, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a run of three buckets with a selection, given the ids of its samples."""
    work_in_this_process(monkeypatch)

    def make(ids: list[Any] | None = None, unscored: Sequence[int] = ()) -> RunDirectory:
        prob = np.random.default_rng(0).random((NUM, 5), dtype=np.float32)
        prob[list(unscored)] = np.nan
        run = make_dynamics(prob, ids=ids, num_buckets=3)
        with run.stage("index", {}) as stage:
            stage.summary = {"samples": NUM}
        with run.stage("record", {}, [stage.fingerprint]) as stage:
            stage.summary = {"epochs": 5}
        config = make_config(SETTINGS | {"score": {"window": 3, "on_nan": "drop"}} if unscored else SETTINGS)
        run.save_config(config)
        run_stages(run, config, ["score", "select"])
        return run

    return make


def written(run: RunDirectory, place: Path, *lists: str) -> dict[str, Any]:
    return dict(write_lists(run, NAME, lists, Location.of(place)))


def test_samples_without_a_score_have_places_in_the_mask(selected: Any, tmp_path: Path) -> None:
    run = selected(unscored=[3, 4])
    kept = read_kept(run, NAME, ["position"])["position"].to_pylist()
    written(run, tmp_path, "mask")
    mask = np.load(tmp_path / "kept_mask.npy")
    assert len(kept) == (NUM - 2) / 2
    assert (mask.shape, np.flatnonzero(mask).tolist()) == ((NUM,), kept)
    assert Location.of(tmp_path / "kept.json").read_record()["num_samples"] == NUM


@pytest.mark.parametrize("ids", [None, [f"ü {number}" for number in range(NUM)]], ids=["int64", "text"])
def test_ids_indices_and_mask_are_the_selection(selected: Any, tmp_path: Path, ids: list[str] | None) -> None:
    run = selected(ids)
    kept = read_kept(run, NAME, ["sample_id", "position"])
    found = written(run, tmp_path, "ids", "indices", "mask")
    assert sorted(found) == ["kept_ids.txt", "kept_indices.npy", "kept_mask.npy"]
    text = (tmp_path / "kept_ids.txt").read_text()
    assert text == "".join(f"{sample_id}\n" for sample_id in kept["sample_id"].to_pylist())
    assert listed_ids(str(tmp_path / "kept_ids.txt"), "").to_pylist() == kept["sample_id"].cast(pa.string()).to_pylist()
    indices = np.load(tmp_path / "kept_indices.npy")
    assert (indices.dtype, indices.tolist()) == (np.int64, kept["position"].to_pylist())
    mask = np.load(tmp_path / "kept_mask.npy")
    assert (mask.dtype, mask.shape) == (np.bool_, (NUM,))
    assert np.flatnonzero(mask).tolist() == indices.tolist()
    for name, record in found.items():
        place = Location.of(tmp_path / name)
        assert (record.bytes, record.crc32) == (place.size(), place.digest("crc32"))
    facts = Location.of(tmp_path / "kept.json").read_record()
    assert facts["run"] == "made-up"
    expected = {"name": NAME, "method": "beta", "ratio": 0.5, "seed": 0, "num_samples": NUM, "num_kept": NUM // 2}
    assert {key: facts[key] for key in expected} == expected


@pytest.mark.parametrize("merged", [uids.MERGED, 7], ids=["at once", "in ranges"])
def test_uids_are_those_of_datacomp(
    selected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: int
) -> None:
    monkeypatch.setattr(uids, "MERGED", merged)
    # Digits in either case, with and without hyphens, and zeros at either end.
    ids = [one.replace("-", "") if row % 2 else one.upper() for row, one in enumerate(UUIDS)]
    ids[:2] = ["0" * 32, "f" + "0" * 31]
    run = selected(ids)
    written(run, tmp_path, "uids")
    plain = [one.replace("-", "") for one in read_kept(run, NAME, ["sample_id"])["sample_id"].to_pylist()]
    expected = np.array([(int(one[:16], 16), int(one[16:], 16)) for one in plain], np.dtype("u8,u8"))
    expected.sort()
    found = np.load(tmp_path / "kept_uids.npy")
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()
    # As DataComp looks a sample up.
    assert all(one in found for one in expected)


def test_a_full_temporary_disk_is_an_error() -> None:
    held = uids.SortedUids()
    held.add(pa.chunked_array([UUIDS]))
    with no_file_larger_than(200), pytest.raises(StorageError, match=r"a temporary file in .* cannot be used: .*large"):
        list(held.merged())


@pytest.mark.parametrize(
    "wrong", ["x" * 32, "0" * 31, "0" * 33, f"{'0' * 32}\n", "00000000-0000-0000-0000-0000-00000000", "0" * 31 + "٣"]
)
def test_an_id_that_is_no_uid_is_named(wrong: str) -> None:
    with pytest.raises(DataError, match=r"32 hexadecimal digits or UUIDs, but the id .* is neither; leave uids out"):
        uids.parse_uids(pa.chunked_array([UUIDS[:3], [wrong]]))


def test_numbers_are_no_uids(selected: Any, tmp_path: Path) -> None:
    run = selected()
    with pytest.raises(DataError, match=r"kept_uids.npy holds ids .* but the id \d+ is a number of the type int64"):
        written(run, tmp_path, "uids")


@pytest.mark.parametrize("wrong", ["a\nb", "a\rb", " a", "a\u2003", "\ufeffa"])
def test_an_id_that_is_no_line_is_named(selected: Any, tmp_path: Path, wrong: str) -> None:
    run = selected([f"{wrong}{number}{wrong}" for number in range(NUM)])
    with pytest.raises(DataError, match=r"ids cannot stand in kept_ids.txt, as the id '.*' is empty, holds a line"):
        written(run, tmp_path, "ids")
    written(run, tmp_path, "indices")


def test_lists_of_an_export_are_checked_and_follow_the_configuration(selected: Any) -> None:
    run = selected()
    folder = Path(run.export(NAME).address)
    run_stages(run, run.load_config(), ["export"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "_made_by.json",
        "kept.json",
        "kept_ids.txt",
        "kept_indices.npy",
        "kept_mask.npy",
    ]
    for name in ("kept.json", "kept_ids.txt", "kept_indices.npy", "kept_mask.npy"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1])
        assert any(name in str(finding) for finding in check_run(run))
        assert {row["stage"]: row["state"] for row in stage_states(run)}[f"export.{NAME}"] == "damaged"
        run_stages(run, run.load_config(), ["export"])
        assert (folder / name).read_bytes() == content
    # Another order is the same export.
    manifest = run.manifest(f"export.{NAME}")
    run_stages(run, run.load_config(["export.lists=[mask,ids,indices,ids]"]), ["export"])
    assert run.manifest(f"export.{NAME}") == manifest
    run_stages(run, run.load_config(["export.lists=[]"]), ["export"])
    assert sorted(path.name for path in folder.iterdir()) == ["_made_by.json", "kept.json"]


def test_lists_that_there_are_none_of_are_named() -> None:
    assert make_config({"export": {"lists": list(LISTS)}}).export.lists == list(LISTS)
    with pytest.raises(ConfigError, match=r"export\.lists.*uuids"):
        make_config({"export": {"lists": ["uuids"]}})


def test_a_run_of_an_older_version_keeps_its_lists(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    (run.root / "config.yaml").write_text("export: {path: null, removed: false, max_rows_per_file: 1000000}\n")
    assert run.settled_config(make_config({})).export.lists == ["mask"]
    assert run.settled_config(make_config({"export": {"lists": ["uids"]}})).export.lists == ["uids"]
