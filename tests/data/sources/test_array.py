"""Arrays of numbers from Parquet and NumPy files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.data.source import Source, Split, open_source
from dualprune.errors import ConfigError, DataError

NUM, WIDTH = 11, 3
LABELS = ["cat", "dog"] * 5 + ["cat"]


def numbers(num: int = NUM, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, WIDTH)).astype(np.float32)


def fixed(values: np.ndarray, width: int = WIDTH) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), width)


def write(place: Path | str, column: pa.Array, name: str = "train.parquet", **columns: Any) -> str:
    table = pa.table({"embedding": column, "label": LABELS[: len(column)], **columns})
    file = Location.of(place) / name
    file.write_table(table, row_group_size=4)
    return file.address


def save(place: Path | str, array: np.ndarray, name: str) -> str:
    import io

    stream = io.BytesIO()
    np.save(stream, array)
    (Location.of(place) / name).write_bytes(stream.getvalue())
    return (Location.of(place) / name).address


def opened(path: Any, **values: Any) -> Source:
    return open_source(DataConfig(source="array", path=path, **values))


def arrays_of(source: Source, split: Split = "train") -> np.ndarray:
    return np.concatenate([source.read(shard).images for shard in source.shards(split)])


def labels_of(source: Source, split: Split = "train") -> list[str]:
    return [source.classes[label] for shard in source.shards(split) for label in source.read(shard).labels]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64])
def test_every_form_of_list_gives_the_same_arrays(tmp_path: Path, dtype: Any) -> None:
    values = (numbers() * 10).astype(dtype)
    lists = fixed(values)
    tensor = pa.fixed_shape_tensor(lists.type.value_type, [WIDTH])
    forms = {
        "fixed": lists,
        "list": lists.cast(pa.list_(lists.type.value_type)),
        "large": lists.cast(pa.large_list(lists.type.value_type)),
        "tensor": pa.ExtensionArray.from_storage(tensor, lists),
        # A part of a longer column.
        "sliced": pa.concat_arrays([fixed(values[:2]), lists])[2:],
    }
    expected = {np.int8: np.float32, np.int64: np.float64}.get(dtype, dtype)
    for name, column in forms.items():
        source = opened(write(tmp_path, column, f"{name}.parquet"))
        found = arrays_of(source)
        assert (found.dtype, source.classes, labels_of(source)) == (np.dtype(expected), ["cat", "dog"], LABELS)
        assert np.array_equal(found, values.astype(expected))


def test_numpy_files_are_read_like_parquet(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualprune.data.sources._npy_files.GROUP_ROWS", 4)
    values, ids = numbers(), np.array([f"s{n}" for n in range(NUM)])
    for place in (str(tmp_path), s3):
        options = {
            "labels": save(place, np.array(LABELS), "y.npy"),
            "ids": save(place, ids, "ids.npy"),
            "test_labels": save(place, np.array(["dog", "cat"]), "test_y.npy"),
        }
        paths = {"path": save(place, values, "x.npy"), "test_path": save(place, values[:2, :], "test_x.npy")}
        source = pickle.loads(pickle.dumps(opened(**paths, options=options)))
        assert [shard.num_rows for shard in source.shards("train")] == [4, 4, 3]
        assert np.array_equal(arrays_of(source), values)
        assert (labels_of(source), labels_of(source, "test")) == (LABELS, ["dog", "cat"])
        samples = pa.Table.from_batches(source.sample_batches())
        assert samples["sample_id"].to_pylist() == ids.tolist()
        rows = source.read_table(source.shards("train")[2])
        assert rows["embedding"].to_pylist() == values[8:].tolist()
        assert rows.column_names == ["embedding", "label", "sample_id"]
    del options["ids"], options["test_labels"]
    part = opened(paths["path"], options=options, max_samples=6, test_fraction=0.3)
    assert set(map(bytes, arrays_of(part))).isdisjoint(map(bytes, arrays_of(part, "test")))
    assert (part.num_samples, len(arrays_of(part))) == (6, 6)


def test_the_fingerprint_follows_the_values(tmp_path: Path) -> None:
    def made(array: np.ndarray, labels: list[str], **values: Any) -> str:
        options = {"labels": save(tmp_path, np.array(labels), "y.npy")}
        return opened(save(tmp_path, array, "x.npy"), options=options, **values).fingerprint()

    values, other = numbers(), numbers()
    other[5, 1] += 1
    found = {made(values, LABELS), made(other, LABELS), made(values, LABELS[::-1]), made(values, ["dog", *LABELS[1:]])}
    assert len(found) == 3 + (LABELS[::-1] != LABELS)
    assert made(values, LABELS) in found
    assert made(values, LABELS, max_samples=5) not in found
    # Shapes of more dimensions are flattened, other byte orders read.
    big = values.reshape(NUM, 1, WIDTH).astype(">f4")
    options = {"labels": save(tmp_path, np.array(LABELS), "y.npy")}
    assert np.array_equal(arrays_of(opened(save(tmp_path, big, "x.npy"), options=options)), values)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1.0, 2.0], "it has 2 values, others have 3"),
        (None, "it is missing"),
        ([1.0, float("nan"), 3.0], "its value 1 is nan, no finite float32"),
        ([float("-inf"), 2.0, 3.0], "its value 0 is -inf, no finite float32"),
        ([1.0, 2.0, 1e39], "its value 2 is 1e[+]39, no finite float32"),
        ([1.0, None, 3.0], "its value 1 is nan, no finite float32"),
    ],
)
def test_an_array_that_cannot_be_used_is_named_or_skipped(tmp_path: Path, value: Any, reason: str) -> None:
    rows = [*numbers().tolist()]
    rows[6] = value
    path = write(tmp_path, pa.array(rows, pa.list_(pa.float64())), uid=[f"s{n}" for n in range(NUM)])
    config = {"options": {"id_column": "uid"}}
    message = (
        rf"array of sample 's6' cannot be used: {reason} \(row 2 of row group 1 of .*train\.parquet\); set data\.on"
    )
    with pytest.raises(DataError, match=message):
        arrays_of(opened(path, **config))
    source = opened(path, on_error="skip", **config)
    batch = source.read(source.shards("train")[1])
    assert batch.failed == {2: "s6"}
    assert np.array_equal(batch.images[[0, 1, 3]], np.array([rows[4], rows[5], rows[7]]))
    assert not batch.images[2].any()
    assert source.image_bytes(source.shards("train")[1])[2] is None


def test_what_is_no_array_source_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, fixed(numbers()))
    other = write(tmp_path, fixed(np.zeros((4, 2), np.float32), 2), "other.parquet")
    x, y = save(tmp_path, numbers(), "x.npy"), save(tmp_path, np.array(LABELS), "y.npy")
    with pytest.raises(DataError, match=r"sample 11 cannot be used: it has 2 values, others have 3 \(row 0 of .*other"):
        arrays_of(opened([path, other]))
    source = opened(path, test_path=other)
    with pytest.raises(DataError, match=r"array of sample 0 cannot be used: it has 2 values, others have 3 .*other"):
        source.read(source.shards("test")[0])
    words = write(tmp_path, pa.array([["a"]] * 4), "words.parquet")
    nested = write(tmp_path, pa.array([[[1.0]]] * 4), "nested.parquet")
    for odd in (words, nested):
        with pytest.raises(DataError, match=r"options\.column: 'embedding' holds list.* expected a list of numbers"):
            opened(odd)
    empty = write(tmp_path, pa.array([None] * 4, pa.list_(pa.float32())), "empty.parquet")
    for wrong, values, message in (
        (path, {"image_size": 8}, "data.image_size: the source 'array' has no images"),
        (path, {"options": {"labels": y}}, "labels: Parquet files have columns of their own"),
        (path, {"options": {"column": "vector"}}, "options.column: .* has no column 'vector'"),
        (x, {}, "options.labels: null; set it to the NumPy file"),
        (x, {"test_path": x, "options": {"labels": y}}, "options.test_labels: null"),
        (x, {"options": {"labels": y, "id_column": "label"}}, "id_column: NumPy files have no columns"),
        ([x, path], {"options": {"labels": y}}, "there are Parquet and NumPy files"),
        (x, {"options": {"labels": [y, x]}}, "there are 1 files of arrays, but 2 of the column 'label'"),
        (empty, {}, "has no array"),
    ):
        with pytest.raises((ConfigError, DataError), match=message):
            opened(wrong, **values)


def test_numpy_files_that_cannot_be_read(tmp_path: Path) -> None:
    values, y = numbers(), save(tmp_path, np.array(LABELS), "y.npy")
    short = save(tmp_path, np.array(LABELS[:-1]), "short.npy")
    for array, labels, message in (
        (np.asfortranarray(values), y, r"x\.npy is stored by columns \(Fortran order\)"),
        (values[:, 0], y, r"x\.npy holds an array \[11\] of float32; expected numbers \[N, d\]"),
        (values.astype(str), y, r"x\.npy holds an array \[11, 3\] of <U"),
        (values.astype(complex), y, "of complex128; expected numbers"),
        (values, short, r"short\.npy has 10 rows, .*x\.npy has 11"),
        (
            values,
            save(tmp_path, values, "values.npy"),
            r"values\.npy holds an array .* expected numbers or texts \[N\]",
        ),
    ):
        with pytest.raises(DataError, match=message):
            opened(save(tmp_path, array, "x.npy"), options={"labels": labels})
    np.save(tmp_path / "x.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        opened(str(tmp_path / "x.npy"), options={"labels": y})
    whole = Location.of(save(tmp_path, values, "x.npy")).read_bytes()
    for content, message in (
        (whole[:-4], "ends early: it has 256 bytes"),
        (b"text", "is no NumPy file"),
        (b"", "is no Nu"),
    ):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(DataError, match=message):
            opened(str(tmp_path / "x.npy"), options={"labels": y})
