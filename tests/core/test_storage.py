from __future__ import annotations

import hashlib
import pickle

import pyarrow as pa
import pytest

from dualprune.core.storage import Location, fingerprint


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path) -> Location:
    if request.param == "local":
        return Location.of(tmp_path / "root")
    return Location.of(request.getfixturevalue("s3"))


def test_files_round_trip(root: Location) -> None:
    place = root / "a" / "b.json"
    assert not place.exists()
    place.write_json({"x": [1, "ü"]})
    assert place.is_file()
    assert place.read_json() == {"x": [1, "ü"]}
    place.write_bytes(b"longer content than before, then shorter")
    place.write_bytes(b"short")
    assert place.read_bytes() == b"short"
    assert place.size() == 5
    assert place.name == "b.json"
    assert place.parent.name == "a"


def test_children_are_sorted_and_direct(root: Location) -> None:
    assert root.children() == []
    for name in ("c", "a", "b/deep"):
        (root / name).write_bytes(b"x")
    assert [child.name for child in root.children()] == ["a", "b", "c"]


def test_delete_takes_files_and_folders_and_what_is_absent(root: Location) -> None:
    (root / "x" / "y").write_bytes(b"1")
    (root / "z").write_bytes(b"1")
    (root / "x").delete()
    (root / "z").delete()
    (root / "z").delete()
    assert not (root / "x" / "y").exists()
    assert not (root / "z").exists()


def test_tables_round_trip_with_a_record(root: Location) -> None:
    table = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    record = (root / "t.parquet").write_table(table)
    content = (root / "t.parquet").read_bytes()
    assert record.name == "t.parquet"
    assert record.rows == 3
    assert record.bytes == len(content)
    assert record.sha256 == hashlib.sha256(content).hexdigest()
    assert (root / "t.parquet").read_table(["b"]).column_names == ["b"]


def test_a_location_survives_pickling(root: Location) -> None:
    (root / "f").write_bytes(b"1")
    assert pickle.loads(pickle.dumps(root / "f")).read_bytes() == b"1"


def test_a_killed_write_leaves_the_old_content(tmp_path) -> None:
    place = Location.of(tmp_path) / "f"
    place.write_bytes(b"old")
    with pytest.raises(TypeError):
        place.write_bytes("not bytes")  # type: ignore[arg-type]
    assert place.read_bytes() == b"old"
    assert [child.name for child in place.parent.children()] == ["f"]
    assert len(list(tmp_path.iterdir())) == 1


def test_options_of_an_address_stay_with_children() -> None:
    child = Location.of("s3://bucket/run?region=eu-west-1") / "a" / "b"
    assert child.address == "s3://bucket/run/a/b?region=eu-west-1"
    assert str(child) == "s3://bucket/run/a/b"
    assert child.parent.address == "s3://bucket/run/a?region=eu-west-1"


def test_relative_and_file_addresses_become_absolute_paths(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location.of("x/y").address == str(tmp_path / "x/y")
    assert Location.of(f"file://{tmp_path}/x").address == f"{tmp_path}/x"


def test_fingerprints_stand_for_values() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint("x")) == 16
