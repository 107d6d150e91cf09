"""Writes the same samples in the form of each source, for the test of what all sources have in common."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from tests.data.images import encoded


class Item(NamedTuple):
    """A sample: its name, label, and the encoded image."""

    name: str
    label: str
    content: bytes


Write = Callable[[Location, Sequence[Item], Sequence[Item]], DataConfig]


@dataclass(frozen=True)
class Case:
    """How a source's data are written, and which ids its samples have.

    `damage`: whether a sample's file can be replaced by one that is no image. `remote`: whether it reads addresses.
    """

    write: Write
    ids: Callable[[Sequence[Item]], list[Any]]
    damage: bool = True
    remote: bool = True


def items(count: int, first: int = 0, labels: Sequence[str] = ("cat", "dog", "fish")) -> list[Item]:
    """Return samples whose images have the one grey value that is their number."""
    return [
        Item(f"s{number:04d}", labels[number % len(labels)], image(number)) for number in range(first, first + count)
    ]


def image(value: int, height: int = 8, width: int = 8) -> bytes:
    """Return a PNG file of one grey value."""
    return encoded(np.full((height, width), value, np.uint8))


def image_folder(place: Location, train: Sequence[Item], test: Sequence[Item]) -> DataConfig:
    """One folder per class in one folder per split."""
    for split, samples in (("train", train), ("val", test)):
        for item in samples:
            (place / split / item.label / f"{item.name}.png").write_bytes(item.content)
    return DataConfig(source="image_folder", path=place.address)


def tar_of(members: Sequence[tuple[str, bytes]], mode: str = "w") -> bytes:
    """Return a tar file with these members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def members_of(samples: Sequence[Item]) -> list[tuple[str, bytes]]:
    """Return the members of a shard: an image and a label per sample."""
    return [
        member
        for item in samples
        for member in ((f"{item.name}.png", item.content), (f"{item.name}.cls", item.label.encode()))
    ]


def webdataset(place: Location, train: Sequence[Item], test: Sequence[Item]) -> DataConfig:
    """Shards of five samples, named by braces."""
    last = -1
    for last, start in enumerate(range(0, len(train), 5)):
        (place / f"shard-{last:06d}.tar").write_bytes(tar_of(members_of(train[start : start + 5])))
    (place / "test-000000.tar").write_bytes(tar_of(members_of(test)))
    shards = place / f"shard-{{000000..{last:06d}}}.tar"
    return DataConfig(
        source="webdataset", path=shards.address, test_path=(place / "test-000000.tar").address if test else None
    )


def manifest(place: Location, train: Sequence[Item], test: Sequence[Item]) -> DataConfig:
    """A CSV file per split beside a folder of images."""
    for name, samples in (("train", train), ("test", test)):
        lines = ["name,path,label", *(f"{item.name},images/{item.name}.png,{item.label}" for item in samples)]
        (place / f"{name}.csv").write_text("\n".join(lines) + "\n")
        for item in samples:
            (place / "images" / f"{item.name}.png").write_bytes(item.content)
    path, test_path = (place / "train.csv").address, (place / "test.csv").address
    options = {"id_column": "name"}
    return DataConfig(source="manifest", path=path, test_path=test_path if test else None, options=options)


def parquet(place: Location, train: Sequence[Item], test: Sequence[Item]) -> DataConfig:
    """A Parquet file per split, in row groups of four."""
    for name, samples in (("train", train), ("test", test)):
        columns = zip(*samples, strict=True) if samples else ([], [], [])
        table = pa.table(dict(zip(("sample_id", "label", "image"), map(list, columns), strict=True)))
        (place / f"{name}.parquet").write_table(table, row_group_size=4)
    path, test_path = (place / "train.parquet").address, (place / "test.parquet").address
    return DataConfig(source="parquet", path=path, test_path=test_path if test else None)


def torchvision(place: Location, train: Sequence[Item], test: Sequence[Item]) -> DataConfig:
    """FashionMNIST's own files; the classes are the first three."""
    for prefix, samples in (("train", train), ("t10k", test)):
        values = np.array([int(item.name[1:]) for item in samples], np.uint8)
        pixels = np.broadcast_to(values[:, None, None], (len(values), 28, 28))
        folder = place / "FashionMNIST" / "raw"
        header = struct.pack(">IIII", 0x0803, len(samples), 28, 28)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = np.array([["cat", "dog", "fish"].index(item.label) for item in samples], np.uint8)
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x0801, len(samples)) + labels.tobytes()
        )
    return DataConfig(source="torchvision", options={"name": "FashionMNIST", "root": place.address})


def huggingface(place: Location, train: Sequence[Item], test: Sequence[Item]) -> DataConfig:
    """A folder as `save_to_disk` writes it for a DatasetDict, in record batches of four rows."""
    names = sorted({item.label for item in [*train, *test]})
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    for split, samples in (("train", train), ("test", test)):
        if not samples:
            continue
        images = [{"bytes": item.content, "path": None} for item in samples]
        columns = {
            "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "label": pa.array([names.index(item.label) for item in samples], pa.int64()),
            "name": pa.array([item.name for item in samples]),
        }
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        save_arrow(place / split, pa.table(columns).replace_schema_metadata(metadata))
    return DataConfig(source="huggingface", path=place.address, options={"id_column": "name"})


def save_arrow(folder: Location, table: pa.Table, name: str = "data-00000-of-00001.arrow") -> str:
    """Write a table as `save_to_disk` of datasets does, in record batches of four rows; return the folder's address."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    (folder / name).write_bytes(sink.getvalue())
    (folder / "state.json").write_json({"_data_files": [{"filename": name}]})
    return folder.address


def array(place: Location, train: Sequence[Item], test: Sequence[Item]) -> DataConfig:
    """A Parquet file per split; each array has the number of its sample twice."""
    for name, samples in (("train", train), ("test", test)):
        vectors = [[float(item.name[1:])] * 2 for item in samples]
        columns = {
            "embedding": pa.array(vectors, pa.list_(pa.float16(), 2)),
            "label": pa.array([item.label for item in samples], pa.string()),
            "name": pa.array([item.name for item in samples], pa.string()),
        }
        (place / f"{name}.parquet").write_table(pa.table(columns), row_group_size=4)
    path, test_path = (place / "train.parquet").address, (place / "test.parquet").address
    options = {"id_column": "name"}
    return DataConfig(source="array", path=path, test_path=test_path if test else None, options=options)


def _names(samples: Sequence[Item]) -> list[Any]:
    return [item.name for item in samples]


CASES = {
    "image_folder": Case(image_folder, lambda samples: sorted(f"{item.label}/{item.name}.png" for item in samples)),
    "webdataset": Case(webdataset, _names),
    "manifest": Case(manifest, _names),
    "parquet": Case(parquet, _names),
    "huggingface": Case(huggingface, _names),
    "array": Case(array, _names, damage=False),
    "torchvision": Case(torchvision, lambda samples: list(range(len(samples))), damage=False, remote=False),
}
