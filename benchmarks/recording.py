"""Measures scoring while recording, and stopping once scores have settled: the figures of docs/recording.md.

    python benchmarks/recording.py cost --samples 4000000
    python benchmarks/recording.py stop RUN [OTHER_RUN]

`cost` passes synthetic epochs of one owner to the running scores. It prints their seconds and bytes, the seconds of
writing the same epochs, and the seconds of one stability measurement. `stop` takes a run that recorded all its epochs.
It prints where each rule of `record.stable` would have stopped it, and how far the kept sets agree with those of all
epochs.
OTHER_RUN, the same with another `train.seed`, is the yardstick: how far two trainings on all epochs agree.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from itertools import product

import numpy as np
import pyarrow as pa

from dualprune.core.run import RunDirectory
from dualprune.core.sections import StableConfig
from dualprune.dynamics.index import SampleIndex, default_num_buckets
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter, lay_out
from dualprune.scores import Dual, DualAccumulator, MeanProb
from dualprune.selection.engine.drawing import DrawRules
from dualprune.selection.samplers.beta import Beta
from dualprune.selection.stability import Snapshot, movement, settled_at, snapshot
from dualprune.stages.score.running import RunningScores

WINDOW = 10
RATIOS = [0.3, 0.5, 0.7, 0.9]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    cost = commands.add_parser("cost")
    cost.add_argument("--samples", type=int, default=4_000_000)
    cost.add_argument("--epochs", type=int, default=14)
    stop = commands.add_parser("stop")
    stop.add_argument("runs", nargs="+", metavar="RUN")
    stop.add_argument("--c-d", type=float, default=4.0)
    arguments = parser.parse_args()
    if arguments.command == "cost":
        measure_cost(arguments.samples, arguments.epochs)
    else:
        measure_stop(arguments.runs, Beta(Beta.Options(c_d=arguments.c_d)))


def measure_cost(num_samples: int, num_epochs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(folder)
        labels = np.zeros(num_samples, dtype=np.int64)
        index = SampleIndex.build(
            run.index,
            [pa.record_batch({"sample_id": pa.array(np.arange(num_samples)), "label": pa.array(labels)})],
            num_samples=num_samples,
            num_buckets=default_num_buckets(num_samples, 1),
            classes=["a", "b"],
            fingerprint="x",
        )
        writer = DynamicsWriter(run.dynamics, index, ("target_prob",), "x")
        random = np.random.default_rng(0)
        warm = DualAccumulator(10, 2)
        for epoch in range(3):
            warm.update(epoch, {"target_prob": np.zeros(10, np.float32)}, np.ones(10, dtype=bool))
        scores = RunningScores(index, {"dual": Dual()})
        writes, early, late = [], [], []
        for epoch in range(num_epochs):
            for bucket in range(index.num_buckets):
                start, stop = index.bucket_range(bucket)
                values = random.random((1, stop - start), dtype=np.float32)
                started = time.perf_counter()
                dense, seen = lay_out(index, bucket, np.arange(start, stop), {"target_prob": values[0]})
                writer.write_dense(epoch, bucket, dense, seen)
                written = time.perf_counter()
                scores.update(epoch, bucket, dense, seen)
                writes.append(written - started)
                (late if epoch + 1 >= WINDOW else early).append(time.perf_counter() - written)
        per_million = index.num_buckets * 1e6 / num_samples
        print(f"{num_samples:,} samples, {index.num_buckets} buckets, {num_epochs} epochs, window {WINDOW}")
        print(f"write an epoch         {np.mean(writes) * per_million:8.3f} s per million samples")
        print(f"update, before window  {np.mean(early) * per_million:8.3f} s per million samples")
        print(f"update, from window on {np.mean(late) * per_million:8.3f} s per million samples")
        print(f"update / write         {np.mean(late) / np.mean(writes):8.2f}")
        print(f"memory                 {held_bytes(index) / num_samples:8.1f} bytes per sample")
    count = min(num_samples, 1_000_000)
    started = time.perf_counter()
    scores = random.random(count), random.random(count)
    first = snapshot(Beta(), DrawRules(tuple(RATIOS)), *scores, np.arange(count))
    movement(0, first, first)
    print(f"measure {count:,} samples at {len(RATIOS)} ratios {time.perf_counter() - started:8.2f} s")


def held_bytes(index: SampleIndex) -> int:
    """Return the bytes that running scores hold after a window of epochs."""
    tracemalloc.start()
    scores = RunningScores(index, {"dual": Dual()})
    for epoch in range(WINDOW):
        for bucket in range(index.num_buckets):
            start, stop = index.bucket_range(bucket)
            seen = np.ones(stop - start, dtype=bool)
            scores.update(epoch, bucket, {"target_prob": np.zeros(stop - start, np.float32)}, seen)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


def measure_stop(runs: list[str], sampler: Beta) -> None:
    snaps = [snapshots(run, sampler) for run in runs]
    first = snaps[0]
    last = max(first)
    print(f"{runs[0]}: {last + 1} epochs, window {WINDOW}, beta at {RATIOS}, c_d {sampler.options.c_d:g}")
    for other, found in zip(runs[1:], snaps[1:], strict=True):
        row = movement(last, first[last], found[last])
        print(f"all epochs of {other}, another seed: {words(row['correlation'], row['overlap'])}")
    print("\nepochs used | correlation and overlap with 3 epochs earlier | with all epochs")
    for epoch in first:
        if epoch - 3 in first:
            now, whole = movement(epoch, first[epoch], first[epoch - 3]), movement(epoch, first[epoch], first[last])
            print(
                f"{epoch + 1:11} | {words(now['correlation'], now['overlap'])} | "
                f"{words(whole['correlation'], whole['overlap'])}"
            )
    print("\nlag overlap correlation patience | epochs used, saved | with all epochs")
    for lag, overlap, correlation, patience in product((1, 3, 5), (0.85, 0.9, 0.95), (0.9, 0.95, 0.98), (2,)):
        rows = [movement(epoch, first[epoch], first[epoch - lag]) for epoch in first if epoch - lag in first]
        rule = StableConfig(overlap=overlap, correlation=correlation, lag=lag, patience=patience)
        settled = settled_at(rows, rule)
        text = f"{lag:3} {overlap:7} {correlation:11} {patience:8} | "
        if settled is None:
            print(f"{text}does not stop")
            continue
        whole = movement(settled, first[settled], first[last])
        saved = 1 - (settled + 1) / (last + 1)
        print(f"{text}{settled + 1:3} {saved:4.0%} | {words(whole['correlation'], whole['overlap'])}")


def snapshots(run: str, sampler: Beta) -> dict[int, Snapshot]:
    """Return the snapshots after each epoch, from the end of the first window on."""
    store = DynamicsStore(run)
    prob = np.concatenate([store.read_bucket(bucket)["target_prob"] for bucket in range(store.num_buckets)])
    ids = store.index.read()["sample_id"].combine_chunks()
    accumulator, mean = DualAccumulator(len(prob), WINDOW), MeanProb(len(prob))
    everyone = np.ones(len(prob), dtype=bool)
    found = {}
    for epoch in range(prob.shape[1]):
        for follower in (accumulator, mean):
            follower.update(epoch, {"target_prob": prob[:, epoch]}, everyone)
        if epoch + 1 >= WINDOW:
            found[epoch] = snapshot(sampler, DrawRules(tuple(RATIOS)), accumulator.result(), mean.result(), ids)
    return found


def words(correlation: float, overlap: dict[str, float]) -> str:
    return f"{correlation:.3f}  " + " ".join(f"{value:.3f}" for value in overlap.values())


if __name__ == "__main__":
    main()
