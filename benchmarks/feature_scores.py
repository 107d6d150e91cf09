"""Seconds, seconds of processors (all threads) and peak memory of scores from features, on synthetic ones.

    python benchmarks/feature_scores.py d2 k_center herding semdedup --samples 60000 --width 512
    python benchmarks/feature_scores.py k_center --samples 1000000 --width 64 --option picks=0.01

Features are of 10 classes, normal around centres as far apart as the noise is wide. Each method runs in a process of
its own, after a call on a few samples, so that neither compilation nor the memory of another counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import Any

import numpy as np
import yaml

CLASSES = 10


def make(samples: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=samples)
    centres = rng.normal(size=(CLASSES, width)).astype(np.float32)
    features = rng.standard_normal((samples, width), dtype=np.float32)
    features += centres[labels]
    return features, labels, rng.random(samples)


def measure(method: str, samples: int, width: int, options: dict[str, Any], answers: Any) -> None:
    from dualprune.scores import from_features

    def score(size: int) -> None:
        more = {"score": hardness[:size]} if method == "d2" else {}
        from_features(method, features[:size], labels[:size], **more, **options)

    features, labels, hardness = make(samples, width)
    score(200)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, used = time.perf_counter(), time.process_time()
    score(samples)
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answers.put((seconds, used, (peak - held) / 1024, features.nbytes / 2**20))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of all the methods")
    given = parser.parse_args()
    options = {name: yaml.safe_load(value) for name, _, value in (one.partition("=") for one in given.option)}
    context = multiprocessing.get_context("spawn")
    for method in given.methods:
        answers = context.Queue()
        process = context.Process(target=measure, args=(method, given.samples, given.width, options, answers))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{method} ended with {process.exitcode}")
        seconds, used, memory, size = answers.get()
        what = f"{method} {given.samples:,} × {given.width} {options or ''}"
        took = f"{seconds:.1f} s, {used:.1f} s of processors"
        print(f"{what}: {took}, {memory:,.0f} MiB beside the {size:,.0f} MiB of features", flush=True)


if __name__ == "__main__":
    main()
