"""The export stage: writes kept sets in the forms that training code reads.

exports/<name>/kept_*           lists of the kept samples, see `dualprune.exchange.kept_lists`
exports/<name>/kept.json        which selection of which run this is
exports/<name>/data/            the kept samples in the source's own form: Parquet of a table, tar shards, images
exports/<name>/removed.parquet  sample_id, position of the removed samples, on request
exports/<name>/_made_by.json    the mark by which a later export knows that it may replace the folder
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from dualprune.cluster.tasks import over_buckets
from dualprune.core.config import Config
from dualprune.core.outputs import Output
from dualprune.core.own_folder import MARK, check_own, replaced
from dualprune.core.parquet import WrittenFile
from dualprune.core.run import RunDirectory
from dualprune.core.sections import Images
from dualprune.core.storage import Location
from dualprune.data.kept_rows import KeptPart
from dualprune.data.listed_source import IMAGE_SUFFIXES
from dualprune.data.source import Shard, Source
from dualprune.dynamics.index import SampleIndex
from dualprune.exchange.kept import read_kept
from dualprune.exchange.kept_lists import FACTS, write_lists
from dualprune.stages.inputs import selection_inputs
from dualprune.stages.recorded_source import recorded_source
from dualprune.stages.select.names import selection_names

DATA, REMOVED = "data", "removed.parquet"
# The files of older versions, too.
WRITTEN = re.compile(
    r"mask\.npy|kept_[a-z]+\.(txt|npy)|kept\.json|removed\.parquet|data/part-\d{5}\.(parquet|tar)"
    rf"|data/.+/[^/]+(?i:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})"
)


def export_place(run: RunDirectory, config: Config, name: str) -> Location:
    """Return the folder of a selection's export."""
    return run.export(name) if config.export.path is None else Location.of(config.export.path) / name


def run_export(run: RunDirectory, config: Config, *, force: bool = False) -> None:
    """Export every selection of the configuration."""
    source: Source | None = None
    for name in selection_names(config):
        settings = config.identity("export")
        with run.stage(f"export.{name}", settings, selection_inputs(run, [name]), force=force) as stage:
            if stage.done:
                continue
            source = source or recorded_source(run, config)
            stage.summary, stage.outputs = _export(run, config, name, source)


def _export(run: RunDirectory, config: Config, name: str, source: Source) -> tuple[dict[str, Any], list[Output]]:
    """Replace a selection's export; return the summary of the stage, and the records of its files."""
    target = export_place(run, config, name)
    in_run = config.export.path is None
    check_own(target, "exports" if in_run else "export.path", WRITTEN, in_run=in_run)
    with replaced(target, {"export": name, "run": str(run)}) as place:
        num_kept, written = _write(run, config, name, source, place)
    outputs = Output.of_written(run.root, target, written)
    outputs += [Output.of(run.root, target / file) for file in (FACTS, MARK)]
    return {"kept": num_kept, "files": sum(file.startswith(f"{DATA}/") for file, _ in written)}, outputs


def _write(
    run: RunDirectory, config: Config, name: str, source: Source, place: Location
) -> tuple[int, list[tuple[str, WrittenFile]]]:
    """Write an export's files; return how many samples it keeps, and the names and digests of its files."""
    written = list(write_lists(run, name, config.export.lists, place))
    table = read_kept(run, name, ["position", "inclusion"])
    kept = np.asarray(table["position"])
    if config.export.removed:
        written.append((REMOVED, _write_removed(SampleIndex.load(run.index), kept, place / REMOVED)))
    rows = _export_rows(config, source, kept, np.asarray(table["inclusion"]), place / DATA)
    return len(kept), [*written, *((f"{DATA}/{file}", stream) for file, stream in rows)]


def _write_removed(index: SampleIndex, kept: np.ndarray, place: Location) -> WrittenFile:
    """Write sample_id and position of the samples that are not kept, bucket by bucket."""
    with place.table_writer() as writer:
        for bucket in range(index.num_buckets):
            start, stop = index.bucket_range(bucket)
            first, last = np.searchsorted(kept, [start, stop])
            removed = np.setdiff1d(np.arange(start, stop), kept[first:last], assume_unique=True)
            ids = index.read_bucket(bucket)["sample_id"].take(pa.array(removed - start))
            writer.write(pa.table({"sample_id": ids, "position": removed}))
    return writer.stream.written


def _export_rows(
    config: Config, source: Source, kept: np.ndarray, inclusion: np.ndarray, place: Location
) -> list[tuple[str, WrittenFile]]:
    """Write the kept samples in the source's own form, where it has one; return the files' paths and digests."""
    groups = source.export_groups(kept, config.export.max_rows_per_file)
    work = partial(_export_part, source, groups, kept, inclusion, place, config.export.images)
    return [file for files in over_buckets(work, range(len(groups)), config.scaling) for file in files]


def _export_part(
    source: Source,
    groups: list[list[Shard]],
    kept: np.ndarray,
    inclusion: np.ndarray,
    place: Location,
    images: Images,
    number: int,
) -> list[tuple[str, WrittenFile]]:
    return source.export(KeptPart.of(number, groups[number], kept, inclusion), place, images)
