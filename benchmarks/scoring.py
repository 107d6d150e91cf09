"""Measures scoring: kernels, the stage on disk against plain reading and Ray Data, memory, encodings, import.

python benchmarks/scoring.py kernel | stage | groupby | memory | encodings | long-import
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import FileRecord
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import BUCKET_ROWS, ROW_GROUP_ROWS
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.scores import Dual, dual
from dualprune.stages.score.stage import ScoreJob, run_score, score_bucket

app = typer.Typer(add_completion=False, no_args_is_help=True)
Folder = Annotated[Path | None, typer.Option(help="Where to put the synthetic runs; they are removed afterwards.")]
WINDOW = 10
# Number of distinct buckets to generate; the others repeat their values.
PATTERNS = 4


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"load before {os.getloadavg()[0]:.1f}; numpy {np.__version__}, pyarrow {pa.__version__}"
    )


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Return the shortest of several times."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def made_up(num_samples: int, num_epochs: int, seed: int = 0) -> np.ndarray:
    """Return float32 [T, n]: probabilities that rise over the epochs at each sample's own speed, with noise."""
    rng = np.random.default_rng(seed)
    start, speed = rng.normal(-2, 1.5, num_samples), rng.gamma(2.0, 0.12, num_samples)
    logits = np.empty((num_epochs, num_samples), np.float32)
    for epoch in range(num_epochs):
        logits[epoch] = start + speed * epoch
        logits[epoch] += rng.standard_normal(num_samples, dtype=np.float32)
    np.negative(logits, out=logits)
    np.exp(logits, out=logits)
    logits += 1
    return np.reciprocal(logits, out=logits)


@app.command()
def kernel() -> None:
    """Compare `dual` with the published loop over windows, both on one thread of this process."""
    import torch

    torch.set_num_threads(1)

    def published(prob: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(prob.shape[1])
        for k in range(len(prob) - WINDOW + 1):
            part = prob[k : k + WINDOW]
            total += part.std(0) * (1 - part.mean(0))
        return total / (len(prob) - WINDOW + 1)

    print(machine())
    for num_samples, num_epochs in ((1_280_000, 60), (50_000, 30)):
        columns = made_up(num_samples, num_epochs)
        rows = np.ascontiguousarray(columns.T)
        tensor = torch.from_numpy(columns)
        dual(columns[:, :10].T), dual(rows[:10])  # compiled here
        np.testing.assert_allclose(dual(columns.T), published(tensor).numpy(), rtol=2e-2, atol=1e-5)
        np.testing.assert_array_equal(dual(columns.T), dual(rows))
        direct = seconds(partial(published, tensor), 3)
        by_column = seconds(partial(dual, columns.T), 7)
        by_row = seconds(partial(dual, rows), 7)
        copy = seconds(columns.copy, 3)
        print(f"{num_samples:,} x {num_epochs}: direct {direct:.3f} s, copy of the input {copy:.3f} s")
        print(f"  float32 columns  {by_column:.4f} s  {direct / by_column:5.0f} times faster")
        print(f"  row-major        {by_row:.4f} s  {direct / by_row:5.0f} times faster")


@contextmanager
def made_run(folder: Path | None, num_samples: int, num_epochs: int) -> Iterator[RunDirectory]:
    """Write a run's index and dynamics, alternating between a few distinct buckets; remove the run at the end."""
    base = Path(tempfile.mkdtemp(prefix="scoring-", dir=folder))
    run = RunDirectory(base / "run")
    try:

        def batches() -> Iterator[pa.RecordBatch]:
            for start in range(0, num_samples, BUCKET_ROWS):
                ids = np.arange(start, min(start + BUCKET_ROWS, num_samples))
                yield pa.record_batch({"sample_id": ids, "label": ids % 1000})

        index = SampleIndex.build(
            run.index,
            batches(),
            num_samples=num_samples,
            num_buckets=-(-num_samples // BUCKET_ROWS),
            classes=[str(c) for c in range(1000)],
            fingerprint="made-up",
        )
        writer = DynamicsWriter(run.dynamics, index, ("target_prob",), "made-up")
        files: dict[int, list[FileRecord]] = {epoch: [] for epoch in range(num_epochs)}
        for pattern in range(min(PATTERNS, index.num_buckets)):
            prob = made_up(index.bucket_rows, num_epochs, pattern)
            for epoch in range(num_epochs):
                for bucket in range(pattern, index.num_buckets, PATTERNS):
                    start, stop = index.bucket_range(bucket)
                    values = prob[epoch, : stop - start][None]
                    files[epoch].append(writer.write_bucket(epoch, bucket, np.arange(start, stop), values))
        for epoch, records in files.items():
            writer.commit(epoch, records)
        with run.stage("record", {}) as stage:
            stage.summary = {"epochs": num_epochs}
        os.sync()
        yield run
    finally:
        shutil.rmtree(base)


def read_all(run: RunDirectory) -> None:
    """Read every column of the dynamics with pyarrow, one file per job, on as many threads as there are cores."""
    store = DynamicsStore(run)
    places = [store.file(epoch, bucket).path for bucket in range(store.num_buckets) for epoch in store.epochs]

    def read(place: str) -> None:
        with pq.ParquetFile(place) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group, use_threads=False)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(read, places))


def forget(run: RunDirectory) -> None:
    """Drop a run's files from the page cache, so that the next read comes from the disk."""
    os.sync()
    for place in Path(run.root.address).rglob("*.parquet"):
        with place.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@app.command()
def stage(samples: int = 20_000_000, epochs: int = 30, repeats: int = 3, folder: Folder = None) -> None:
    """Compare the stage on disk (read, score, write) with reading the same columns with pyarrow alone."""
    import ray

    print(machine())
    ray.init(
        address="local", num_cpus=os.cpu_count(), include_dashboard=False, logging_level="error", log_to_driver=False
    )
    config = make_config({"record": {"epochs": epochs}, "train": {"epochs": epochs}})
    with made_run(None, 10_000, epochs) as small:
        run_score(small, config)  # compiles and starts the workers
        fixed = seconds(lambda: run_score(small, config, force=True), 3)
    print(f"10,000 x {epochs}: {fixed:.2f} s fixed cost of the stage, whatever the number of samples")
    with made_run(folder, samples, epochs) as run:
        for cached in (False, True):
            times: dict[str, list[float]] = {"read": [], "stage": []}
            for _ in range(repeats):
                for name, work in (
                    ("read", lambda: read_all(run)),
                    ("stage", lambda: run_score(run, config, force=True)),
                ):
                    if not cached:
                        forget(run)
                    times[name].append(seconds(work))
            bare, scored = min(times["read"]), min(times["stage"])
            print(f"{samples:,} x {epochs}, {'in the page cache' if cached else 'from the disk'}:")
            print(f"  pyarrow reads in {bare:.2f} s, the stage takes {scored:.2f} s: {scored / bare:.2f} times as long")
            rounded = {name: [round(taken, 2) for taken in values] for name, values in times.items()}
            print(f"  {samples / scored:,.0f} samples/s; all times: {rounded}")


@app.command()
def groupby(samples: int = 50_000, epochs: int = 30, stage_samples: int = 4_000_000, folder: Folder = None) -> None:
    """Compare the time per row of the stage with that of Ray Data grouping the long table by sample_id."""
    import ray
    import ray.data
    from ray.data.aggregate import Mean, Std

    print(machine())
    ray.init(
        address="local", num_cpus=os.cpu_count(), include_dashboard=False, logging_level="error", log_to_driver=False
    )
    prob = made_up(samples, epochs)
    table = pa.table(
        {"sample_id": np.tile(np.arange(samples), epochs), "target_prob": prob.reshape(-1)},
    )
    tables = [table.slice(start, samples) for start in range(0, len(table), samples)]

    def grouped() -> None:
        columns = ray.data.from_arrow(tables).groupby("sample_id").aggregate(Mean("target_prob"), Std("target_prob"))
        assert columns.materialize().count() == samples

    config = make_config({"record": {"epochs": epochs}, "train": {"epochs": epochs}})
    with made_run(None, 10_000, epochs) as small:
        run_score(small, config)
    per_row = seconds(grouped) / (samples * epochs)
    with made_run(folder, stage_samples, epochs) as run:
        ours = seconds(lambda: run_score(run, config), 1) / (stage_samples * epochs)
    print(f"groupby, {samples:,} x {epochs}: {per_row * 1e9:,.0f} ns per row (one mean and one deviation, no windows)")
    print(f"stage, {stage_samples:,} x {epochs}: {ours * 1e9:.2f} ns per row; {per_row / ours:,.0f} times faster")


def _score_worker(run: str, epochs: int, queue: multiprocessing.Queue) -> None:
    pa.set_cpu_count(1)
    job = ScoreJob(run, {"dual": Dual()}, range(epochs), "raise")
    begin = time.perf_counter()
    for bucket in range(DynamicsStore(run).num_buckets):
        score_bucket(job, bucket)
    taken = time.perf_counter() - begin
    queue.put((taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


@app.command()
def memory(
    sizes: Annotated[list[int] | None, typer.Option("--size", help="Samples, in millions.")] = None,
    epochs: int = 30,
    folder: Folder = None,
) -> None:
    """Score growing numbers of samples in one worker process, and print its peak memory and time."""
    print(machine())
    print(f"{'samples':>14} {'seconds':>9} {'us/sample':>10} {'peak RSS MiB':>13}")
    context = multiprocessing.get_context("spawn")
    for size in sizes or [1, 5, 20, 50]:
        with made_run(folder, size * 1_000_000, epochs) as run:
            queue = context.Queue()
            worker = context.Process(target=_score_worker, args=(str(run), epochs, queue))
            worker.start()
            taken, peak = queue.get()
            worker.join()
        print(f"{size * 1_000_000:14,} {taken:9.2f} {taken / size:10.3f} {peak:13.0f}", flush=True)


@app.command()
def encodings(samples: int = 1_000_000, epochs: int = 10, folder: Folder = None) -> None:
    """Compare encodings of float32 probabilities: size, and times to write and read on one thread."""
    print(machine())
    prob = made_up(samples, epochs)
    base = Path(tempfile.mkdtemp(prefix="encodings-", dir=folder))
    print(f"{'encoding':<30} {'B/value':>8} {'write ns':>9} {'read ns':>8}")
    try:
        for split in (True, False):
            for compression in ("none", "lz4", "zstd", "snappy"):
                place = base / hashlib.sha256(f"{split}{compression}".encode()).hexdigest()[:8]
                options = {
                    "row_group_size": ROW_GROUP_ROWS,
                    "compression": compression,
                    "use_dictionary": False,
                    "write_statistics": False,
                    "column_encoding": {"p": "BYTE_STREAM_SPLIT" if split else "PLAIN"},
                }

                def write(place: Path = place, options: dict = options) -> None:
                    for epoch in range(epochs):
                        pq.write_table(pa.table({"p": prob[epoch]}), f"{place}-{epoch}", **options)

                def read(place: Path = place) -> None:
                    for epoch in range(epochs):
                        pq.ParquetFile(f"{place}-{epoch}").read(use_threads=False)

                values = samples * epochs
                written, got = seconds(write, 2), seconds(read, 3)
                size = sum(Path(f"{place}-{epoch}").stat().st_size for epoch in range(epochs))
                name = f"{'byte-stream-split' if split else 'plain'} + {compression}"
                print(f"{name:<30} {size / values:8.2f} {written / values * 1e9:9.2f} {got / values * 1e9:8.2f}")
    finally:
        shutil.rmtree(base)


@app.command()
def long_import(samples: int = 500_000, epochs: int = 20, folder: Folder = None) -> None:
    """Import an unsorted long table, one row per sample and epoch, and print the time in total and per row."""
    import ray

    from dualprune.exchange.importing import import_file

    print(machine())
    ray.init(
        address="local", num_cpus=os.cpu_count(), include_dashboard=False, logging_level="error", log_to_driver=False
    )
    base = Path(tempfile.mkdtemp(prefix="import-", dir=folder))
    try:
        prob = made_up(samples, epochs)
        order = np.random.default_rng(0).permutation(samples * epochs)
        sample, epoch = order % samples, order // samples
        table = pa.table(
            {"sample_id": sample, "epoch": epoch, "target_prob": prob[epoch, sample], "label": sample % 1000}
        )
        pq.write_table(table, base / "long.parquet")
        del table, order, sample, epoch, prob
        taken = seconds(lambda: import_file(base / "long.parquet", base / "run"))
        rows = samples * epochs
        print(f"{rows:,} rows, {samples:,} x {epochs}: {taken:.1f} s, {taken / rows * 1e9:.0f} ns per row")
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    app()
