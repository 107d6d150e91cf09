"""The kept samples of a source, exported in its own form, are a source of these samples."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualprune.core.outputs import Output
from dualprune.core.sections import DataConfig, Images
from dualprune.core.storage import Location
from dualprune.data.kept_rows import KeptPart
from dualprune.data.source import Source, open_source
from dualprune.errors import DataError, StorageError
from tests.data.sources.cases import CASES, items, members_of, tar_of

TRAIN, TEST = items(23), items(6, first=40)
KEPT = np.array([0, 1, 2, 3, 11, 12, 19, 22])
WITH_FORM = [name for name in CASES if name != "torchvision"]


def exported(
    source: Source, place: Location, kept: np.ndarray = KEPT, max_rows: int = 1000, images: Images = "link"
) -> dict[str, Any]:
    """Export kept positions; return the records of the files by name."""
    groups = source.export_groups(kept, max_rows)
    parts = [KeptPart.of(number, shards, kept, kept / 100) for number, shards in enumerate(groups)]
    return dict(file for part in parts for file in source.export(part, place, images))


def as_source(config: DataConfig, place: Location) -> Source:
    """Open an export with the options of its source."""
    options = dict(config.options)
    if config.source == "manifest":
        # Paths are those of the source's folder.
        assert isinstance(config.path, str)
        options["root"] = Location.of(config.path).parent.address
    return open_source(DataConfig(source=config.source, path=place.address, options=options))


def contents(source: Source) -> dict[Any, tuple[int, int]]:
    """Return label and the one value of each image or array by id."""
    ids = [i for batch in source.sample_batches() for i in batch["sample_id"].to_pylist()]
    batches = [source.read(shard) for shard in source.shards("train")]
    found = [(int(label), int(image.flat[0])) for b in batches for label, image in zip(b.labels, b.images, strict=True)]
    return dict(zip(ids, found, strict=True))


@pytest.mark.parametrize("max_rows", [1000, 3])
@pytest.mark.parametrize("name", WITH_FORM)
def test_an_export_is_a_source_of_the_kept_samples(name: str, tmp_path: Path, max_rows: int) -> None:
    config = CASES[name].write(Location.of(tmp_path / "data"), TRAIN, TEST)
    source = open_source(config)
    written = exported(source, Location.of(tmp_path / "out"), max_rows=max_rows)
    there = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {file: record.bytes for file, record in written.items()} == {
        file: path.stat().st_size for file, path in there.items()
    }
    for file, record in written.items():
        assert record.crc32 in (None, Location.of(tmp_path / "out" / file).digest("crc32"))
    whole = list(contents(source).items())
    assert list(contents(as_source(config, Location.of(tmp_path / "out"))).items()) == [whole[row] for row in KEPT]


@pytest.mark.parametrize("name", ["image_folder", "webdataset", "parquet", "manifest"])
def test_an_object_store(name: str, s3: str) -> None:
    place = Location.of(s3.replace("[", "-").replace("]", ""))
    config = CASES[name].write(place / "data", TRAIN, TEST)
    source = open_source(config)
    exported(source, place / "out")
    whole = list(contents(source).items())
    assert list(contents(as_source(config, place / "out")).items()) == [whole[row] for row in KEPT]


def test_a_part_of_the_training_set(tmp_path: Path) -> None:
    for name in WITH_FORM:
        config = CASES[name].write(Location.of(tmp_path / name / "data"), TRAIN, [])
        config = config.model_copy(update={"test_fraction": 0.25, "max_samples": 12})
        source = open_source(config)
        kept = np.array([1, 4, 10])
        exported(source, Location.of(tmp_path / name / "out"), kept)
        whole = list(contents(source))
        assert list(contents(as_source(config, Location.of(tmp_path / name / "out")))) == [whole[row] for row in kept]


def test_a_source_without_a_form_of_its_own_exports_nothing(tmp_path: Path) -> None:
    source = open_source(CASES["torchvision"].write(Location.of(tmp_path / "data"), TRAIN, TEST))
    assert exported(source, Location.of(tmp_path / "out")) == {}
    assert not (tmp_path / "out").exists()


def test_images_are_links_or_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CASES["image_folder"].write(Location.of(tmp_path / "data"), TRAIN, TEST)
    origin = tmp_path / "data" / "train" / "cat" / "s0000.png"
    # As some data sets are laid out: links to a store of files.
    (tmp_path / "store.png").write_bytes(origin.read_bytes())
    origin.unlink()
    origin.symlink_to("../../../store.png")
    source = open_source(config)
    exported(source, Location.of(tmp_path / "hard"))
    assert (tmp_path / "hard/cat/s0000.png").samefile(tmp_path / "store.png")
    assert not (tmp_path / "hard/cat/s0000.png").is_symlink()
    exported(source, Location.of(tmp_path / "copy"), images="copy")
    assert not (tmp_path / "copy/cat/s0000.png").samefile(origin)
    assert (tmp_path / "copy/cat/s0000.png").read_bytes() == origin.read_bytes()

    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    exported(source, Location.of(tmp_path / "symbolic"))
    assert (tmp_path / "symbolic/cat/s0000.png").is_symlink()
    assert (tmp_path / "symbolic/cat/s0000.png").samefile(origin)
    # Whoever removes an export must not remove what its links lead to.
    Location.of(tmp_path / "symbolic").delete()
    Location.of(tmp_path / "hard").delete()
    assert origin.read_bytes() == (tmp_path / "copy/cat/s0000.png").read_bytes()


@pytest.mark.parametrize("images", ["link", "copy"])
def test_any_name_of_a_file_is_kept(tmp_path: Path, images: Images) -> None:
    names = ["a?b", "c#d", "e f", "ü%20", "x:y"]
    samples = [item._replace(name=name) for name, item in zip(names, TRAIN, strict=False)]
    source = open_source(CASES["image_folder"].write(Location.of(tmp_path / "data"), samples, TEST))
    written = exported(source, Location.of(tmp_path / "out"), np.arange(5), images=images)
    outputs = Output.of_written(Location.of(tmp_path), Location.of(tmp_path / "out"), written.items())
    assert sorted(output.path for output in outputs) == sorted(f"out/{item.label}/{item.name}.png" for item in samples)
    assert all((tmp_path / output.path).stat().st_size == output.bytes for output in outputs)


@pytest.mark.parametrize("images", ["link", "copy"])
def test_an_image_that_has_gone_is_named(tmp_path: Path, images: Images) -> None:
    source = open_source(CASES["image_folder"].write(Location.of(tmp_path / "data"), TRAIN, TEST))
    (tmp_path / "data/train/cat/s0003.png").unlink()
    with pytest.raises(DataError, match=r"the kept sample 'cat/s0003.png' is no longer there \(.*s0003.png\); restore"):
        exported(source, Location.of(tmp_path / "out"), images=images)


def test_what_stands_in_the_way_of_a_link_is_named(tmp_path: Path) -> None:
    source = open_source(CASES["image_folder"].write(Location.of(tmp_path / "data"), TRAIN, TEST))
    (tmp_path / "out" / "cat" / "s0000.png").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"out/cat/s0000.png cannot be made a link to .*cat/s0000.png: File exists"):
        exported(source, Location.of(tmp_path / "out"))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_members_of_a_key_are_kept_as_they_are(tmp_path: Path, form: int) -> None:
    # A long key has headers of its own in a tar file.
    keys = [f"{'folder/' * 30}{item.name}" for item in TRAIN]
    members = {"README": b"of the whole shard"}
    for key, item in zip(keys, TRAIN, strict=True):
        members |= {f"{key}.png": item.content, f"{key}.cls": item.label.encode(), f"{key}.txt": b"a caption"}
    place = tmp_path / "train.tar"
    with tarfile.open(place, "w", format=form) as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size, header.mtime = len(content), 1234
            tar.addfile(header, io.BytesIO(content))
    exported(open_source(DataConfig(source="webdataset", path=str(place))), Location.of(tmp_path / "out"))
    wanted = [f"{keys[row]}.{kind}" for row in KEPT for kind in ("png", "cls", "txt")]
    with tarfile.open(tmp_path / "out" / "part-00000.tar") as tar:
        found = [(member.name, member.mtime, _content(tar, member)) for member in tar]
    assert found == [(name, 1234, members[name]) for name in wanted]


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    assert stream is not None
    return stream.read()


def test_a_shard_that_has_changed_is_named(tmp_path: Path) -> None:
    source = open_source(CASES["webdataset"].write(Location.of(tmp_path / "data"), TRAIN, TEST))
    place = tmp_path / "data" / "shard-000000.tar"
    place.write_bytes(tar_of(members_of(TRAIN[:2])))
    with pytest.raises(DataError, match=r"shard-000000.tar no longer has the key 's0002'; restore the file"):
        exported(source, Location.of(tmp_path / "out"))
    place.write_bytes(place.read_bytes()[:700])
    with pytest.raises(DataError, match=r"shard-000000.tar is (not a readable tar file|damaged)"):
        exported(source, Location.of(tmp_path / "out"))


def test_shards_of_a_file_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualprune.data.listed_source.SHARD_ROWS", 2)
    monkeypatch.setattr("dualprune.data.sources.webdataset.FILES_PER_PART", 4)
    source = open_source(CASES["webdataset"].write(Location.of(tmp_path / "data"), TRAIN, TEST))
    everything = np.arange(23)
    groups = source.export_groups(everything, 1000)
    assert [sum(shard.num_rows for shard in group) for group in groups] == [5, 5, 5, 5, 3]
    assert sorted(exported(source, Location.of(tmp_path / "out"), everything)) == [
        f"part-{number:05d}.tar" for number in range(5)
    ]
    found = open_source(DataConfig(source="webdataset", path=str(tmp_path / "out")))
    assert list(contents(found)) == [item.name for item in TRAIN]
