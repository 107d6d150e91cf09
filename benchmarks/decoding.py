"""Measures decoding: images per second of processor time, and what decoding at a fraction of the size does to values.

    taskset -c 0 python benchmarks/decoding.py

Uses synthetic JPEGs, of smoothed noise, at the sizes of photographs. Compares the rule of decoding of this version with
the one before it, which decoded every image whole: the figures of docs/recording.md.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dualprune.data.decoding import Wanted, decode

CASES = [((375, 500), 64), ((375, 500), 112), ((375, 500), 224), ((1500, 2000), 224)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"{'pixels':>12}{'kB':>6}{'image_size':>12}{'rule 1':>9}{'rule 2':>9}   images/s   difference from whole")
    for (height, width), size in CASES:
        files = [made_jpeg(height, width, seed) for seed in range(asked.images)]
        rules = [Wanted(3, size, 50_000_000, rule) for rule in (1, 2)]
        rates = [len(files) / fastest(files, wanted, asked.rounds) for wanted in rules]
        differences = [difference(content, rules[1]) for content in files]
        kilobytes = sum(map(len, files)) / len(files) / 1000
        print(
            f"{f'{width} × {height}':>12}{kilobytes:>6.0f}{size:>12}{rates[0]:>9.0f}{rates[1]:>9.0f}"
            f"{np.mean(differences):>29.2f}"
        )


def made_jpeg(height: int, width: int, seed: int) -> bytes:
    """Return a JPEG with detail at every scale, as a photograph has it."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3))
    for step in (4, 16, 64):
        grid = rng.integers(0, 256, (height // step + 2, width // step + 2, 3), dtype=np.uint8)
        pixels += np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)) / 3
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def difference(content: bytes, wanted: Wanted) -> float:
    """Return by how much values 0 … 255 differ, on average, from those of the image that is decoded whole."""
    whole = decode(content, Wanted(3, None, wanted.max_pixels)).transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(whole)).save(stream, "BMP")
    exact = decode(stream.getvalue(), wanted).astype(int)
    return float(np.abs(decode(content, wanted) - exact).mean())


def fastest(files: Sequence[bytes], wanted: Wanted, rounds: int) -> float:
    """Return the processor seconds that decoding all files takes, of the fastest round."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        for content in files:
            decode(content, wanted)
        times.append(time.process_time() - started)
    return min(times)


if __name__ == "__main__":
    main()
