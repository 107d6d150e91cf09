"""Names and encodings of the dynamics store: the one place that knows how its files look.

dynamics/epoch=0012/bucket=00003.parquet   float32, one column a statistic, rows in position order
dynamics/epoch=0012/_commit.json           the epoch counts when this is there
"""

from __future__ import annotations

from typing import Any

COMMIT = "_commit.json"
VALID = "valid"
# Readers hold one row group of every epoch at a time. All epochs share the boundaries.
ROW_GROUP_ROWS = 131_072
BUCKET_ROWS = 1_000_000


def epoch_name(epoch: int) -> str:
    """Return the folder name of an epoch."""
    return f"epoch={epoch:04d}"


def epoch_number(name: str) -> int:
    """Return the epoch of a folder name."""
    return int(name.removeprefix("epoch="))


def bucket_name(bucket: int) -> str:
    """Return the file name of a bucket."""
    return f"bucket={bucket:05d}.parquet"


def statistics_options(columns: list[str]) -> dict[str, Any]:
    """Return the Parquet options of float32 statistics columns: cheap to decode, still a fifth smaller than raw."""
    return {
        "row_group_size": ROW_GROUP_ROWS,
        "compression": "lz4",
        "use_dictionary": False,
        "write_statistics": False,
        "column_encoding": dict.fromkeys(columns, "BYTE_STREAM_SPLIT"),
    }
