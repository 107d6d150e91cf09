"""Dynamics from elsewhere, in every form, become a run that can be scored, selected from and exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dualprune
from dualprune.core.config_file import make_config
from dualprune.dynamics.check import check_store
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import ConfigError, DataError, RunError
from dualprune.exchange import long
from dualprune.scores import Dual, dual
from dualprune.stages.pipeline import run_stages
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import ScoreJob, score_bucket

T, N = 6, 40
RANDOM = np.random.default_rng(0)
PROB = RANDOM.random((T, N), dtype=np.float32)
LOSS = -np.log(PROB)
IDS = RANDOM.permutation(N) * 3
NAMES = np.array([f"sample-{i:03d}" for i in IDS])
LABELS = np.arange(N) % 3
SHORT = {"score": {"window": 3}}
IN_BUCKETS = {**SHORT, "record": {"num_buckets": 3}}


def long_table(ids: np.ndarray = IDS, shuffled: bool = True, first_epoch: int = 0) -> pa.Table:
    order = RANDOM.permutation(T * N) if shuffled else np.arange(T * N)
    columns = {
        "sample_id": np.tile(ids, T),
        "epoch": np.repeat(np.arange(T) + first_epoch, N),
        "target_prob": PROB.reshape(-1),
        "loss": LOSS.reshape(-1),
        "label": np.tile(LABELS, T),
    }
    return pa.table({name: values[order] for name, values in columns.items()})


def wide_table(ids: np.ndarray | None = IDS, fixed: bool = True) -> pa.Table:
    kind = pa.list_(pa.float32(), T) if fixed else pa.large_list(pa.float64())
    columns = {} if ids is None else {"sample_id": ids}
    lists = {name: pa.array(values.T.tolist(), kind) for name, values in (("target_prob", PROB), ("loss", LOSS))}
    return pa.table({**columns, "label": LABELS, **lists})


def write(place: Path, table: pa.Table, **options: Any) -> str:
    pq.write_table(table, place, **options)
    return str(place)


def contents(run: dualprune.RunDirectory) -> tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]:
    store = dualprune.DynamicsStore(run)
    buckets = [store.read_bucket(bucket) for bucket in range(store.num_buckets)]
    prob, loss = (np.concatenate([bucket[name] for bucket in buckets]).T for name in ("target_prob", "loss"))
    return store.index.read()["sample_id"].to_pylist(), store.index.labels, prob, loss


def test_arrays_are_scored_selected_and_exported_without_data(tmp_path: Path, ray_cluster: None) -> None:
    run = dualprune.import_dynamics(PROB, tmp_path / "run", sample_ids=NAMES, labels=LABELS, config=IN_BUCKETS)
    run_stages(run, run.load_config(["select.ratio=0.5", "export.removed=true"]), ["score", "select", "export"])
    scores = np.concatenate([read_scores(run, "dual", b)["score"].to_numpy() for b in range(3)])
    np.testing.assert_array_equal(scores, dual(PROB.T, 3))
    kept = (run.selection("beta-0.5") / "kept.parquet").read_table()
    assert kept.num_rows == 20
    assert set(kept["sample_id"].to_pylist()) < set(NAMES.tolist())
    assert np.load(f"{run.export('beta-0.5')}/kept_mask.npy").sum() == 20
    for stage in ("record", "evaluate"):
        with pytest.raises(RunError, match=r"'imported' has no images.*use a run with a source of its own"):
            run_stages(run, run.load_config(["select.ratio=0.5"]), [stage])
    with pytest.raises(RunError, match="'imported' has no images"):
        run_stages(run, run.load_config(["select.deduplicate=true"]), ["select"])


def test_torch_tensors_and_lists_are_arrays_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    run = dualprune.import_dynamics(
        torch.from_numpy(PROB).requires_grad_(), tmp_path / "run", sample_ids=IDS.tolist(),
        labels=torch.from_numpy(LABELS), statistics={"loss": LOSS.astype(np.float64)}, config=SHORT,
    )  # fmt: skip
    ids, labels, prob, loss = contents(run)
    assert (ids, labels.tolist()) == (IDS.tolist(), LABELS.tolist())
    np.testing.assert_array_equal(prob, PROB)
    np.testing.assert_array_equal(loss, LOSS)


@pytest.mark.parametrize("form", ["npz", "fixed", "variable", "columns"])
def test_wide_forms_keep_their_order(tmp_path: Path, ray_cluster: None, form: str) -> None:
    if form == "npz":
        place = str(tmp_path / "d.npz")
        np.savez(place, target_prob=PROB, loss=LOSS, sample_id=NAMES, label=LABELS)
    elif form == "columns":
        values = {f"{name}_{t}": array[t] for t in range(T) for name, array in (("target_prob", PROB), ("loss", LOSS))}
        table = pa.table({"sample_id": NAMES, "label": LABELS, **values})
        place = write(tmp_path / "d.parquet", table, row_group_size=7)
    else:
        place = write(tmp_path / "d.parquet", wide_table(NAMES, form == "fixed"), row_group_size=7)
    ids, labels, prob, loss = contents(dualprune.import_file(place, tmp_path / "run", config=IN_BUCKETS))
    assert (ids, labels.tolist()) == (NAMES.tolist(), LABELS.tolist())
    np.testing.assert_array_equal(prob, PROB)
    np.testing.assert_array_equal(loss, LOSS)


def test_a_npy_file_has_row_numbers_for_ids_and_no_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", PROB)
    run = dualprune.import_file(tmp_path / "d.npy", tmp_path / "run", config=SHORT)
    index = SampleIndex.load(run.index)
    assert index.read()["sample_id"].to_pylist() == list(range(N))
    assert index.classes == ["none"]


@pytest.mark.parametrize("ids", [IDS, NAMES], ids=["int64", "string"])
def test_an_unsorted_long_table_comes_out_by_id(
    tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch, ids: np.ndarray
) -> None:
    # The driver alone cuts the rows: five ranges, eight tasks.
    monkeypatch.setattr(long, "TASK_ROWS", 50)
    folder = tmp_path / "d"
    folder.mkdir()
    table = long_table(ids, first_epoch=1)
    write(folder / "a.parquet", table.slice(0, 100), row_group_size=30)
    write(folder / "b.parquet", table.slice(100), row_group_size=30)
    run = dualprune.import_file(folder, tmp_path / "run", config=IN_BUCKETS)
    order = np.argsort(ids)
    found, labels, prob, loss = contents(run)
    assert (found, labels.tolist()) == (ids[order].tolist(), LABELS[order].tolist())
    np.testing.assert_array_equal(prob, PROB[:, order])
    np.testing.assert_array_equal(loss, LOSS[:, order])
    assert not (run.root / "import").exists()
    assert check_store(run) == []


def test_labels_may_be_names(tmp_path: Path) -> None:
    names = np.array(["dog", "cat", "eel"])[LABELS]
    run = dualprune.import_dynamics(PROB, tmp_path / "run", labels=names, config=SHORT)
    index = SampleIndex.load(run.index)
    assert index.classes == ["cat", "dog", "eel"]
    assert index.labels[:3].tolist() == [1, 0, 2]


def test_missing_values_are_kept_on_request(tmp_path: Path) -> None:
    table = long_table(shuffled=False)
    place = write(tmp_path / "d.parquet", pa.concat_tables([table.slice(0, 5), table.slice(6)]))
    with pytest.raises(
        DataError, match=rf"1 pairs .* are missing, such as sample {IDS[5]} in epoch 0; .*missing=.keep"
    ):
        dualprune.import_file(place, tmp_path / "run", config=SHORT)
    # The import that failed is not in the way.
    run = dualprune.import_file(place, tmp_path / "run", config=SHORT, missing="keep")
    prob = contents(run)[2]
    assert np.argwhere(np.isnan(prob)).tolist() == [[0, int(np.argsort(np.argsort(IDS))[5])]]
    job = ScoreJob(run.root.address, {"dual": Dual(Dual.Options(window=3))}, range(T), "raise")
    with pytest.raises(DataError, match=rf"NaN among their statistics, first sample {IDS[5]} in epoch 0"):
        score_bucket(job, 0)
    score_bucket(replace(job, on_nan="drop"), 0)
    assert read_scores(run, "dual", 0).num_rows == N - 1


def with_value(value: float) -> np.ndarray:
    changed = PROB.copy()
    changed[2, 7] = value
    return changed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"target_prob": with_value(1.5)}, r"1 values of target_prob are not in \[0, 1\], such as 1.5 of sample 7 in "),
        ({"target_prob": np.log(PROB)}, r"240 values of target_prob are not in \[0, 1\].*; log-probabilities\?"),
        ({"target_prob": PROB * 100}, r"values of target_prob are not in \[0, 1\].*; percent\? Divide by 100"),
        ({"target_prob": with_value(np.nan)}, r"1 values of target_prob are NaN, such as nan of sample 7 in epoch 2; "),
        ({"target_prob": PROB[0]}, r"target_prob has shape \(40,\); expected \[T, N\]"),
        ({"target_prob": PROB.T, "sample_ids": IDS}, r"40 values of sample_id, .*shape \(40, 6\).*axes=.NT. if it is"),
        ({"target_prob": np.zeros((10_000, 2))}, r"shape \(10000, 2\); read as \[T, N\], .*: more epochs than samples"),
        ({"target_prob": np.zeros((10_000, 2)), "axes": "TN"}, "10000 epochs; expected at most 9999: transpose it"),
        ({"target_prob": np.zeros((0, 2))}, r"shape \(0, 2\): there is nothing in it"),
        ({"target_prob": PROB, "statistics": {"loss": LOSS[1:]}}, r"loss has shape \(5, 40\), target_prob \(6, 40\)"),
        ({"target_prob": PROB, "statistics": {"loss": -LOSS}}, r"values of loss are not in \[0, inf\]"),
        ({"target_prob": PROB.astype(str)}, "target_prob has the type <U.*; expected numbers"),
        ({"target_prob": PROB, "sample_ids": [1, 1, *range(5, 43)]},
         r"1 sample ids are not unique, such as 1 "),
        ({"target_prob": PROB, "sample_ids": PROB[0]}, "sample_id has the type float; expected whole numbers or str"),
        ({"target_prob": PROB, "labels": LABELS - 1}, r"14 labels are out of range, first that of sample 0: -1 "),
        ({"target_prob": PROB, "labels": LABELS * 10**6}, r"more than 1,000,000 classes \(label 2000000\)"),
        ({"target_prob": PROB, "labels": [None, *LABELS[1:].tolist()]}, "1 samples have no label; label all of them"),
    ],
)  # fmt: skip
def test_arrays_that_are_wrong(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dualprune.import_dynamics(run=tmp_path / "run", config=SHORT, **arrays)


def test_too_few_epochs_for_the_window(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dual needs 10 epochs, which do not fit into 6 recorded epochs"):
        dualprune.import_dynamics(PROB, tmp_path / "run")


def test_a_run_is_not_overwritten_without_force(tmp_path: Path) -> None:
    run = dualprune.import_dynamics(PROB, tmp_path / "run", config=SHORT)
    with pytest.raises(RunError, match=r"is a run directory already; .*pass force=True to replace its dynamics"):
        dualprune.import_dynamics(PROB[:5], run, config=SHORT)
    assert len(dualprune.DynamicsStore(run).epochs) == T
    dualprune.import_dynamics(PROB[:5], run, config=SHORT, force=True)
    assert len(dualprune.DynamicsStore(run).epochs) == 5


def objects(place: Path) -> str:
    np.savez(place, target_prob=PROB, sample_id=np.array(["a", None], dtype=object))
    return str(place)


def other(place: Path, content: bytes = b"1,2,3") -> str:
    place.write_bytes(content)
    return str(place)


def ragged() -> pa.Table:
    lists = PROB.T.tolist()
    lists[13] = lists[13][:4]
    return pa.table({"sample_id": IDS, "target_prob": lists})


def changed(column: str, row: int, value: Any) -> pa.Table:
    table = long_table(shuffled=False)
    values = table[column].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(column), column, pa.array(values))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("d.csv", other, "unknown type of file; expected .npy, .npz, .parquet, or a folder"),
        ("d.npy", other, "cannot be read as arrays of numbers"),
        ("d.npz", objects, "cannot be read as arrays .*allow_pickle=False.*without objects"),
        ("d.parquet", other, "is no Parquet file"),
        ("none.parquet", str, "there is no such file"),
        ("d.parquet", ragged(), r"target_prob has 4 values in row 13, but 6 in the first"),
        ("d.parquet", wide_table().drop(["target_prob"]), "has no statistic 'target_prob'; it has: sample_id, la"),
        ("d.parquet", wide_table().append_column("x", [LABELS]), "column 'x' is not a list; expected sample_id, la"),
        ("d.parquet", wide_table().append_column("el2n_1", [LABELS]), "column el2n_0 is missing; its 1 columns must "),
        ("d.parquet", wide_table(PROB[0]), "sample_id has the type float; expected whole numbers or strings"),
        ("d.parquet", wide_table()[:0], "has no rows"),
        ("d.parquet", changed("epoch", 3, 1),
         rf"1 pairs .* more than once with different values, such as sample {IDS[3]} in epoch 1 \(2 t"),
        ("d.parquet", long_table(shuffled=False)[N:].slice(0, 3 * N), "epochs 1 … 3"),
        ("d.parquet", pa.concat_tables([long_table(shuffled=False)[:N], long_table(shuffled=False)[2 * N :]]),
         "has epochs 0 … 5, but none of the rows are of epoch 1; epochs must follow one another"),
        ("d.parquet", changed("label", 3, 7), rf"sample {IDS[3]} has several labels: 0 and 7"),
        ("d.parquet", changed("sample_id", 3, None), "1 rows of d.parquet have no sample_id"),
        ("d.parquet", changed("target_prob", N + 3, 1.5), rf"such as 1.5 of sample {IDS[3]} in epoch 1"),
        ("d.parquet", changed("target_prob", N + 3, None), rf"are NaN, such as nan of sample {IDS[3]} in epoch 1"),
    ],
)  # fmt: skip
def test_files_that_are_wrong(tmp_path: Path, name: str, make: Any, message: str) -> None:
    place = write(tmp_path / name, make) if isinstance(make, pa.Table) else make(tmp_path / name)
    if message == "epochs 1 … 3":
        # Epochs may count from 1; errors use the file's own numbers.
        run = dualprune.import_file(place, tmp_path / "run", config=SHORT)
        assert dualprune.DynamicsStore(run).epochs == [0, 1, 2]
        return
    with pytest.raises(DataError, match=message):
        dualprune.import_file(place, tmp_path / "run", config=SHORT)


@pytest.mark.parametrize("name", ["d.npy", "d.npz"])
def test_a_file_that_was_cut_is_an_error(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    np.save(place, PROB) if name == "d.npy" else np.savez_compressed(place, target_prob=PROB)
    whole = place.read_bytes()
    for length in range(0, len(whole), 41):
        place.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cannot be read as arrays of numbers \(.*\); save it with np.save"):
            dualprune.import_file(place, tmp_path / "run", config=SHORT)


def test_axes_of_all_arrays_and_of_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "dualprune"):
        run = dualprune.import_dynamics(PROB.T, tmp_path / "a", statistics={"loss": LOSS.T}, axes="NT", config=SHORT)
    assert "imported 6 epochs of 40 samples" in caplog.text
    np.testing.assert_array_equal(contents(run)[2], PROB)
    np.testing.assert_array_equal(contents(run)[3], LOSS)
    np.save(tmp_path / "d.npy", PROB.T)
    run = dualprune.import_file(tmp_path / "d.npy", tmp_path / "b", axes="NT", config=SHORT)
    store = dualprune.DynamicsStore(run)
    np.testing.assert_array_equal(store.read_bucket(0)["target_prob"], PROB.T)


def test_more_epochs_than_samples(tmp_path: Path) -> None:
    swapped = RANDOM.random((100, 12), dtype=np.float32)
    np.save(tmp_path / "d.npy", swapped)
    for take in (
        lambda **options: dualprune.import_dynamics(swapped, tmp_path / "run", **options),
        lambda **options: dualprune.import_file(tmp_path / "d.npy", tmp_path / "run", force=True, **options),
    ):
        with pytest.raises(DataError, match=r"shape \(100, 12\).*100 epochs of 12 samples: more epochs than samples"):
            take()
        assert dualprune.DynamicsStore(take(axes="TN")).num_samples == 12
    # Ids or labels confirm the number of samples.
    run = dualprune.import_dynamics(swapped, tmp_path / "named", sample_ids=np.arange(12))
    assert len(dualprune.DynamicsStore(run).epochs) == 100


def test_bfloat16_and_all_learnt(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    prob = torch.rand(12, 30).bfloat16()
    run = dualprune.import_dynamics(prob, tmp_path / "bf16")
    np.testing.assert_array_equal(dualprune.DynamicsStore(run).read_bucket(0)["target_prob"].T, prob.float().numpy())
    run = dualprune.import_dynamics(np.ones((12, 80), np.float32), tmp_path / "learnt")
    assert (dualprune.DynamicsStore(run).read_bucket(0)["target_prob"] == 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": "nt"}, "axes: 'nt' is not one of 'NT', 'TN'"),
        ({"missing": "Keep"}, "missing: 'Keep' is not one of 'raise', 'keep'; did you mean 'keep'"),
        ({"config": {"score": {"window": "three"}}}, r"config\.score.*'three'"),
        ({"config": {"scroe": {}}}, "config.scroe: unknown key"),
        ({"config": {"data": 5}}, "config.data: 5 should be a mapping"),
        ({"config": ["score.window=5"]}, "config: .* is a list; expected"),
    ],
)
def test_arguments_that_are_wrong(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dualprune.import_dynamics(PROB, tmp_path / "run", **options)


def test_statistics_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("sample_id", "label", "epoch", "valid", ""):
        with pytest.raises(DataError, match=f"a statistic cannot be called '{name}'"):
            dualprune.import_dynamics(PROB, tmp_path / "run", statistics={name: LOSS}, config=SHORT)
    with pytest.raises(DataError, match="target_prob is an argument of its own"):
        dualprune.import_dynamics(PROB, tmp_path / "run", statistics={"target_prob": LOSS}, config=SHORT)


def test_a_long_table_has_no_axes(tmp_path: Path) -> None:
    place = write(tmp_path / "d.parquet", long_table())
    with pytest.raises(DataError, match="axes='NT' is for arrays; a long table names sample and epoch in each row"):
        dualprune.import_file(place, tmp_path / "run", axes="NT", config=SHORT)


def test_a_long_table_of_other_types(tmp_path: Path) -> None:
    table = long_table(shuffled=False)
    kinds = {"sample_id": pa.float64(), "epoch": pa.float32(), "label": pa.int8(), "loss": pa.decimal128(12, 6)}
    for name, kind in kinds.items():
        values = pa.array(np.round(np.asarray(table[name]), 3)).cast(pa.float64()).cast(kind, safe=False)
        table = table.set_column(table.column_names.index(name), name, values)
    run = dualprune.import_file(write(tmp_path / "d.parquet", table), tmp_path / "run", config=SHORT)
    ids, labels, prob, loss = contents(run)
    order = np.argsort(IDS)
    assert (ids, labels.tolist()) == (IDS[order].tolist(), LABELS[order].tolist())
    np.testing.assert_array_equal(prob, PROB[:, order])
    np.testing.assert_allclose(loss, LOSS[:, order], atol=1e-3)
    halves = table.set_column(1, "epoch", pa.array(np.full(T * N, 0.5)))
    with pytest.raises(DataError, match=r"epoch has the type double; .* 0.5 is not a whole number"):
        dualprune.import_file(write(tmp_path / "d.parquet", halves), tmp_path / "other", config=SHORT)


def test_a_run_that_was_recorded_is_not_an_import_to_go_on_with(tmp_path: Path, make_dynamics: Any) -> None:
    run = make_dynamics(PROB.T)
    with run.stage("index", {"data": make_config({}).data.model_dump(mode="json")}):
        pass
    with pytest.raises(RunError, match="is a run directory already"):
        dualprune.import_dynamics(PROB, run, config=SHORT)
