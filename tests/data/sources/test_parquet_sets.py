"""Parquet sets as people have them: shards that differ, splits in one folder, labels and ids of many types."""

from __future__ import annotations

import io
import pickle
import tempfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.data.source import Source, open_source
from dualprune.errors import DataError


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((2, 2), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


PNGS = [png(value) for value in range(120)]
ARROW_LABELS = [pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.dictionary(pa.int8(), pa.int32())]
ARROW_TEXTS = [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]


def column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def rows(first: int, count: int, **columns: Any) -> pa.Table:
    """Return rows first … of a set of four classes."""
    held = {
        "sample_id": [f"s{first + row:04d}" for row in range(count)],
        "image": PNGS[first : first + count],
        "label": [(first + row) % 4 for row in range(count)],
    }
    return pa.table({name: values for name, values in (held | columns).items() if values is not None})


def write(place: Path, table: pa.Table, **options: Any) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, place, **options)
    return place


def opened(path: Any, test_path: Any = None, id_column: str | None = "sample_id", **settings: Any) -> Source:
    source = open_source(
        DataConfig(
            source="parquet",
            path=path if isinstance(path, list) else str(path),
            test_path=test_path and str(test_path),
            options={"id_column": id_column},
            **settings,
        )
    )
    source.check()
    return source


def ids(source: Source) -> list[Any]:
    return [sample_id for batch in source.sample_batches() for sample_id in batch["sample_id"].to_pylist()]


def labels(source: Source, split: str = "train") -> list[str]:
    """Return the names of the classes of a split's samples, as training sees them."""
    batches = [source.read(shard) for shard in source.shards(split)]
    return [source.classes[label] for batch in batches for label in batch.labels]


def pixels(source: Source) -> list[int]:
    return [int(image[0, 0, 0]) for shard in source.shards("train") for image in source.read(shard).images]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(ARROW_LABELS + ARROW_TEXTS),
            st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]),
            st.sampled_from([pa.binary(), pa.large_binary()]),
            st.permutations(["sample_id", "image", "label", "note"]),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=40, deadline=None)
def test_shards_may_differ_in_types_order_and_columns(shards: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = 0
        for number, (count, label, sample_id, image, order, has_note) in enumerate(shards):
            names = [(first + row) % 4 for row in range(count)]
            is_text = "string" in str(label)
            table = rows(
                first,
                count,
                label=column([str(name) for name in names] if is_text else names, label),
                sample_id=column([f"s{first + row:04d}" for row in range(count)], sample_id),
                image=column(PNGS[first : first + count], image),
                note=[number] * count,
            )
            wanted = [name for name in order if name != "note" or has_note]
            write(Path(folder) / f"{number}.parquet", table.select(wanted), row_group_size=3)
            first += count
        source = opened(folder)
        assert ids(source) == [f"s{row:04d}" for row in range(first)]
        assert pixels(source) == list(range(first))
        assert labels(source) == [str(row % 4) for row in range(first)]
        schema = source.schema()
        assert schema is not None
        tables = [source.read_table(shard) for shard in source.shards("train")]
        assert all(table is not None and table.schema.equals(schema) for table in tables)
        if any(has_note for *_, has_note in shards):
            notes = [note for table in tables if table is not None for note in table["note"].to_pylist()]
            expected = [n if has_note else None for n, (count, *_, has_note) in enumerate(shards) for _ in range(count)]
            assert notes == expected


def test_shards_of_two_widths_and_two_orders(tmp_path: Path) -> None:
    write(tmp_path / "widths/a.parquet", rows(0, 40, label=pa.array([row % 4 for row in range(40)], pa.int32())))
    write(tmp_path / "widths/b.parquet", rows(40, 40))
    write(tmp_path / "orders/a.parquet", rows(0, 40))
    write(tmp_path / "orders/b.parquet", rows(40, 40).select(["label", "sample_id", "image"]))
    for name in ("widths", "orders"):
        source = opened(tmp_path / name)
        assert ids(source) == [f"s{row:04d}" for row in range(80)]
        assert labels(source) == [str(row % 4) for row in range(80)]
        table = source.read_table(source.shards("train")[1], ["label", "sample_id"])
        assert table is not None
        assert table.schema.equals(pa.schema([("label", pa.int64()), ("sample_id", pa.string())]))


def test_shards_that_cannot_be_one_set_are_refused_before_training(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(0, 4, note=["x"] * 4))
    write(tmp_path / "b.parquet", rows(4, 4, note=[1] * 4))
    with pytest.raises(DataError, match=r"the column 'note' holds string in .*a\.parquet, but int64 in .*b\.parquet"):
        opened(tmp_path)
    write(tmp_path / "a.parquet", rows(0, 4, sample_id=range(4)))
    with pytest.raises(DataError, match=r"'sample_id' holds int64 in .*a\.parquet, but string in .*b\.parquet"):
        opened(tmp_path)
    # pandas writes whole numbers as floats where some are missing: a number beyond these is found by reading it.
    write(tmp_path / "a.parquet", rows(0, 4, note=[0.5, None, 1.0, 2.0]))
    write(tmp_path / "b.parquet", rows(4, 4, note=[1, 2, 2**53 + 1, 3]))
    with pytest.raises(
        DataError, match=r"the column 'note' of .*b\.parquet holds a value that does not fit into double"
    ):
        opened(tmp_path)
    write(tmp_path / "b.parquet", rows(4, 4, note=[1, 2, 3, 4]))
    assert [opened(tmp_path).read_table(s, ["note"])["note"].to_pylist() for s in opened(tmp_path).shards("train")] == [
        [0.5, None, 1.0, 2.0],
        [1.0, 2.0, 3.0, 4.0],
    ]
    table = pa.Table.from_arrays([pa.array([1])] * 2, ["label", "label"])
    write(tmp_path / "b.parquet", table)
    with pytest.raises(DataError, match=r"b\.parquet has several columns called 'label'; name them differently"):
        opened(tmp_path)


def test_categories_and_booleans_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": PNGS[:60], "label": pd.Categorical(["cat", "dog", "fish"] * 20)})
    frame.to_parquet(tmp_path / "category.parquet")
    source = opened(tmp_path / "category.parquet", id_column=None)
    assert source.classes == ["cat", "dog", "fish"]
    assert labels(source) == ["cat", "dog", "fish"] * 20
    pd.DataFrame({"image": PNGS[:4], "label": [True, False] * 2}).to_parquet(tmp_path / "bool.parquet")
    assert labels(opened(tmp_path / "bool.parquet", id_column=None)) == ["1", "0"] * 2


def test_a_folder_beside_a_file_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(0, 40))
    write(tmp_path / "more/b.parquet", rows(40, 40))
    assert ids(opened(tmp_path)) == [f"s{row:04d}" for row in range(80)]
    assert opened(tmp_path).fingerprint() != opened(tmp_path, layout="flat").fingerprint()
    assert ids(opened(tmp_path, layout="flat")) == [f"s{row:04d}" for row in range(40)]


def test_a_repository_of_the_hub_has_a_test_set(tmp_path: Path) -> None:
    write(tmp_path / "data/train-00000-of-00001.parquet", rows(0, 60))
    write(tmp_path / "data/test-00000-of-00001.parquet", rows(60, 20))
    source = opened(tmp_path)
    assert ids(source) == [f"s{row:04d}" for row in range(60)]
    assert labels(source, "test") == [str(row % 4) for row in range(60, 80)]
    # There is a test set: nothing is split off.
    assert opened(tmp_path, test_fraction=0.5).num_samples == 60
    assert opened(tmp_path / "data/train-*.parquet").shards("test") == []
    assert opened([str(tmp_path / "data/test-00000-of-00001.parquet")]).num_samples == 20


def test_text_and_whole_numbers_are_the_same_classes(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", rows(0, 120, label=[str(row % 12) for row in range(120)]))
    write(tmp_path / "test.parquet", rows(0, 24, label=[row % 12 for row in range(24)]))
    source = opened(tmp_path / "train.parquet", tmp_path / "test.parquet")
    assert labels(source) == [str(row % 12) for row in range(120)]
    assert labels(source, "test") == [str(row % 12) for row in range(24)]
    write(tmp_path / "test.parquet", rows(0, 2, label=[11, 12]))
    with pytest.raises(DataError, match="label '12' of the test set in 'label' is out of range: no training sample"):
        opened(tmp_path / "train.parquet", tmp_path / "test.parquet")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("image", [{"data": PNGS[0]}] * 4, "image_column: 'image' holds a struct of data; expected .* field 'bytes'"),
        ("image", [{"bytes": "x"}] * 4, "image_column: 'image' holds a struct of bytes"),
        ("image", ["x.png"] * 4, "image_column: 'image' holds string; expected encoded images as bytes"),
        ("label", pd.to_datetime(["2024-01-01"] * 4), "label_column: 'label' holds timestamp.*; expected integers"),
        ("label", pa.array([1] * 4).cast(pa.decimal128(30, 2)), r"label_column: 'label' holds decimal128\(30, 2\)"),
        ("label", [[1]] * 4, "label_column: 'label' holds list<"),
        ("label", pa.array([0, 1, 2, 2**64 - 1], pa.uint64()), "label of the type uint64 cannot be read"),
        ("sample_id", [1.0, 2.0, 3.0, 4.0], "id_column: 'sample_id' holds double; expected integers, strings, bytes"),
        ("sample_id", [True] * 4, "id_column: 'sample_id' holds bool"),
        ("sample_id", pd.to_datetime(["2024-01-01"] * 4), "id_column: 'sample_id' holds timestamp"),
        ("sample_id", pa.array([1] * 4).cast(pa.decimal128(20, 0)), "id_column: 'sample_id' holds decimal128"),
        ("sample_id", pa.array([0, 1, 2, 2**63], pa.uint64()), "id_column: 'sample_id'.*store larger ones as strings"),
    ],
)
def test_types_that_are_not_taken_are_named(tmp_path: Path, name: str, values: Any, message: str) -> None:
    place = write(tmp_path / "train.parquet", rows(0, 4, **{name: values}))
    with pytest.raises(DataError, match=message):
        list(opened(place).sample_batches())


UUIDS = [uuid.UUID(int=number << 64) for number in range(4)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([u.bytes for u in UUIDS], pa.binary(16)).cast(pa.uuid()), [str(u) for u in UUIDS]),
        (pa.array([u.bytes for u in UUIDS], pa.binary(16)), [u.hex for u in UUIDS]),
        (pa.array([b"\xff", b"a", b"", b"\x00\x01"]), ["ff", "61", "", "0001"]),
        (pa.array([9, 7, 5, 3], pa.uint8()), [9, 7, 5, 3]),
        (pa.array(["b", "a", "d", "c"]).dictionary_encode(), ["b", "a", "d", "c"]),
    ],
    ids=lambda values: str(getattr(values, "type", "")),
)
def test_ids_of_many_types(tmp_path: Path, values: pa.Array, expected: list[Any]) -> None:
    place = write(tmp_path / "train.parquet", rows(0, 4, sample_id=values, image=[*PNGS[:3], b"broken"]))
    source = opened(place, on_error="skip")
    assert ids(source) == expected
    assert source.read(source.shards("train")[0]).failed == {3: expected[3]}
    # The table that is exported holds the ids as they were.
    table = source.read_table(source.shards("train")[0])
    assert table is not None
    assert table["sample_id"].type == values.type


def test_structs_of_bytes_and_path(tmp_path: Path) -> None:
    images = [{"bytes": PNGS[0], "path": None}, {"path": "1.png", "bytes": None}, None, {"bytes": PNGS[3], "path": "3"}]
    place = write(tmp_path / "train.parquet", rows(0, 4, image=images))
    source = opened(place, on_error="skip")
    assert source.read(source.shards("train")[0]).failed == {1: "s0001", 2: "s0002"}
    assert source.image_bytes(source.shards("train")[0]) == [PNGS[0], None, None, PNGS[3]]


def test_folders_of_hive_are_columns(tmp_path: Path) -> None:
    for number, (label, year) in enumerate([("cat", "2023"), ("dog", "2024"), ("cat", "2024")]):
        place = tmp_path / f"year={year}" / f"label={label}" / f"{number}.parquet"
        write(place, rows(4 * number, 4, label=None))
    source = opened(tmp_path)
    assert labels(source) == ["cat"] * 8 + ["dog"] * 4
    assert ids(source)[:5] == ["s0000", "s0001", "s0002", "s0003", "s0008"]
    table = source.read_table(source.shards("train")[2])
    assert table is not None
    assert table.schema.field("year").type == pa.int64()
    assert (table["year"].to_pylist(), table["label"].to_pylist()) == ([2024] * 4, ["dog"] * 4)


@given(st.integers(1, 60), st.integers(0, 3), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_subset_is_a_share_of_each_class_whatever_the_order(count: int, seed: int, mixed: bool) -> None:
    # Sorted by class, and of classes of different sizes.
    names = ["a"] * 30 + ["b"] * 20 + ["c"] * 8 + ["d"] * 2
    order = np.random.default_rng(seed).permutation(60) if mixed else np.arange(60)
    with tempfile.TemporaryDirectory() as folder:
        place = write(Path(folder) / "a.parquet", rows(0, 60, label=names).take(pa.array(order)), row_group_size=7)
        source = opened(place, max_samples=count, seed=seed)
        chosen = labels(source)
        assert len(chosen) == source.num_samples == count
        for name, size in (("a", 30), ("b", 20), ("c", 8), ("d", 2)):
            assert abs(chosen.count(name) - size * count / 60) < 2
            assert chosen.count(name) >= (count >= 4)
        sorted_place = write(Path(folder) / "b.parquet", rows(0, 60, label=names))
        assert set(ids(source)) == set(ids(opened(sorted_place, max_samples=count, seed=seed)))
        assert ids(opened(place, max_samples=count, subset="first")) == [f"s{row:04d}" for row in order[:count]]


def test_row_numbers_are_those_of_the_files_whatever_part_is_taken(tmp_path: Path) -> None:
    images = [b"broken" if row % 5 == 0 else PNGS[row] for row in range(20)]
    place = write(tmp_path / "a.parquet", rows(0, 20, image=images), row_group_size=6)
    source = opened(place, id_column=None, on_error="skip", test_fraction=0.25)
    broken = [failed for shard in source.shards("train") for failed in source.read(shard).failed.values()]
    assert broken == [row for row in ids(source) if row % 5 == 0]


def test_a_set_in_an_object_store(s3: str) -> None:
    place = Location.of(s3)
    for name, table in (("train-0", rows(0, 8)), ("train-1", rows(8, 4).select([2, 1, 0])), ("test-0", rows(12, 4))):
        (place / "data" / f"{name}.parquet").write_table(table)
    source = pickle.loads(pickle.dumps(opened(s3)))
    assert ids(source) == [f"s{row:04d}" for row in range(12)]
    assert pixels(source) == list(range(12))
    assert labels(source, "test") == ["0", "1", "2", "3"]
