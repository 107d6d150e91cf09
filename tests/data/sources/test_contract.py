"""What all sources have in common: ids, order, fingerprint, classes, shards, splits and images that are none."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.data.source import SOURCES, Source, Split, open_source
from dualprune.errors import DataError
from tests.data.sources.cases import CASES, Case, Item, items

TRAIN, TEST = items(23), items(6, first=40)
WITH_FILES = [name for name, case in CASES.items() if case.damage]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = CASES[request.param]
    return found


def samples(source: Source) -> pa.Table:
    return pa.Table.from_batches(source.sample_batches())


def ids_of(source: Source) -> list[Any]:
    return samples(source)["sample_id"].to_pylist()


def values_of(source: Source, split: Split = "train") -> list[int]:
    """Return the one value of each image or array, which is the number of its sample."""
    batches = [source.read(shard) for shard in source.shards(split)]
    assert [len(batch.images) for batch in batches] == [shard.num_rows for shard in source.shards(split)]
    images = [image for batch in batches for image in batch.images]
    assert all((image == image.flat[0]).all() for image in images)
    return [int(image.flat[0]) for image in images]


def labels_of(source: Source, split: Split) -> list[int]:
    return [label for shard in source.shards(split) for label in source.read(shard).labels.tolist()]


def number(item: Item) -> int:
    return int(item.name[1:])


def in_order(case: Case, chosen: list[Item]) -> list[Item]:
    """Return samples in the order of the source."""
    if case is CASES["image_folder"]:
        return sorted(chosen, key=lambda item: (item.label, item.name))
    return chosen


def changed(config: DataConfig, **values: Any) -> DataConfig:
    return config.model_copy(update=values)


def test_every_source_is_tested() -> None:
    # The digits and imported dynamics have no files, and tests of their own.
    assert set(SOURCES.names()) - {"digits", "imported"} == set(CASES)


def test_ids_order_classes_and_splits(case: Case, tmp_path: Path) -> None:
    config = case.write(Location.of(tmp_path), TRAIN, TEST)
    source = open_source(config)
    train, test = in_order(case, TRAIN), in_order(case, TEST)
    assert (source.num_samples, ids_of(source)) == (23, case.ids(TRAIN))
    assert values_of(source) == list(map(number, train))
    assert values_of(source, "test") == list(map(number, test))
    names = source.classes if case.damage else ["cat", "dog", "fish"]
    assert names == ["cat", "dog", "fish"]
    assert [names[label] for label in samples(source)["label"].to_pylist()] == [item.label for item in train]
    assert labels_of(source, "train") == samples(source)["label"].to_pylist()
    assert [names[label] for label in labels_of(source, "test")] == [item.label for item in test]
    source.check()
    # The same in another process, and at another time.
    for other in (pickle.loads(pickle.dumps(source)), open_source(config)):
        assert ids_of(other) == ids_of(source)
        assert values_of(other) == values_of(source)
        assert other.fingerprint() == source.fingerprint()


def test_shards_are_bounded_and_cover_all(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("listed_source", "sources.torchvision"):
        monkeypatch.setattr(f"dualprune.data.{module}.SHARD_ROWS", 4)
    source = open_source(case.write(Location.of(tmp_path), TRAIN, TEST))
    for split, count in (("train", 23), ("test", 6)):
        shards = source.shards(split)
        assert max(shard.num_rows for shard in shards) <= 4
        starts = [shard.start for shard in shards]
        assert starts == np.cumsum([0, *(shard.num_rows for shard in shards)])[:-1].tolist()
        assert sum(shard.num_rows for shard in shards) == count
    # A shard alone, whatever was read before.
    whole = values_of(source)
    last = source.shards("train")[-1]
    assert [image.flat[0] for image in source.read(last).images] == whole[last.start :]


def test_the_fingerprint_follows_the_data_not_the_place(case: Case, tmp_path: Path) -> None:
    config = case.write(Location.of(tmp_path / "here"), TRAIN, TEST)
    before = open_source(config).fingerprint()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    moved = config.model_dump(mode="json") | {
        key: value and value.replace("/here", "/there")
        for key, value in (("path", config.path), ("test_path", config.test_path))
    }
    moved["options"] = {key: str(value).replace("/here", "/there") for key, value in config.options.items()}
    assert open_source(DataConfig(**moved)).fingerprint() == before
    other_label = [*TRAIN[:-1], TRAIN[-1]._replace(label="cat")]
    found = {before}
    for place, data in (("fewer", TRAIN[:-1]), ("label", other_label), ("order", [*TRAIN[::-1]])):
        if place == "order" and case is CASES["image_folder"]:
            continue
        found.add(open_source(case.write(Location.of(tmp_path / place), data, TEST)).fingerprint())
    assert len(found) == (3 if case is CASES["image_folder"] else 4)


def test_a_part_of_the_data(case: Case, tmp_path: Path) -> None:
    config = case.write(Location.of(tmp_path), TRAIN, TEST)
    everything = open_source(config)
    value_of = dict(zip(ids_of(everything), values_of(everything), strict=True))
    part = open_source(changed(config, max_samples=7))
    assert (part.num_samples, len(set(ids_of(part)))) == (7, 7)
    assert set(np.bincount(labels_of(part, "train"))) == {2, 3}
    assert values_of(part) == [value_of[sample_id] for sample_id in ids_of(part)]
    assert values_of(part, "test") == values_of(everything, "test")
    assert part.fingerprint() != everything.fingerprint()
    first = open_source(changed(config, max_samples=7, subset="first"))
    assert ids_of(first) == ids_of(everything)[:7]
    assert values_of(first) == values_of(everything)[:7]


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_test_set_that_is_split_off(name: str, tmp_path: Path) -> None:
    config = CASES[name].write(Location.of(tmp_path), TRAIN, [])
    assert open_source(config).shards("test") == []
    source = open_source(changed(config, test_fraction=0.25))
    assert source.num_samples == 17
    assert np.bincount(labels_of(source, "test")).tolist() == [2, 2, 2]
    assert sorted(values_of(source) + values_of(source, "test")) == list(range(23))
    whole = open_source(config)
    value_of = dict(zip(ids_of(whole), values_of(whole), strict=True))
    assert values_of(source) == [value_of[sample_id] for sample_id in ids_of(source)]


@pytest.mark.parametrize("name", WITH_FILES)
def test_an_image_that_is_none(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    broken = [*TRAIN[:8], TRAIN[8]._replace(content=b"no image"), *TRAIN[9:]]
    config = case.write(Location.of(tmp_path), broken, TEST)
    source = open_source(config)
    bad = case.ids(TRAIN)[in_order(case, TRAIN).index(TRAIN[8])]
    message = (
        f"image of sample {re.escape(repr(bad))} cannot be used: no image of the formats .*{re.escape(str(tmp_path))}"
    )
    with pytest.raises(DataError, match=message):
        values_of(source)
    skipping = open_source(changed(config, on_error="skip"))
    batches = [skipping.read(shard) for shard in skipping.shards("train")]
    assert [sample_id for batch in batches for sample_id in batch.failed.values()] == [bad]
    assert ids_of(skipping) == case.ids(TRAIN)
    contents = [content for shard in source.shards("train") for content in source.image_bytes(shard)]
    assert contents == [item.content for item in in_order(case, broken)]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.remote])
def test_an_object_store(name: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The bucket's key must not hold brackets, which are those of a glob.
    place = Location.of(s3.replace("[", "-").replace("]", ""))
    case = CASES[name]
    source = pickle.loads(pickle.dumps(open_source(case.write(place, TRAIN, TEST))))
    assert ids_of(source) == case.ids(TRAIN)
    assert values_of(source) == list(map(number, in_order(case, TRAIN)))
    assert labels_of(source, "test") == [label for label in labels_of(source, "test") if label in (0, 1, 2)]
    assert values_of(source, "test") == list(map(number, in_order(case, TEST)))
