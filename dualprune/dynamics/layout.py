"""Names and encodings of the dynamics store's files, defined here alone.

dynamics/epoch=0012/bucket=00003.parquet   float32, one column per statistic, rows in position order
dynamics/epoch=0012/state/                 what recording needs to resume after this epoch, see `state`
dynamics/epoch=0012/_commit.json           the epoch counts when this is there, see `commit`
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

VALID = "valid"
# Readers hold one row group of every epoch at a time. All epochs share the boundaries.
ROW_GROUP_ROWS = 131_072
BUCKET_ROWS = 1_000_000


def epoch_name(epoch: int) -> str:
    """Return the folder name of an epoch."""
    return f"epoch={epoch:04d}"


def epoch_number(name: str) -> int | None:
    """Return the epoch of a folder name; None where it is no name of ours."""
    digits = name.removeprefix("epoch=")
    return int(digits) if digits.isascii() and digits.isdigit() and name == epoch_name(int(digits)) else None


# What this package writes into a folder of buckets, by its path inside it.
OWN_FILES = re.compile(r"bucket=\d{5,}\.parquet|state/[^/]+\.npz|(state/)?(_\w+\.(json|parquet)|\.tmp-[^/]+)")


def bucket_name(bucket: int) -> str:
    """Return the file name of a bucket."""
    return f"bucket={bucket:05d}.parquet"


def statistics_options() -> dict[str, Any]:
    """Return the Parquet options of float32 statistics columns: plain and uncompressed, which reads fastest.

    Probabilities are noise in all but their first bits. Byte-stream-split with LZ4 saves a tenth of the bytes and makes
    reading a third slower; with zstd it saves an eighth, and reading takes three times as long
    (`benchmarks/scoring.py encodings`).
    """
    return {
        "row_group_size": ROW_GROUP_ROWS,
        "compression": "none",
        "use_dictionary": False,
        "write_statistics": False,
    }


def fast_encoding(schema: pa.Schema) -> dict[str, Any]:
    """Return the Parquet options by which samples are read fastest: differences of whole numbers, no dictionary.

    Compression makes neither scores nor differences smaller, only names.
    """
    texts = {name for name in schema.names if pa.types.is_string(schema.field(name).type)}
    whole = {"sample_id", "position", "label"} & set(schema.names) - texts
    return {
        "compression": {name: "lz4" if name in texts else "none" for name in schema.names},
        "write_statistics": False,
        "use_dictionary": False,
        "column_encoding": dict.fromkeys(sorted(whole), "DELTA_BINARY_PACKED"),
    }
