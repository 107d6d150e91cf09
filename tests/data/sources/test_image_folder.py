"""Which folders are classes and splits, and what is refused."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pyarrow as pa
import pytest

from dualprune.core.sections import DataConfig
from dualprune.data.source import Source, open_source
from dualprune.errors import ConfigError, DataError, StorageError
from tests.data.sources.cases import image


def lay_out(folder: Path, *names: str) -> str:
    """Write files, images of one value each, and folders, whose names end with a slash."""
    for number, name in enumerate(names):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(image(number))
    return str(folder)


def opened(path: object, **values: object) -> Source:
    return open_source(DataConfig(source="image_folder", path=path, **values))


def ids(source: Source) -> list[str]:
    return pa.Table.from_batches(source.sample_batches())["sample_id"].to_pylist()


def test_num(source: Source) -> int:
    return sum(shard.num_rows for shard in source.shards("test"))


test_num.__test__ = False


def test_folders_in_folders(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "animal/cat/1.jpg", "animal/dog/2.JPEG", "plant/3.png", "plant/_DSC1.webp", "plant/.x.png")
    source = opened(root)
    assert ids(source) == ["animal/cat/1.jpg", "animal/dog/2.JPEG", "plant/3.png", "plant/_DSC1.webp"]
    assert source.classes == ["animal", "plant"]
    last = opened(root, options={"class_folder": "last"})
    assert last.classes == ["cat", "dog", "plant"]
    assert (ids(last), last.fingerprint() != source.fingerprint()) == (ids(source), True)


@pytest.mark.parametrize(
    ("names", "classes", "num_train", "num_test"),
    [
        (["train/a/1.png", "train/b/2.png", "val/a/3.png"], ["a", "b"], 2, 1),
        (["Train/a/1.png", "Test/a/2.png", "Test/a/3.png", "valid/a/4.png"], ["a"], 1, 2),
        (["train/a/1.png"], ["a"], 1, 0),
        # ImageNet's test images are in no classes.
        (["train/a/1.png", "train/b/2.png", "test/3.png", "val/b/4.png"], ["a", "b"], 2, 1),
        # Vehicles.
        (["train/1.png", "bus/2.png", "tram/3.png"], ["bus", "train", "tram"], 3, 0),
        (["validation rules/1.png", "train station/2.png", "test tube/3.png"], None, 3, 0),
    ],
)
def test_splits(tmp_path: Path, names: list[str], classes: list[str] | None, num_train: int, num_test: int) -> None:
    source = opened(lay_out(tmp_path, *names))
    assert source.classes == (classes or sorted(name.split("/")[0] for name in names))
    assert (source.num_samples, test_num(source)) == (num_train, num_test)


def test_ids_are_the_same_whether_the_folder_of_a_split_is_named_or_found(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png", "more/a/4.png")
    named = opened(f"{root}/train", test_path=f"{root}/val")
    assert (ids(named), test_num(named)) == (["a/1.png", "b/2.png"], 1)
    both = opened([f"{root}/train", f"{root}/more"])
    assert ids(both) == ["a/1.png", "b/2.png", "a/4.png"]
    # What is a test set is no class, and no training data.
    inside = opened(root, test_path=f"{root}/val", layout="flat", options={"class_folder": "last"})
    assert (ids(inside), test_num(inside)) == (["more/a/4.png", "train/a/1.png", "train/b/2.png"], 1)
    flat = opened(root, layout="flat")
    assert (flat.classes, flat.num_samples) == (["more", "train", "val"], 4)


def test_other_files_are_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = lay_out(tmp_path, "a/1.png", "a/notes.txt", "LICENSE")
    with caplog.at_level(logging.INFO):
        assert ids(opened(root)) == ["a/1.png"]
    assert "2 files that are no images are not read, such as" in caplog.text


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        (
            ["a/1.png", "b/"],
            {},
            r"data\.path: the class folder .*/b holds no image; put its images there, or remove it",
        ),
        (["a/1.png", "b/x.txt", "c/"], {}, r"the class folder .*/b holds no image \(2 such folders\)"),
        (["train/a/1.png", "val/a/"], {}, r"data\.path: the class folder .*/val/a holds no image"),
        (["a/1.png", "2.png"], {}, r"the image .*/2\.png lies in no class folder; expected .*/CLASS/2\.png"),
        (["a.txt"], {}, r"holds no class folder; expected .*/CLASS/NAME\.jpg"),
        (
            ["train/a/1.png", "test/a/2.png", "extra/3.png"],
            {},
            r"is of the split train, .*/extra of none; name the fol",
        ),
        (
            ["val/a/1.png", "test/a/2.png"],
            {},
            r"has folders of the split test and validation only; name the folder, or",
        ),
        (["train/a/1.png", "test/b/2.png"], {}, "label 'b' of the test set in 'class folder' is out of range"),
        (["a/1.png"], {"test_path": "nowhere"}, r"data\.test_path: there is no folder .*/nowhere"),
        (["a/1.png"], {"path": "a/1.png"}, r"data\.path: .*/1\.png is a file; expected a folder with one folder per"),
        (["a/1.png"], {"path": "*"}, r"data\.path: .*\* is a glob; name the folders themselves"),
        (
            ["x/a/1.png", "y/a/1.png"],
            {"path": ["x", "y"]},
            r"the path 'a/1\.png' stands for .*/x/a/1\.png and for .*/y/",
        ),
    ],
)
def test_errors(tmp_path: Path, names: list[str], values: dict, message: str) -> None:
    root = Path(lay_out(tmp_path / "data", *names))
    path = values.get("path", ".")
    paths = [str(root / one) for one in path] if isinstance(path, list) else str(root / path)
    test_path = values.get("test_path")
    with pytest.raises(DataError, match=message):
        opened(paths, test_path=test_path and str(root / test_path))


def test_no_path() -> None:
    with pytest.raises(ConfigError, match=r"data\.path: null; set it to the folder that holds one folder per class"):
        opened(None)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    lay_out(tmp_path, "a/1.png")
    (tmp_path / "a" / os.fsdecode(b"\xff.png")).write_bytes(image(2))
    with pytest.raises(DataError, match=r"the name 'a/\\udcff\.png' is not valid UTF-8; rename the file or folder"):
        opened(str(tmp_path))


def test_an_image_that_is_gone_or_may_not_be_read(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "a/1.png", "a/2.png")
    source, skipping = opened(root), opened(root, on_error="skip")
    (tmp_path / "a" / "2.png").unlink()
    with pytest.raises(
        DataError, match=r"image of sample 'a/2\.png' cannot be used: there is no such file \(.*/a/2\.png"
    ):
        source.read(source.shards("train")[0])
    assert skipping.read(skipping.shards("train")[0]).failed == {1: "a/2.png"}
    # What cannot be read at the moment is not left out.
    (tmp_path / "a" / "2.png").mkdir()
    with pytest.raises(StorageError, match=r"image of sample 'a/2\.png': .*/a/2\.png cannot be read"):
        skipping.read(skipping.shards("train")[0])


def test_a_folder_that_this_machine_does_not_see(tmp_path: Path) -> None:
    source = opened(lay_out(tmp_path / "data", "a/1.png", "a/2.png"), on_error="skip")
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"image of sample 'a/1\.png': there is no folder .*/data/a on .*every node"):
        source.read(source.shards("train")[0])


def test_a_replaced_image_changes_the_fingerprint(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "a/1.png", "b/2.png")
    before = opened(root).fingerprint()
    (tmp_path / "b" / "2.png").write_bytes(image(7, 20, 20))
    assert opened(root).fingerprint() != before


def test_no_label_is_lost_between_folders_and_numbers(tmp_path: Path) -> None:
    # Names of folders are texts, whatever they look like.
    source = opened(lay_out(tmp_path, "10/a.png", "9/b.png", "007/c.png"))
    assert source.classes == ["007", "10", "9"]
    assert [source.classes[label] for label in source.read(source.shards("train")[0]).labels] == ["007", "10", "9"]
