"""Of a folder, only our own files are deleted."""

from __future__ import annotations

import re

import pytest

from dualprune.core.own_folder import discard
from dualprune.core.storage import Location
from dualprune.dynamics.layout import OWN_FILES

OURS = ("bucket=00000.parquet", "bucket=123456.parquet", "_commit.json", "_started.json", ".tmp-bucket=00001.parquet-1",
        "state/bucket=00000.npz", "state/_commit.json", "_survey.parquet")  # fmt: skip
OTHERS = (".DS_Store", "notes.txt", "bucket=00000 (copy).parquet", "bucket=0.parquet", "mine/bucket=00000.parquet")


def test_names_of_ours() -> None:
    assert all(OWN_FILES.fullmatch(name) for name in OURS)
    assert not any(OWN_FILES.fullmatch(name) for name in OTHERS)


@pytest.mark.parametrize("store", ["local", "s3"])
def test_what_is_not_ours_stays(store: str, request: pytest.FixtureRequest) -> None:
    folder = Location.of(request.getfixturevalue("s3" if store == "s3" else "tmp_path")) / "folder"
    discard(folder, OWN_FILES)
    for name in (*OURS, *OTHERS):
        (folder / name).write_bytes(b"x")
    discard(folder, OWN_FILES)
    assert folder.files() == sorted(OTHERS)
    discard(folder, re.compile(".*"))
    assert not folder.exists()
