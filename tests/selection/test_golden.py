"""The kept ids of an example, as they were first drawn: a seed must keep meaning the same samples.

golden.json holds those of `select.stream: 1`, golden-2.json those of stream 2. Where a change of the draws is intended,
run this file as a program, and note the change in CHANGELOG.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dualprune import selection
from dualprune.core.config_file import make_config
from dualprune.core.hashing import hash_ids, uniform

PLACES = {1: Path(__file__).with_name("golden.json"), 2: Path(__file__).with_name("golden-2.json")}
POSITIONS = np.arange(1000)
CASES = {
    "beta-0.3": {"ratio": 0.3},
    "beta-0.9": {"ratio": 0.9},
    "beta-0.9-seed-1": {"ratio": 0.9, "seed": 1},
    "beta-0.9-exponent": {"ratio": 0.9, "exponent": "2+c_d", "c_d": 11.0},
    "random-0.9": {"method": "random", "ratio": 0.9},
    "top_k-0.9": {"method": "top_k", "ratio": 0.9},
    "stratified-0.9": {"method": "stratified", "ratio": 0.9, "drop_hardest": 0.2},
    "beta-0.9-balanced": {"ratio": 0.9, "balance": {"quota": "equal"}},
}


def kept_ids(case: str, stream: int) -> list[str]:
    mean, spread = uniform(hash_ids(POSITIONS, 100)), uniform(hash_ids(POSITIONS, 101))
    ids = np.array([f"image-{position:04d}" for position in POSITIONS])
    [kept] = selection.select(
        make_config({"select": {**CASES[case], "stream": stream}}).select,
        0.3 * spread * mean * (1 - mean),
        mean,
        sample_ids=ids,
        labels=POSITIONS % 7,
    )
    return ids[kept].tolist()


@pytest.mark.parametrize("stream", list(PLACES))
@pytest.mark.parametrize("case", list(CASES))
def test_a_seed_goes_on_meaning_the_same_samples(case: str, stream: int) -> None:
    assert kept_ids(case, stream) == json.loads(PLACES[stream].read_text())[case]


if __name__ == "__main__":
    for stream, place in PLACES.items():
        place.write_text(json.dumps({case: kept_ids(case, stream) for case in CASES}) + "\n")
