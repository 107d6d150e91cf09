"""Files of ids as people write them."""

from __future__ import annotations

import codecs
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import ConfigError, DataError
from dualprune.stages.select.id_files import listed_ids, read_ids

UUID = uuid.UUID("0f0e0d0c-0b0a-0908-0706-050403020100")


def index(id_type: str) -> SampleIndex:
    return SampleIndex(Location("/none"), 1, 1, 1, id_type, 1, ["a"], "f")


def read(place: Path, id_type: str = "string") -> list[Any]:
    found: list[Any] = read_ids(str(place), "select.always_keep", index(id_type)).to_pylist()
    return found


@pytest.mark.parametrize(
    "content",
    [
        b"s0001\ns0003",
        codecs.BOM_UTF8 + b"s0001\r\ns0003\r\n",
        b"\n\n s0001 \r\n\t\r\ns0003\rs0001\n",
        codecs.BOM_UTF16_LE + "s0001\r\ns0003\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "s0001\ns0003".encode("utf-16-be"),
    ],
)
def test_text_of_any_editor(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ids.txt").write_bytes(content)
    assert read(tmp_path / "ids.txt") == ["s0001", "s0003"]


@given(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, unique=True),
    st.sampled_from(["text", pa.int64(), pa.float64(), pa.string(), pa.large_string(), "categories"]),
    st.sampled_from(["int64", "string"]),
)
@settings(max_examples=50, deadline=None)
def test_whole_numbers_in_any_type(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], kind: Any, id_type: str
) -> None:
    place = tmp_path_factory.mktemp("ids") / ("ids.txt" if kind == "text" else "ids.parquet")
    if kind == "text":
        place.write_text("\n".join(map(str, values)))
    else:
        is_text = kind in (pa.string(), pa.large_string())
        array = pa.array(list(map(str, values)) if is_text else values)
        array = array.dictionary_encode() if kind == "categories" else array.cast(kind)
        pq.write_table(pa.table({"sample_id": array}), place)
    assert read(place, id_type) == (values if id_type == "int64" else list(map(str, values)))


def test_uuids_and_bytes(tmp_path: Path) -> None:
    raw = pa.array([UUID.bytes], pa.binary(16))
    for array, expected in ((raw.cast(pa.uuid()), str(UUID)), (raw, UUID.hex), (raw.cast(pa.binary()), UUID.hex)):
        pq.write_table(pa.table({"sample_id": array}), tmp_path / "ids.parquet")
        assert read(tmp_path / "ids.parquet") == [expected]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"s1\n\xff\xfe\xfd",
            r"select\.always_keep: .*ids\.txt is no UTF-8 text .*; write one id per line, or Parquet",
        ),
        (b"12\nx13\n", r"select\.always_keep: .*ids\.txt holds ids that are not int64, as the run's are: .*x13"),
    ],
)
def test_what_is_no_list_of_ids(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "ids.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "ids.txt", "int64")


def test_a_folder_and_missing_ids(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; expected a text file or Parquet"):
        listed_ids(str(tmp_path), "select.never_keep")
    pq.write_table(pa.table({"sample_id": ["a", None]}), tmp_path / "ids.parquet")
    with pytest.raises(DataError, match=r"select\.never_keep: 1 of the 2 ids in .* are missing"):
        listed_ids(str(tmp_path / "ids.parquet"), "select.never_keep")
