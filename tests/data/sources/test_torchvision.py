"""Real torchvision data sets, written here in their own formats."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from dualprune.core.sections import DataConfig
from dualprune.data.source import Source, open_source
from dualprune.errors import ConfigError, DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 1, 1, 2, 5, 4, 8])


def write_idx(folder: Path, prefix: str, count: int) -> None:
    """Write the first samples as the idx files of FashionMNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIII", 0x0803, count, 28, 28)
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + PIXELS[:count].tobytes())
    header = struct.pack(">II", 0x0801, count)
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(header + LABELS[:count].astype(np.uint8).tobytes())


@pytest.fixture
def fashion(tmp_path: Path) -> DataConfig:
    write_idx(tmp_path / "FashionMNIST" / "raw", "train", 9)
    write_idx(tmp_path / "FashionMNIST" / "raw", "t10k", 4)
    return DataConfig(source="torchvision", options={"name": "FashionMNIST", "root": str(tmp_path)})


def images(source: Source, split: str) -> np.ndarray:
    return np.concatenate([source.read(shard).images for shard in source.shards(split)])


def test_fashion_mnist(fashion: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualprune.data.sources.torchvision.SHARD_ROWS", 4)
    source = open_source(fashion)
    assert source.num_samples == 9
    assert source.classes[:2] == ["T-shirt/top", "Trouser"]
    samples = pa.Table.from_batches(source.sample_batches())
    assert samples["sample_id"].to_pylist() == list(range(9))
    assert samples["label"].to_pylist() == LABELS.tolist()
    # Pickled, as decoding tasks get the source.
    source = pickle.loads(pickle.dumps(source))
    assert [shard.num_rows for shard in source.shards("train")] == [4, 4, 1]
    assert np.array_equal(images(source, "train"), PIXELS[:, None])
    assert np.array_equal(images(source, "test"), PIXELS[:4, None])
    assert source.read(source.shards("test")[0]).labels.tolist() == LABELS[:4].tolist()


def test_the_first_samples_only(fashion: DataConfig) -> None:
    source = open_source(fashion.model_copy(update={"max_samples": 5, "subset": "first"}))
    assert source.num_samples == 5
    assert np.array_equal(images(source, "train"), PIXELS[:5, None])
    assert len(images(source, "test")) == 4
    assert source.fingerprint() != open_source(fashion).fingerprint()


def test_a_share_of_each_class(fashion: DataConfig) -> None:
    source = open_source(fashion.model_copy(update={"max_samples": 5}))
    ids = pa.Table.from_batches(source.sample_batches())["sample_id"].to_pylist()
    assert (source.num_samples, len(set(ids)), sorted(ids)) == (5, 5, ids)
    assert np.array_equal(images(source, "train"), PIXELS[ids, None])
    assert source.read(source.shards("train")[0]).labels.tolist() == LABELS[ids].tolist()
    assert len(images(source, "test")) == 4


def make_imagenette(root: Path) -> DataConfig:
    """Write a set of JPEG files, one gray and one that is no image; its test set is called val."""
    for split, count in (("train", 3), ("val", 1)):
        for number, wnid in enumerate(("n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916",
                                       "n03417042", "n03425413", "n03445777", "n03888257")):  # fmt: skip
            folder = root / "imagenette2" / split / wnid
            folder.mkdir(parents=True)
            for item in range(count):
                Image.new("RGB", (9, 8), (number * 20, item * 90, 0)).save(folder / f"{item}.JPEG")
    first = root / "imagenette2" / "train" / "n01440764"
    (first / "0.JPEG").write_bytes(b"no image")
    Image.new("L", (9, 8), 77).save(first / "1.JPEG")
    return DataConfig(source="torchvision", options={"name": "Imagenette", "root": str(root)})


def test_files_of_which_one_is_corrupt_and_one_gray(tmp_path: Path) -> None:
    config = make_imagenette(tmp_path)
    source = open_source(config)
    assert (source.num_samples, len(source.classes)) == (30, 10)
    assert source.classes[0] == "tench/Tinca tinca"
    message = r"image of sample 0 cannot be used.*row 0 of the train set.*set data\.on_error to skip"
    with pytest.raises(DataError, match=message):
        source.read(source.shards("train")[0])
    batch = open_source(config.model_copy(update={"on_error": "skip"})).read(source.shards("train")[0])
    assert batch.failed == {0: 0}
    assert batch.images.shape == (30, 3, 8, 9)
    assert (batch.images[1] == 77).all()
    assert batch.labels[1:].tolist() == [number // 3 for number in range(1, 30)]
    assert images(source, "test").shape == (10, 3, 8, 9)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"options": {}}, ConfigError, r"data\.options\.name: null; set it to torchvision's class name of the set"),
        (
            {"options": {"name": "FashionMNST"}},
            ConfigError,
            "no classification set 'FashionMNST'.*did you mean 'FashionMNIST'",
        ),
        (
            {"options": {"name": "CocoDetection"}},
            ConfigError,
            "no classification set 'CocoDetection' with a training and a test",
        ),
        (
            {"options": {"name": "CIFAR10", "root": "nowhere"}},
            DataError,
            r"torchvision\.CIFAR10 cannot be opened.*set data\.options\.download to true",
        ),
        ({"max_pixels": 10}, DataError, "image of sample 0 .* 28 × 28 pixels are more than data.max_pixels"),
        ({"max_pixels": 10, "on_error": "skip"}, DataError, r"torchvision\.FashionMNIST has no image that can be read"),
    ],
)
def test_errors(fashion: DataConfig, change: dict, error: type[Exception], message: str) -> None:
    source_config = fashion.model_copy(update=change)
    with pytest.raises(error, match=message):
        images(open_source(source_config), "train")
