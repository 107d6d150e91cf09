"""Finds samples with identical image bytes, without collecting all digests in one place.

duplicates/duplicates.parquet   sample_id, position, duplicate_of: all but the first by id of each set of equal images
"""

from __future__ import annotations

import hashlib
from functools import partial

import numpy as np
import pyarrow as pa

from dualprune.cluster.tasks import over_buckets
from dualprune.core import parquet
from dualprune.core.config import Config
from dualprune.core.outputs import Output
from dualprune.core.run import RunDirectory
from dualprune.core.sections import ScalingConfig
from dualprune.core.storage import Location
from dualprune.data.source import Source
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.metadata import read_checked, with_facts
from dualprune.stages.recorded_source import recorded_source

# About this many digests are compared at a time.
RANGE_SAMPLES = 1 << 22
SCHEMA = pa.schema({"digest": pa.binary(16), "position": pa.int64()})


def find_duplicates(run: RunDirectory, config: Config, index: SampleIndex) -> np.ndarray:
    """Return the positions of samples that have the same image as a sample with a smaller id; int64 ascending."""
    folder = run.root / "duplicates"
    place = folder / "duplicates.parquet"
    with run.stage("duplicates", {}, [index.fingerprint]) as stage:
        if not stage.done:
            folder.delete()
            table = _find(recorded_source(run, config), config.scaling, index, folder / "digests")
            (folder / "digests").delete()
            place.write_table(with_facts(table, run=index.fingerprint, rows=table.num_rows))
            stage.outputs = [Output.of(run.root, place)]
            stage.summary = {"duplicates": table.num_rows}
        remedy = "delete it and manifests/duplicates.json, and select again"
        found = read_checked(place, ["position"], remedy, run=index.fingerprint, rows=stage.summary["duplicates"])
    return np.sort(np.asarray(found["position"]))


def _find(source: Source, scaling: ScalingConfig, index: SampleIndex, scratch: Location) -> pa.Table:
    num_shards = len(source.shards("train"))
    num_ranges = max(1, -(-index.num_samples // RANGE_SAMPLES))
    for _ in over_buckets(partial(_write_digests, source, scratch, num_ranges), range(num_shards), scaling):
        pass
    found_equal = over_buckets(partial(_equal, scratch, num_shards), range(num_ranges), scaling)
    sets = [equal for found in found_equal for equal in found]
    positions = np.unique(np.concatenate([*sets, np.zeros(0, dtype=np.int64)]))
    buckets = np.unique(positions // index.bucket_rows).tolist()
    ids: dict[int, int | str] = {}
    for found in over_buckets(partial(_ids, index, positions), buckets, scaling):
        ids.update(found)
    later = []
    for equal in sets:
        first, *others = sorted((ids[int(position)], int(position)) for position in equal)
        later += [(sample_id, position, first[0]) for sample_id, position in others]
    later.sort(key=lambda row: row[1])
    id_type = pa.int64() if index.id_type == "int64" else pa.string()
    columns = list(zip(*later, strict=True)) or [(), (), ()]
    return pa.table(
        {
            "sample_id": pa.array(columns[0], type=id_type),
            "position": pa.array(columns[1], type=pa.int64()),
            "duplicate_of": pa.array(columns[2], type=id_type),
        }
    )


def _write_digests(source: Source, scratch: Location, num_ranges: int, number: int) -> int:
    """Write a shard's digests, one row group per range of digests, so that a range is read without the others."""
    shard = source.shards("train")[number]
    images = source.image_bytes(shard)
    known = [row for row, image in enumerate(images) if image is not None]
    digests = [hashlib.blake2b(images[row] or b"", digest_size=16).digest() for row in known]
    ranges = np.array([int.from_bytes(digest[:4], "big") * num_ranges >> 32 for digest in digests], dtype=np.int64)
    table = pa.table([pa.array(digests, pa.binary(16)), shard.start + np.array(known, dtype=np.int64)], schema=SCHEMA)
    file = scratch / f"shard={number:06d}.parquet"
    with file.open_output() as stream, parquet.writer(stream, SCHEMA) as writer:
        for part in range(num_ranges):
            writer.write_table(table.filter(pa.array(ranges == part)))
    return len(known)


def _equal(scratch: Location, num_shards: int, part: int) -> list[np.ndarray]:
    """Return the positions of each set of equal images in a range of digests."""
    tables = []
    for number in range(num_shards):
        place = scratch / f"shard={number:06d}.parquet"
        with parquet.reading(place, "select again"), place.open_input() as stream:
            tables.append(parquet.opened(stream).read_row_group(part))
    table = pa.concat_tables(tables)
    if not table.num_rows:
        return []
    # Two whole numbers compare faster than bytes.
    digests = np.frombuffer(b"".join(table["digest"].to_pylist()), dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort(digests.T)
    digests = digests[order]
    begins = np.flatnonzero((digests[1:] != digests[:-1]).any(axis=1)) + 1
    return [equal for equal in np.split(np.asarray(table["position"])[order], begins) if len(equal) > 1]


def _ids(index: SampleIndex, positions: np.ndarray, bucket: int) -> dict[int, int | str]:
    start, stop = index.bucket_range(bucket)
    here = positions[(positions >= start) & (positions < stop)]
    ids = index.read_bucket(bucket)["sample_id"].take(pa.array(here - start))
    return dict(zip(here.tolist(), ids.to_pylist(), strict=True))
