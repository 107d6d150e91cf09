"""Data sets of Hugging Face's datasets.

`datasets-5.2.0.tar.gz` was written by that version of the package: a DatasetDict of 23 and 6 images (`dict`) saved with
`save_to_disk`, and its training set as Parquet (`pq`). The package is no dependency, so further files are written here
with the same schema metadata.
"""

from __future__ import annotations

import json
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.data.source import Source, Split, open_source
from dualprune.errors import ConfigError, DataError
from tests.data.images import encoded
from tests.data.sources.cases import save_arrow

IMAGE, CLASSES = {"_type": "Image"}, {"names": ["cat", "dog", "fish"], "_type": "ClassLabel"}
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def image(value: int) -> bytes:
    return encoded(np.full((8, 8), value, np.uint8))


def table_of(numbers: Sequence[int], features: dict[str, Any] | None = None, **columns: Any) -> pa.Table:
    """Return a table of images that have one grey value each, with the metadata that datasets writes."""
    found = {
        "image": pa.array([{"bytes": image(n), "path": None} for n in numbers], STRUCT),
        "label": pa.array([n % 3 for n in numbers], pa.int64()),
        **columns,
    }
    described = {"image": IMAGE, "label": CLASSES, **(features or {})}
    return pa.table(found).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": described}})})


def opened(path: str, **values: Any) -> Source:
    return open_source(DataConfig(source="huggingface", path=path, **values))


def values_of(source: Source, split: Split = "train") -> list[int]:
    return [int(value) for shard in source.shards(split) for value in source.read(shard).images[:, 0, 0, 0]]


def labels_of(source: Source, split: Split = "train") -> list[int]:
    return [int(label) for shard in source.shards(split) for label in source.read(shard).labels]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(Path(__file__).parent / "datasets-5.2.0.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder


def test_what_datasets_saved(real: Path) -> None:
    source = opened(str(real / "dict"))
    assert (source.num_samples, source.classes) == (23, ["cat", "dog", "fish"])
    assert [shard.num_rows for shard in source.shards("train")] == [12, 11]
    assert (values_of(source), values_of(source, "test")) == ([*range(23)], [*range(40, 46)])
    assert labels_of(source) == [n % 3 for n in range(23)]
    assert labels_of(source, "test") == [n % 3 for n in range(40, 46)]
    assert pa.Table.from_batches(source.sample_batches())["sample_id"].to_pylist() == [*range(23)]
    source.check()
    named = opened(str(real / "dict" / "train"), options={"id_column": "name"})
    assert pa.Table.from_batches(named.sample_batches())["sample_id"].to_pylist() == [f"s{n}" for n in range(23)]
    # Its rows as Parquet are the same samples, with the features that datasets reads.
    parquet = opened(str(real / "pq"))
    assert (values_of(parquet), labels_of(parquet), parquet.classes) == (
        values_of(named),
        labels_of(named),
        named.classes,
    )
    assert json.loads(named.schema().metadata[b"huggingface"])["info"]["features"]["label"] == CLASSES


def test_batches_are_read_alone_from_disk_and_object_store(tmp_path: Path, s3: str) -> None:
    table = table_of(range(23))
    here, there = opened(save_arrow(Location.of(tmp_path), table)), opened(save_arrow(Location.of(s3), table))
    for source in (here, there, pickle.loads(pickle.dumps(here))):
        assert [shard.num_rows for shard in source.shards("train")] == [4] * 5 + [3]
        assert source.read(source.shards("train")[3]).images[:, 0, 0, 0].tolist() == [12, 13, 14, 15]
        assert source.fingerprint() == here.fingerprint()
    part = opened(str(tmp_path), max_samples=7, test_fraction=0.25)
    assert sorted(values_of(part, "test"))[0] >= 0
    assert (part.num_samples, len(part.shards("test")) > 0) == (7, True)
    assert not set(values_of(part)) & set(values_of(part, "test"))
    assert labels_of(part, "test") == [n % 3 for n in values_of(part, "test")]
    assert (
        len(
            {
                source.fingerprint()
                for source in (here, part, opened(save_arrow(Location.of(tmp_path / "b"), table[:-1])))
            }
        )
        == 3
    )


def test_only_what_the_state_names_is_data(tmp_path: Path) -> None:
    place = Location.of(tmp_path)
    save_arrow(place, table_of([9, 9]), name="cache-1a2b.arrow")
    source = opened(save_arrow(place, table_of(range(6))))
    assert values_of(source) == [0, 1, 2, 3, 4, 5]
    (place / "state.json").write_json({"_data_files": [{"filename": "data-7.arrow"}]})
    with pytest.raises(DataError, match=r"state\.json names data-7\.arrow, which is missing"):
        opened(str(tmp_path))
    (place / "state.json").write_json({"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]})
    with pytest.raises(DataError, match="rows are chosen by a list of indices"):
        opened(str(tmp_path))
    (place / "dataset_dict.json").write_json({"splits": ["train"]})
    with pytest.raises(DataError, match=r"names the split 'train', but .*train holds no saved data set"):
        opened(str(tmp_path))


def test_images_that_are_files(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(4):
        (tmp_path / "images" / f"{number}.png").write_bytes(image(number))
    paths = ["images/0.png", str(tmp_path / "images" / "1.png"), "images/2.png", "images/3.png"]
    rows = [{"bytes": None, "path": path} for path in paths]
    path = save_arrow(Location.of(tmp_path), table_of(range(4), image=pa.array(rows, STRUCT)))
    source = opened(path)
    assert values_of(source) == [0, 1, 2, 3]
    [shard] = source.shards("train")
    assert source.image_bytes(shard) == [image(n) for n in range(4)]
    # Elsewhere, the relative paths would lead nowhere.
    exported = source.read_table(shard)
    assert [row["bytes"] for row in exported["image"].to_pylist()] == [image(n) for n in range(4)]
    assert exported.schema.equals(source.schema(), check_metadata=True)
    for odd, reason in {
        "images/4.png": "there is no file .*images/4.png",
        "https://example.org/a.png": "https:.* lies in an archive or on the web",
        None: "it has neither bytes nor a path",
    }.items():
        rows[2] = {"bytes": None, "path": odd}
        path = save_arrow(Location.of(tmp_path), table_of(range(4), image=pa.array(rows, STRUCT)))
        with pytest.raises(DataError, match=f"image of sample 2 cannot be used: {reason}.*row 2 of record batch 0 of "):
            values_of(opened(path))
        skipping = opened(path, on_error="skip")
        assert skipping.read(skipping.shards("train")[0]).failed == {2: 2}
        assert skipping.image_bytes(shard)[1:3] == [image(1), None]


def test_class_names_are_shared_by_name(tmp_path: Path) -> None:
    place = Location.of(tmp_path)
    save_arrow(place / "train", table_of(range(6)))
    turned = {"label": {"names": ["fish", "cat"], "_type": "ClassLabel"}}
    save_arrow(place / "test", table_of(range(2), turned, label=[0, 1]))
    source = opened(str(tmp_path))
    assert [source.classes[label] for label in labels_of(source, "test")] == ["fish", "cat"]
    save_arrow(place / "test", table_of(range(2), {"label": {"names": ["cow"], "_type": "ClassLabel"}}, label=[0, 0]))
    with pytest.raises(DataError, match="the class 'cow' of the test set in 'label' is none of the training set's"):
        opened(str(tmp_path))
    save_arrow(place / "test", table_of(range(2), {"label": {"dtype": "int64", "_type": "Value"}}))
    with pytest.raises(DataError, match="is a ClassLabel in one of training and test set only"):
        opened(str(tmp_path))
    save_arrow(place / "test", table_of(range(2), label=[0, -1]))
    with pytest.raises(DataError, match=r"label -1 of the test set .* out of range.* -1 where a label is missing"):
        opened(str(tmp_path)).check()
    save_arrow(place / "train", table_of(range(6), label=[0, 1, 2, None, 0, 1]))
    with pytest.raises(DataError, match="1 labels are missing in 'label'"):
        list(opened(str(place / "train")).sample_batches())


def test_columns_are_found_by_their_features(tmp_path: Path) -> None:
    coarse = {"coarse": {"names": ["pet", "food"], "_type": "ClassLabel"}}
    path = save_arrow(Location.of(tmp_path), table_of(range(6), coarse, coarse=[0, 0, 1] * 2))
    with pytest.raises(ConfigError, match=r"label_column: the columns label, coarse are all ClassLabel .* name one of"):
        opened(path)
    assert opened(path, options={"label_column": "coarse"}).classes == ["pet", "food"]
    plain = {"label": {"dtype": "string", "_type": "Value"}}
    path = save_arrow(Location.of(tmp_path), table_of(range(6), plain, label=["b", "a"] * 3))
    assert (opened(path).classes, labels_of(opened(path))) == (["a", "b"], [1, 0] * 3)
    pixels = pa.array(np.full((6, 4, 4), 7, np.uint8).tolist(), pa.list_(pa.list_(pa.uint8())))
    array = {"image": {"shape": [4, 4], "dtype": "uint8", "_type": "Array2D"}}
    path = save_arrow(Location.of(tmp_path), table_of(range(6), array, image=pixels))
    assert values_of(opened(path)) == [7] * 6
    path = save_arrow(Location.of(tmp_path), table_of(range(6), {"image": {"dtype": "binary", "_type": "Value"}}))
    with pytest.raises(ConfigError, match=r"image_column: no column is Image in .*; name one of: image, label"):
        opened(path)
    with pytest.raises(DataError, match=r"image_column: .* has no column 'picture'; it has: image, label"):
        opened(path, options={"image_column": "picture"})


def test_files_that_are_something_else(tmp_path: Path) -> None:
    file = tmp_path / "data-00000-of-00001.arrow"
    table = table_of(range(6))
    path = save_arrow(Location.of(tmp_path), table)
    whole = file.read_bytes()
    for content, reason in (
        (whole[:-8], "it ends early"),
        (whole[: len(whole) // 2], "it ends early"),
        (b"not Arrow", "it does not begin as one"),
        (b"", "it does not begin as one|empty"),
        (whole[:8] + bytes(200), "is not a whole file"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=f"data-00000-of-00001.arrow.*({reason})"):
            opened(path)
    with pa.ipc.new_file(str(file), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="is in Arrow's file format; expected its stream format"):
        opened(path)
    save_arrow(
        Location.of(tmp_path), table.set_column(1, "label", table["label"].cast(pa.string()).dictionary_encode())
    )
    with pytest.raises(DataError, match="has dictionaries"):
        opened(path)
    save_arrow(Location.of(tmp_path), table.replace_schema_metadata(None))
    with pytest.raises(DataError, match=r"does not say what its columns hold .* set data.source to parquet"):
        opened(path)
    save_arrow(Location.of(tmp_path), table.replace_schema_metadata({"huggingface": "{"}))
    with pytest.raises(DataError, match="'huggingface' in the metadata of its schema cannot be read"):
        opened(path)
    save_arrow(Location.of(tmp_path), table)
    pq.write_table(table, tmp_path / "more.parquet")
    with pytest.raises(DataError, match=r"data-00000-of-00001\.arrow is an Arrow file, .*more\.parquet is not"):
        opened([str(file), str(tmp_path / "more.parquet")])
    other = table_of(range(3), {"label": {"names": ["fish", "dog", "cat"], "_type": "ClassLabel"}})
    pq.write_table(other, tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"more\.parquet and .*other\.parquet name their classes differently"):
        opened([str(tmp_path / "more.parquet"), str(tmp_path / "other.parquet")])
    lengths = [len(image(n)) for n in range(4)]
    offsets = np.cumsum([0, *lengths]).astype(np.int32).tobytes()
    assert whole.count(offsets) == 1
    file.write_bytes(whole.replace(offsets, np.full(5, 1 << 30, np.int32).tobytes()))
    source = opened(str(file))
    with pytest.raises(DataError, match="is damaged"):
        [source.read_table(shard) for shard in source.shards("train")]
