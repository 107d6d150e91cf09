"""Which files are training data and which are the test set, from how people lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualprune.core.plain_columns import is_whole
from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.data.files import DataFile, base_places, find_files, paths_of, reading_place
from dualprune.errors import DataError, StorageError


def lay_out(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return str(folder)


def found(path: object, test_path: object = None, layout: str = "splits") -> tuple[list[str], list[str]]:
    config = DataConfig(path=path, test_path=test_path, layout=layout)
    train, test = find_files(config, (".parquet",))
    return [file.name for file in train], [file.name for file in test]


SHARDS = ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet")
HUB = ("README.md", *SHARDS)


def test_a_repository_of_the_hub(tmp_path: Path) -> None:
    root = lay_out(tmp_path, *HUB, ".cache/huggingface/train.parquet", "_delta_log/0.parquet")
    assert found(root) == (list(HUB[1:3]), [HUB[3]])
    assert found(f"{root}/data", layout="flat") == ([*sorted(Path(name).name for name in HUB[1:])], [])


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (["a.parquet", "more/b.parquet"], ["a.parquet", "more/b.parquet"], []),
        (["train/0.parquet", "test/0.parquet"], ["train/0.parquet"], ["test/0.parquet"]),
        (["train.parquet", "validation.parquet"], ["train.parquet"], ["validation.parquet"]),
        (["training_0.parquet", "val_0.parquet", "test_0.parquet"], ["training_0.parquet"], ["test_0.parquet"]),
        (["cifar-train.parquet", "cifar-eval.parquet"], ["cifar-train.parquet"], ["cifar-eval.parquet"]),
        # Without a training file beside it, a name says nothing; nor does a part of a word, or a column of folders.
        (["test-0.parquet", "test-1.parquet"], ["test-0.parquet", "test-1.parquet"], []),
        (["latest.parquet", "evaluated.parquet"], ["evaluated.parquet", "latest.parquet"], []),
        (["label=test/0.parquet", "label=car/0.parquet"], ["label=car/0.parquet", "label=test/0.parquet"], []),
        (["split=train/0.parquet", "split=test/0.parquet"], ["split=train/0.parquet"], ["split=test/0.parquet"]),
        (["train.parquet", "extra.parquet"], ["extra.parquet", "train.parquet"], []),
    ],
)
def test_names_tell_splits(tmp_path: Path, names: list[str], train: list[str], test: list[str]) -> None:
    assert found(lay_out(tmp_path, *names)) == (train, test)


def test_paths_globs_and_lists(tmp_path: Path) -> None:
    root = lay_out(tmp_path, *HUB, "other/x.parquet")
    assert found(f"{root}/data/train-*.parquet", f"{root}/data/test*") == (
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["test-00000-of-00001.parquet"],
    )
    assert found([f"{root}/data/train-00001-of-00002.parquet", f"{root}/other"])[0] == [
        "train-00001-of-00002.parquet",
        "x.parquet",
    ]
    assert found(f"{root}/**/*-0000[01]-of-00002.parquet")[0] == list(HUB[1:3])
    assert found(f"{root}/o*")[0] == ["other/x.parquet"]
    # A file that names say nothing of is a test file where it is named as one.
    assert found(f"{root}/other", f"{root}/data") == (["x.parquet"], ["test-00000-of-00001.parquet"])
    lay_out(tmp_path, "plain/a.parquet", "plain/b.parquet", "odd[1]/a.parquet")
    assert found(f"{root}/plain", f"{root}/plain/b.parquet") == (["a.parquet"], ["b.parquet"])
    assert found(f"{root}/odd[1]")[0] == ["a.parquet"]


def test_globs_name_the_folder_in_which_they_begin(tmp_path: Path) -> None:
    assert base_places([f"{tmp_path}/a/*.parquet", "s3://bucket/x/part-*?region=eu"]) == [
        Location.of(tmp_path / "a"),
        Location.of("s3://bucket/x?region=eu"),
    ]
    assert base_places(None) == []


@pytest.mark.parametrize(
    ("names", "path", "message"),
    [
        (
            ["train.parquet", "test.parquet", "x.parquet"],
            ".",
            r"is of the split te?.*x\.parquet of none; name the files",
        ),
        (["test.parquet", "validation.parquet"], ".", r"files of the splits test and validation only; name the files"),
        (
            ["en/train-0.parquet", "en/test-0.parquet", "fr/train/0.parquet", "fr/validation/0.parquet"],
            ".",
            r"data\.path: the folders en and fr have splits of their own; name one, or use a glob",
        ),
        (["a.parquet"], "*.pq", r"data\.path: no file matches "),
        (["a.csv"], ".", r"data\.path: the folder .* holds no \.parquet file"),
        (["a.parquet"], "b.parquet", r"data\.path: there is no file or folder "),
    ],
)
def test_what_names_leave_open_is_refused(tmp_path: Path, names: list[str], path: str, message: str) -> None:
    lay_out(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        found(f"{tmp_path}/{path}")


def test_a_file_that_is_named_twice_and_a_circle_of_links(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "data/a.parquet")
    with pytest.raises(DataError, match=r"data\.path: .*a\.parquet is named twice"):
        found([f"{root}/data", f"{root}/data/*.parquet"])
    with pytest.raises(DataError, match=r"all of its files are those of data\.test_path"):
        found(f"{root}/data", f"{root}/data/a.parquet")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    with pytest.raises(StorageError, match="loop is a link to a folder above it"):
        found(f"{root}/data")


def test_folders_are_columns() -> None:
    place = Location.of("/x")
    assert DataFile(place, "year=2024/label=a%2Fb/0.parquet").partition == {"year": "2024", "label": "a/b"}
    assert DataFile(place, "year=__HIVE_DEFAULT_PARTITION__/0.parquet").partition == {"year": None}
    assert DataFile(place, "plain/a=b.parquet").partition == {}


def test_files_of_an_object_store(s3: str) -> None:
    for name in ("data/train-0.parquet", "data/test-0.parquet", "data/.hidden/x.parquet"):
        (Location.of(s3) / name).write_bytes(b"x")
    assert found(s3) == (["data/train-0.parquet"], ["data/test-0.parquet"])
    base, _, options = s3.partition("?")
    assert found(f"{base}/*/tr*.parquet?{options}") == (["data/train-0.parquet"], [])


@pytest.mark.parametrize(
    ("path", "paths"),
    [
        ("s3://b/x-{08..11}.tar?region=x", [f"s3://b/x-{n}.tar?region=x" for n in ("08", "09", "10", "11")]),
        ("s3://b/{train,more}/{0..1}.tar", [f"s3://b/{n}.tar" for n in ("train/0", "train/1", "more/0", "more/1")]),
        ("/no/{8..10}", ["/no/8", "/no/9", "/no/10"]),
        ("/no/{a}/{}/{1...3}", ["/no/{a}/{}/{1...3}"]),
    ],
)
def test_braces(path: str, paths: list[str]) -> None:
    assert paths_of(path) == paths
    assert base_places([path, "/other"]) == [*map(Location.of, paths), Location.of("/other")]


def test_braces_in_names_and_ranges_that_are_none(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "a{1,2}.parquet", "b1.parquet", "b2.parquet")
    assert found(f"{root}/a{{1,2}}.parquet") == (["a{1,2}.parquet"], [])
    assert found(f"{root}/b{{1,2}}.parquet") == (["b1.parquet", "b2.parquet"], [])
    assert reading_place(f"{root}/b{{1,2}}.parquet", Location.of(f"{root}/b2.parquet"))
    for wrong in ("{3..1}", "{0..99999999}"):
        with pytest.raises(DataError, match=r"must name 1 to 1000000 files; write the lower number first"):
            found(f"{root}/b{wrong}.parquet")
    with pytest.raises(DataError, match=r"data\.path: there is no file or folder .*/b3\.parquet"):
        found(f"{root}/b{{1..3}}.parquet")


def test_a_folder_is_no_number_because_its_name_begins_with_signs(tmp_path: Path) -> None:
    assert DataFile(Location.of(tmp_path), "x=--3/a.parquet").partition == {"x": "--3"}
    assert not is_whole("--3")
    assert [is_whole(text) for text in ("0", "-7", "12", "007", "-0", "+1", "1.0", "٣", "")] == [True] * 3 + [False] * 6
