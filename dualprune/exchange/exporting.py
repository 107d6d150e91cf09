"""Exports a run's dynamics for other programs: .npz arrays [T, N], or Parquet in wide or long form.

`import_file` reads these files, except for statistics of several values per sample: [T, N, K], or lists of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.cluster.tasks import over_buckets
from dualprune.core.arguments import check_choice
from dualprune.core.own_folder import replaced
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.blocks import Block, read_blocks
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import to_arrow
from dualprune.errors import RunError
from dualprune.exchange.room import check_export, marked_npz

Form = Literal["wide", "long"]


def export_dynamics(
    run: RunDirectory | Location | str | os.PathLike[str],
    to: Location | str | os.PathLike[str],
    *,
    form: Form = "wide",
    force: bool = False,
) -> int:
    """Write all committed epochs and return the number of samples.

    Args:
        run: the run directory.
        to: a name that ends with .npz, for sample_id and label [N] and one array [T, N] per statistic, made in memory;
            otherwise a folder, which gets one Parquet file per bucket, written block by block.
        form: of Parquet: "wide", one row per sample with one list [T] per statistic; "long", one row per sample and
            epoch that has values.
        force: replace an earlier export.

    Raises:
        RunError: the run has no epochs, or `to` exists; or, with `force`, holds anything but an export.
        ConfigError: `form` is neither "wide" nor "long".
    """
    check_choice("form", form, Form)
    store = DynamicsStore(run)
    place = Location.of(to)
    names = store.check_columns(None)
    store.check_whole()
    if place.exists():
        if not force:
            raise RunError(f"{place} exists; export to another place, or pass force=True to replace it")
        check_export(place, store.run)
    if place.name.endswith(".npz"):
        _write_arrays(store, names, place)
        return store.num_samples
    with replaced(place, {"what": "dynamics", "run": str(store.run)}) as folder:
        work = partial(_write_bucket, str(store.run.root.address), names, folder, form)
        for _ in over_buckets(work, range(store.num_buckets), title="export"):
            pass
    return store.num_samples


def _write_arrays(store: DynamicsStore, names: tuple[str, ...], place: Location) -> None:
    index = store.index.read()
    arrays = {"sample_id": np.asarray(index["sample_id"]), "label": np.asarray(index["label"])}
    if store.index.id_type == "string":
        # Fixed-width text: numpy would have to pickle objects.
        arrays["sample_id"] = arrays["sample_id"].astype(np.str_)
    for bucket in range(store.num_buckets):
        start, stop = store.index.bucket_range(bucket)
        for name, found in store.read_bucket(bucket, names).items():
            values = _of_all_epochs(found, store.epochs)
            if name not in arrays:
                arrays[name] = np.empty((len(store.epochs), store.num_samples, *values.shape[2:]), np.float32)
            arrays[name][:, start:stop] = np.moveaxis(values, 1, 0)
    place.write_bytes(marked_npz(arrays))


def _write_bucket(run: str, names: tuple[str, ...], folder: Location, form: Form, bucket: int) -> None:
    store = DynamicsStore(run)
    tables = _wide if form == "wide" else _long
    with (folder / f"part-{bucket:05d}.parquet").table_writer(compression="zstd") as writer:
        for block in read_blocks(store, bucket, names, store.epochs):
            for table in tables(block, store.epochs):
                writer.write(table)


def _of_all_epochs(values: NDArray[np.float32], epochs: list[int]) -> NDArray[np.float32]:
    """Return values [n, T, …] with NaN for the epochs before the statistic's first one."""
    before = len(epochs) - values.shape[1]
    if not before:
        return values
    return np.concatenate([np.full((len(values), before, *values.shape[2:]), np.nan, np.float32), values], axis=1)


def _wide(block: Block, epochs: list[int]) -> Iterator[pa.Table]:
    table = block.index
    for name, found in block.statistics.items():
        values = _of_all_epochs(found, epochs)
        flat = to_arrow(values.reshape(-1, *values.shape[2:]))
        table = table.append_column(name, pa.FixedSizeListArray.from_arrays(flat, len(epochs)))
    yield table


def _long(block: Block, epochs: list[int]) -> Iterator[pa.Table]:
    statistics = {name: _of_all_epochs(values, epochs) for name, values in block.statistics.items()}
    for row, epoch in enumerate(epochs):
        columns = {name: values[:, row] for name, values in statistics.items()}
        known = ~np.all([np.isnan(values).reshape(len(values), -1).all(1) for values in columns.values()], axis=0)
        table = block.index.append_column("epoch", pa.array(np.full(len(known), epoch, np.int32)))
        for name, values in columns.items():
            table = table.append_column(name, to_arrow(np.ascontiguousarray(values)))
        yield table if known.all() else table.filter(pa.array(known))
