from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.own_folder import MARK, replaced
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.data.source import open_source
from dualprune.errors import ConfigError, DataError, RunError, StorageError
from dualprune.stages.pipeline import run_stages
from tests.conftest import MakeDynamics

NUM = 40


def image(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def table() -> pa.Table:
    ids = [f"s{row:04d}" for row in range(NUM)]
    return pa.table({"sample_id": ids, "image": [image(row) for row in range(NUM)], "label": np.arange(NUM) % 3})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data").mkdir()
    pq.write_table(table(), tmp_path / "data" / "train.parquet")
    data = {"source": "parquet", "path": str(tmp_path / "data" / "train.parquet")}
    return make_config({"data": data, "select": {"ratio": 0.5}, "score": {"window": 3}, "record": {"num_buckets": 1}})


@pytest.fixture
def run(make_dynamics: MakeDynamics, config: Config) -> RunDirectory:
    """A run that has selected half of the rows of the Parquet file."""
    prob = np.random.default_rng(0).random((NUM, 5), dtype=np.float32)
    made = make_dynamics(prob, ids=table()["sample_id"].to_pylist(), labels=np.arange(NUM) % 3, num_buckets=1)
    source = open_source(config.data).fingerprint()
    with made.stage("index", {"data": config.identity("data"), "source": source}) as stage:
        stage.summary = {"samples": NUM}
    with made.stage("record", {}, [stage.fingerprint]) as stage:
        stage.summary = {"epochs": 5}
    run_stages(made, config, ["score", "select"])
    return made


def at(config: Config, path: Path) -> Config:
    return config.model_copy(update={"export": config.export.model_copy(update={"path": str(path)})})


def kept_ids(folder: Path) -> list[str]:
    return [
        i for file in sorted((folder / "data").glob("*.parquet")) for i in pq.read_table(file)["sample_id"].to_pylist()
    ]


def test_an_export_bears_our_mark_and_is_replaced_whole(run: RunDirectory, config: Config, tmp_path: Path) -> None:
    run_stages(run, at(config, tmp_path / "out"), ["export"])
    folder = tmp_path / "out" / "beta-0.5"
    first = kept_ids(folder)
    assert len(first) == NUM // 2
    assert (folder / MARK).is_file()
    (folder / ".DS_Store").write_bytes(b"of somebody who looked at it")
    run_stages(run, at(config, tmp_path / "out"), ["export"], force=True)
    assert kept_ids(folder) == first
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["beta-0.5"]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", ["notes.txt", "data/part-00007.parquet"])
def test_what_a_user_added_to_an_export_is_not_lost(
    run: RunDirectory, config: Config, tmp_path: Path, name: str, inside: bool
) -> None:
    where = config if inside else at(config, tmp_path / "out")
    folder = Path(run.root.address) / "exports" / "beta-0.5" if inside else tmp_path / "out" / "beta-0.5"
    run_stages(run, where, ["export"])
    (folder / name).write_text("mine")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=rf"beta-0\.5 holds {name}, which was not made by dualprune and would be lost"):
        run_stages(run, where, ["export"], force=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (folder / name).unlink()
    run_stages(run, where, ["export"], force=True)


def test_an_export_of_an_older_version_has_no_list(run: RunDirectory, config: Config) -> None:
    run_stages(run, config, ["export"])
    folder = Path(run.root.address) / "exports" / "beta-0.5"
    first = kept_ids(folder)
    for mark in ('{"made_by": "dualprune"}', None):
        (folder / MARK).unlink() if mark is None else (folder / MARK).write_text(mark)
        (folder / "kept_mask.npy").rename(folder / "mask.npy")
        (folder / "notes.txt").write_text("mine")
        with pytest.raises(RunError, match=r"beta-0\.5 holds notes\.txt, which was not made by dualprune"):
            run_stages(run, config, ["export"], force=True)
        (folder / "notes.txt").unlink()
        run_stages(run, config, ["export"], force=True)
        assert kept_ids(folder) == first


def test_a_folder_that_cannot_be_finished_leaves_the_one_before(tmp_path: Path) -> None:
    place = Location.of(tmp_path / "out")
    with replaced(place, {}) as folder:
        (folder / "a").write_bytes(b"first")

    def again() -> None:
        with replaced(place, {}) as folder:
            (folder / "a").write_bytes(b"second")
            (folder / MARK / "in the way").write_bytes(b"")

    with pytest.raises(StorageError, match=rf"{MARK} cannot be written"):
        again()
    assert (place / "a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_not_ours_stays_as_it_is(
    run: RunDirectory, config: Config, tmp_path: Path, force: bool
) -> None:
    folder = tmp_path / "out" / "beta-0.5"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "precious.parquet").write_bytes(b"mine")
    with pytest.raises(
        RunError, match=r"export\.path: .*beta-0\.5 holds files that were not made by dualprune, such as"
    ):
        run_stages(run, at(config, tmp_path / "out"), ["export"], force=force)
    assert (folder / "data" / "precious.parquet").read_bytes() == b"mine"
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_a_mark_of_others_is_none(run: RunDirectory, config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "beta-0.5"
    folder.mkdir(parents=True)
    for content in ("", "{}", "[]", '{"made_by": "someone"}'):
        (folder / MARK).write_text(content)
        with pytest.raises(RunError, match="were not made by dualprune"):
            run_stages(run, at(config, tmp_path / "out"), ["export"])


def test_an_export_that_fails_leaves_the_one_before(
    run: RunDirectory, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stages(run, at(config, tmp_path / "out"), ["export"])
    folder = tmp_path / "out" / "beta-0.5"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def fails(*_: object) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr("dualprune.stages.export._export_rows", fails)
    with pytest.raises(OSError, match="No space left"):
        run_stages(run, at(config, tmp_path / "out"), ["export"], force=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["beta-0.5"]


def test_data_inside_of_what_is_replaced_is_refused(run: RunDirectory, config: Config, tmp_path: Path) -> None:
    source = tmp_path / "out" / "beta-0.5" / "data" / "train.parquet"
    source.parent.mkdir(parents=True)
    pq.write_table(table(), source)
    data = config.data.model_copy(update={"path": str(source)})
    with pytest.raises(ConfigError, match=r"data\.path: .* lies inside what export\.path will replace"):
        run_stages(run, at(config.model_copy(update={"data": data}), tmp_path / "out"), ["export"], force=True)
    assert pq.read_table(source).num_rows == NUM


@pytest.mark.parametrize(
    ("data", "export", "message"),
    [
        ("run/data", None, r"data\.path: .* lies inside the run directory"),
        (".", None, r"the run directory: .* lies inside data\.path"),
        ("data", "data/out", r"export\.path: .* lies inside data\.path"),
        ("data", "data", r"export\.path: .* lies inside data\.path"),
    ],
)
def test_places_inside_each_other_are_refused(
    config: Config, tmp_path: Path, data: str, export: str | None, message: str
) -> None:
    (tmp_path / data).mkdir(parents=True, exist_ok=True)
    found = config.model_copy(update={"data": config.data.model_copy(update={"path": str(tmp_path / data)})})
    with pytest.raises(ConfigError, match=message):
        run_stages(
            RunDirectory(tmp_path / "run"), found if export is None else at(found, tmp_path / export), ["export"]
        )


def test_a_link_does_not_hide_where_a_place_is(config: Config, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    found = config.model_copy(update={"data": config.data.model_copy(update={"path": str(tmp_path / "data")})})
    with pytest.raises(ConfigError, match=r"export\.path: .* lies inside data\.path"):
        run_stages(RunDirectory(tmp_path / "run"), at(found, tmp_path / "link" / "out"), ["export"])


@pytest.mark.parametrize("change", ["shuffled", "longer", "relabelled"])
def test_rows_of_changed_data_are_not_taken(run: RunDirectory, config: Config, tmp_path: Path, change: str) -> None:
    now = table()
    if change == "shuffled":
        now = now.take(pa.array(np.random.default_rng(1).permutation(NUM)))
    elif change == "longer":
        now = pa.concat_tables([now, now.slice(0, 1)])
    else:
        now = now.set_column(2, "label", pa.array((np.arange(NUM) + 1) % 4))
    pq.write_table(now, tmp_path / "data" / "train.parquet")
    with pytest.raises(DataError, match=r"the training data have changed since .* recorded them"):
        run_stages(run, config, ["export"], force=True)


def test_rows_of_shards_that_differ_are_exported_as_one_table(
    run: RunDirectory, config: Config, make_dynamics: MakeDynamics, tmp_path: Path
) -> None:
    first, second = table().slice(0, 25), table().slice(25)
    second = second.set_column(2, "label", second["label"].cast(pa.int32())).append_column("note", pa.array(["x"] * 15))
    folder = tmp_path / "shards"
    folder.mkdir()
    pq.write_table(first, folder / "a.parquet")
    pq.write_table(second.select(["note", "label", "sample_id", "image"]), folder / "b.parquet")
    found = config.model_copy(update={"data": config.data.model_copy(update={"path": str(folder)})})
    source = open_source(found.data)
    with run.stage("index", {"data": found.identity("data"), "source": source.fingerprint()}) as stage:
        stage.summary = {"samples": NUM}
    with run.stage("record", {}, [stage.fingerprint]) as stage:
        stage.summary = {"epochs": 5}
    run_stages(run, at(found, tmp_path / "out"), ["score", "select", "export"])
    kept = pq.read_table(tmp_path / "out" / "beta-0.5" / "data")
    mask = np.load(tmp_path / "out" / "beta-0.5" / "kept_mask.npy")
    assert kept.schema.names[:4] == ["sample_id", "image", "label", "note"]
    assert kept["sample_id"].equals(table()["sample_id"].filter(pa.array(mask)))
    assert kept["label"].to_pylist() == (np.arange(NUM) % 3)[mask].tolist()
    assert kept["note"].to_pylist() == [None if row < 25 else "x" for row in np.flatnonzero(mask)]


def test_rows_in_another_order_are_found_where_files_do_not_tell(
    run: RunDirectory, config: Config, tmp_path: Path
) -> None:
    # Without compression, and with images of one size, footers of any order are the same.
    place = tmp_path / "data" / "train.parquet"
    same = pa.array([image(0)] * NUM)
    plain = table().set_column(1, "image", same)
    pq.write_table(plain, place, compression="none")
    source = open_source(config.data).fingerprint()
    with run.stage("index", {"data": config.identity("data"), "source": source}) as stage:
        stage.summary = {"samples": NUM}
    with run.stage("record", {}, [stage.fingerprint]) as stage:
        stage.summary = {"epochs": 5}
    run_stages(run, config, ["score", "select", "export"])
    # Rows 1 and 4 have the same label.
    order = [0, 4, 2, 3, 1, *range(5, NUM)]
    pq.write_table(plain.take(pa.array(order)), place, compression="none")
    assert open_source(config.data).fingerprint() == source
    with pytest.raises(DataError, match=r"the sample_id at position 1 was 's0001', and is 's0004' now, so positions"):
        run_stages(run, config, ["export"], force=True)
