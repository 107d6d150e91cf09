from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dualprune.core.sections import DataConfig
from dualprune.data.source import open_source
from dualprune.errors import ConfigError, DataError


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, num: int = 10, **columns: object) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (num, 6, 5, 3), dtype=np.uint8)
    table = {
        "sample_id": [f"s{i}" for i in range(num)],
        "image": [png(image) for image in pixels],
        "label": [i % 3 for i in range(num)],
        **columns,
    }
    pq.write_table(pa.table(table), path, row_group_size=4)
    return str(path)


def test_it_reads_what_was_written(tmp_path: Path) -> None:
    source = open_source(DataConfig(source="parquet", path=write(tmp_path / "train.parquet")))
    assert (source.num_samples, source.classes) == (10, ["0", "1", "2"])
    samples = pa.Table.from_batches(source.sample_batches())
    assert samples["sample_id"].to_pylist() == [f"s{i}" for i in range(10)]
    batches = [source.read(shard) for shard in source.shards("train")]
    assert [len(batch.labels) for batch in batches] == [4, 4, 2]
    images = np.concatenate([batch.images for batch in batches])
    pixels = np.random.default_rng(0).integers(0, 256, (10, 6, 5, 3), dtype=np.uint8)
    assert np.array_equal(images, pixels.transpose(0, 3, 1, 2))


def test_text_labels_arrays_and_a_test_split(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (10, 4, 4), dtype=np.uint8)
    path = write(tmp_path / "train.parquet", image=pixels.tolist(), label=["cat", "dog"] * 5)
    source = open_source(DataConfig(source="parquet", path=path, test_fraction=0.4, options={"id_column": None}))
    assert source.classes == ["cat", "dog"]
    assert source.num_samples == 6
    train = np.concatenate([source.read(shard).images for shard in source.shards("train")])
    test = np.concatenate([source.read(shard).images for shard in source.shards("test")])
    assert sorted(image.tobytes() for image in [*train, *test]) == sorted(image.tobytes() for image in pixels[:, None])


def test_a_corrupt_image_is_named_or_skipped(tmp_path: Path) -> None:
    images = [png(np.zeros((4, 4), dtype=np.uint8))] * 9 + [b"not an image"]
    path = write(tmp_path / "train.parquet", image=images)
    shard = open_source(DataConfig(source="parquet", path=path)).shards("train")[2]
    with pytest.raises(DataError, match=r"image of sample 's9' cannot be used.*data.on_error"):
        open_source(DataConfig(source="parquet", path=path)).read(shard)
    assert open_source(DataConfig(source="parquet", path=path, on_error="skip")).read(shard).failed == {1: "s9"}


def test_an_image_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    source = open_source(DataConfig(source="parquet", path=write(tmp_path / "t.parquet"), max_pixels=20))
    with pytest.raises(DataError, match=r"has no image that can be read|5 × 6 pixels are more than data.max_pixels"):
        source.read(source.shards("train")[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, "data.path: null; set it to the Parquet file"),
        ({"path": "/nowhere.parquet"}, "data.path: there is no file or folder /nowhere.parquet"),
        ({"options": {"label_column": "labels"}}, "no column 'labels'.*did you mean 'label'"),
        ({"options": {"image_column": "picture"}}, "no column 'picture'"),
        ({"options": {"id_column": "id"}}, "no column 'id'.*row numbers are the ids"),
        ({"options": {"label_column": "image"}}, "holds binary; expected integers or strings"),
    ],
)
def test_errors(tmp_path: Path, change: dict[str, object], message: str) -> None:
    values = {"source": "parquet", "path": write(tmp_path / "train.parquet"), **change}
    with pytest.raises((ConfigError, DataError), match=message):
        open_source(DataConfig(**values))


def test_labels_out_of_range(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", label=[0, 1, 10**6, *[0] * 7])
    with pytest.raises(DataError, match="labels are out of range: label goes up to 1000000"):
        _ = open_source(DataConfig(source="parquet", path=path)).classes


def test_images_of_two_sizes(tmp_path: Path) -> None:
    images = [png(np.zeros((4, 4 + i % 2), dtype=np.uint8)) for i in range(10)]
    path = write(tmp_path / "train.parquet", image=images)
    source = open_source(DataConfig(source="parquet", path=path))
    with pytest.raises(DataError, match=r"image of sample 's1' has 5 × 4 pixels.*set data.image_size"):
        source.read(source.shards("train")[0])
    sized = open_source(DataConfig(source="parquet", path=path, image_size=8))
    assert sized.read(sized.shards("train")[0]).images.shape == (4, 1, 8, 8)
