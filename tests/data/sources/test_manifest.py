"""Manifests: where their paths begin, their columns and types, and what is refused."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.data.source import Source, open_source
from dualprune.errors import ConfigError, DataError, UserError
from tests.data.sources.cases import image

NUM = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images of the grey values 0 … 3, and a folder for manifests beside it."""
    for name in ("images", "lists"):
        (tmp_path / name).mkdir()
    for number in range(NUM):
        (tmp_path / "images" / f"{number}.png").write_bytes(image(number))
    return tmp_path


def opened(path: object, test_path: object = None, **options: object) -> Source:
    values = {"test_path": str(test_path)} if test_path else {}
    return open_source(DataConfig(source="manifest", path=str(path), options=options, **values))


def ids(source: Source) -> list[Any]:
    return pa.Table.from_batches(source.sample_batches())["sample_id"].to_pylist()


def values(source: Source) -> list[int]:
    return [int(one[0, 0, 0]) for part in source.shards("train") for one in source.read(part).images]


def names(source: Source) -> list[str]:
    return [source.classes[label] for part in source.shards("train") for label in source.read(part).labels]


def lines(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_where_paths_begin(folder: Path) -> None:
    beside = lines(folder / "lists" / "a.csv", "path,label", "../images/1.png,x", f"{folder}/images/0.png,y")
    assert values(opened(beside)) == [1, 0]
    assert ids(opened(beside)) == ["../images/1.png", f"{folder}/images/0.png"]
    below = lines(folder / "lists" / "b.csv", "path,label", "images/1.png,x", f"file://{folder}/images/2.png,y")
    source = opened(below, root=str(folder))
    assert values(source) == [1, 2]
    # The root says where the images are, not which.
    assert source.fingerprint() == opened(below).fingerprint()


def test_addresses_in_an_object_store(folder: Path, s3: str) -> None:
    place = Location.of(s3)
    for number in range(3):
        (place / "images" / f"{number}.png").write_bytes(image(number))
    (place / "lists" / "a.csv").write_text("path,label\n../images/2.png,x\nhere.png,y\n")
    (place / "lists" / "here.png").write_bytes(image(7))
    assert values(opened((place / "lists" / "a.csv").address)) == [2, 7]
    local = lines(folder / "a.csv", "path,label", "0.png,x", f"{(place / 'images' / '1.png').address},y")
    assert values(opened(local, root=(place / "images").address)) == [0, 1]


def test_text_keeps_its_zeros_and_numbers_are_numbers(folder: Path) -> None:
    rows = ("name,path,label,width", "007,images/0.png,1,8", "008,images/1.png,0,9")
    source = opened(lines(folder / "a.csv", *rows), id_column="name")
    assert (ids(source), names(source), source.classes) == (["007", "008"], ["1", "0"], ["0", "1"])
    assert source.read_table(source.shards("train")[0], ["width", "name"]).to_pylist() == [
        {"width": 8, "name": "007"},
        {"width": 9, "name": "008"},
    ]
    numbers = opened(lines(folder / "b.csv", *(row.replace("00", "") for row in rows)), id_column="name")
    assert ids(numbers) == [7, 8]


def test_separators_quotes_and_marks(folder: Path) -> None:
    tabs = lines(folder / "a.tsv", "\ufeffpath\tlabel", "images/0.png\ta, b", "images/1.png\tc")
    assert names(opened(tabs)) == ["a, b", "c"]
    quoted = lines(folder / "b.csv", "label,path", '"a, ""b""\nc",images/1.png')
    assert names(opened(quoted)) == ['a, "b"\nc']
    other = lines(folder / "c.csv", "path;label", "images/2.png;x")
    assert values(opened(other, delimiter=";")) == [2]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([0, 1, 1, 0], pa.uint8()), ["0", "1", "1", "0"]),
        (pa.array([True, False, True, True]), ["1", "0", "1", "1"]),
        (pa.array(["b", "a", "b", "b"]).dictionary_encode(), ["b", "a", "b", "b"]),
        (pa.array(["b", "a", "b", "b"], pa.large_string()), ["b", "a", "b", "b"]),
    ],
)
@pytest.mark.parametrize(
    ("given", "known"),
    [
        (pa.array([3, 1, 2, 0], pa.int32()), [3, 1, 2, 0]),
        (pa.array([b"\x01", b"\x02", b"\x03", b"\xff"]), ["01", "02", "03", "ff"]),
        (pa.array([uuid.UUID(int=n).bytes for n in range(4)], pa.uuid()), [str(uuid.UUID(int=n)) for n in range(4)]),
    ],
)
def test_parquet(folder: Path, labels: pa.Array, expected: list[str], given: pa.Array, known: list[Any]) -> None:
    paths = pa.array([f"images/{number}.png" for number in range(NUM)]).dictionary_encode()
    pq.write_table(pa.table({"file": paths, "y": labels, "key": given}), folder / "a.parquet")
    source = opened(folder / "a.parquet", path_column="file", label_column="y", id_column="key")
    assert (names(source), ids(source), values(source)) == (expected, known, [0, 1, 2, 3])
    assert source.schema().names == ["file", "y", "key"]


def test_several_manifests_and_a_test_set(folder: Path) -> None:
    lines(folder / "train-0.csv", "path,label", "images/0.png,7", "images/1.png,3")
    (folder / "under").mkdir()
    lines(folder / "under" / "train-1.csv", "label,path,extra", "cat,../images/2.png,1")
    test = lines(folder / "test.csv", "path,label", "images/3.png,3")
    source = opened(folder)
    assert (values(source), source.classes) == ([0, 1, 2], ["3", "7", "cat"])
    assert source.read(source.shards("test")[0]).labels.tolist() == [0]
    rows = source.read_table(source.shards("train")[0])
    assert rows["extra"].to_pylist() == [None, None, 1]
    assert ids(opened(folder, test)) == ids(source)
    part = open_source(DataConfig(source="manifest", path=str(folder), max_samples=2, subset="stratified"))
    assert part.read_table(part.shards("train")[0])["path"].to_pylist() == ids(part)
    (folder / "test.csv").unlink()
    split = open_source(DataConfig(source="manifest", path=str(folder / "train-0.csv"), test_fraction=0.5))
    assert split.num_samples == 2, "the only sample of a class stays in training"


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (["path,label", ",x"], {}, r"1 values of 'path' are missing, first in row 0 of .*/a\.csv"),
        (["path,label", "a.png,"], {}, r"1 labels are missing in 'label' \(train set\)"),
        (
            ["path,label,k", "a.png,x,1", "b.png,x,"],
            {"id_column": "k"},
            r"1 values of 'k' are missing, first in row 1 of",
        ),
        (
            ["path,label", "a.png,x", "a.png,y"],
            {},
            r"the id 'a\.png' stands for .*/a\.png, row 0 of .*/a\.csv and for .*row 1",
        ),
        (
            ["path,labels", "a.png,x"],
            {},
            r"data\.options\.label_column: .*/a\.csv has no column 'label'.*mean 'labels'",
        ),
        (["path;label", "a.png;x"], {}, r"data\.options\.path_column: .* has no column 'path'; it has: path;label"),
        (["path,label,path", "a.png,x,b.png"], {}, r"/a\.csv has several columns called 'path'; name them differently"),
        (["path,label", "a.png,x,y"], {}, r"/a\.csv is not a readable table of text: .*Expected 2 columns, got 3"),
        (
            ["path,label", "https://host/a.png,x"],
            {},
            r"https://host/a\.png in row 0 of .*/a\.csv is a web address; download",
        ),
        ([""], {}, r"/a\.csv is not a readable table of text: "),
    ],
)
def test_errors(folder: Path, rows: list[str], options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(lines(folder / "a.csv", *rows), **options)


def test_errors_of_files(folder: Path) -> None:
    with pytest.raises(DataError, match=r"/0\.png is no manifest; expected a file \*\.csv, \*\.tsv, \*\.parquet"):
        opened(folder / "images" / "0.png")
    pq.write_table(pa.table({"path": np.arange(3), "label": np.arange(3)}), folder / "a.parquet")
    with pytest.raises(DataError, match=r"data\.options\.path_column: 'path' holds int64; expected paths"):
        opened(folder / "a.parquet")
    (folder / "b.csv").write_bytes(b"path,label\n\xff.png,x\n")
    with pytest.raises(DataError, match=r"/b\.csv is not a readable table of text: "):
        opened(folder / "b.csv")
    with pytest.raises(
        ConfigError, match=r"data\.path: null; set it to the CSV, TSV or Parquet file that lists the tr"
    ):
        open_source(DataConfig(source="manifest"))
    with pytest.raises(ConfigError, match=r"data\.options\.delimiter"):
        opened(folder / "b.csv", delimiter=", ")


def test_images_that_are_not_there(folder: Path) -> None:
    path = lines(folder / "a.csv", "path,label", "images/0.png,x", "images/9.png,y")
    source = opened(path)
    message = (
        r"image of sample 'images/9\.png' cannot be used: there is no such file \(.*/images/9\.png, row 1 of .*/a\.csv"
    )
    with pytest.raises(DataError, match=message):
        source.read(source.shards("train")[0])
    skipping = open_source(DataConfig(source="manifest", path=str(path), on_error="skip"))
    assert skipping.read(skipping.shards("train")[0]).failed == {1: "images/9.png"}
    unknown = opened(lines(folder / "b.csv", "path,label", "nowhere://a.png,x"))
    with pytest.raises(UserError, match=r"image of sample 'nowhere://a\.png': nowhere://a\.png cannot be reached"):
        unknown.read(unknown.shards("train")[0])
