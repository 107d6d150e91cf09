from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from dualprune.core.storage import Location, fingerprint
from dualprune.errors import DataError, StorageError


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


def test_a_question_mark_in_a_path_is_part_of_a_name(tmp_path: Path) -> None:
    place = Location.of(tmp_path) / "why?" / "a?b.png"
    place.write_bytes(b"image")
    assert (place.name, place.parent.name, str(place)) == ("a?b.png", "why?", f"{tmp_path}/why?/a?b.png")
    assert place.below(Location.of(tmp_path)) == "why?/a?b.png"
    assert place.path_inside(place.parent) == "a?b.png"
    assert place.parent.looks()["a?b.png"][0] == 5
    assert [child.read_bytes() for child in place.parent.children()] == [b"image"]


def test_relative_and_file_addresses_become_absolute_paths(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location.of("x/y").address == str(tmp_path / "x/y")
    assert Location.of(f"file://{tmp_path}/x").address == f"{tmp_path}/x"


def test_fingerprints_stand_for_values() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint("x")) == 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"manifest\.json is damaged: it is not JSON .*; restore it from a copy, or delete it"),
        (b'{"stage": "rec', "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"null", "it holds NoneType, not a mapping"),
        (b"[]", "it holds list, not a mapping"),
        (b"3", "it holds int, not a mapping"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    place = Location.of(tmp_path / "manifest.json")
    place.write_bytes(content)
    with pytest.raises(DataError, match=message):
        place.read_record()


def test_a_key_that_a_record_lacks_is_named(tmp_path: Path) -> None:
    place = Location.of(tmp_path / "manifest.json")
    place.write_json({"stage": "record"})
    record = pickle.loads(pickle.dumps(place.read_record()))
    assert record["stage"] == "record"
    assert record.get("status") is None
    with pytest.raises(DataError, match=r"manifest\.json is damaged: it has no 'status'; restore it from a copy"):
        record["status"]


def test_what_a_file_system_reports_names_the_place(tmp_path: Path) -> None:
    missing = Location.of(tmp_path / "missing")
    for action in (missing.read_bytes, missing.open_input, missing.read_json):
        with pytest.raises(StorageError, match=r"missing cannot be (read|opened)"):
            action()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file/below cannot be written"):
        Location.of(tmp_path / "file" / "below").write_bytes(b"x")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"broken\.parquet is missing or damaged \(.*\); restore it from a copy"):
        Location.of(tmp_path / "broken.parquet").read_table()
    with pytest.raises(DataError, match=r"missing is missing; import it again"):
        missing.read_table(remedy="import it again")


def test_an_object_store_that_refuses_or_is_away_is_an_error(s3: str) -> None:
    bucket, _, options = s3.partition("?")
    other = (
        bucket.replace("s3://bucket/", "s3://no-such-bucket/")
        + "?"
        + options.replace("&allow_bucket_creation=true", "")
    )
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/.* cannot be written"):
        (Location.of(other) / "x").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"cannot be read"):
        (Location.of(s3) / "nothing").read_bytes()
