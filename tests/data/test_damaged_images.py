"""Damaged images are decoded or refused, whatever their decoders raise."""

from __future__ import annotations

import io
import random
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dualprune.core.sections import DataConfig
from dualprune.data.decoding import UndecodableError, Wanted, decode
from dualprune.data.source import open_source
from dualprune.errors import DataError
from tests.data.images import examples

WANTED = Wanted(None, 16, 200_000)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a file with one kind of damage: bytes changed, cut, lost, repeated or overwritten with others of it."""
    place, length = chance.randrange(len(content)), chance.choice([1, 2, 4, 8, 64])
    kind = chance.randrange(6)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + content[place + length :]
    if kind == 2:
        return content[: place + length] + content[place:]
    if kind == 3:
        return content[:place] + bytes([chance.choice([0, 255])]) * length + content[place + length :]
    if kind == 4:
        other = chance.randrange(len(content))
        return content[:place] + content[other : other + length] + content[place + length :]
    changed = bytearray(content)
    # Headers, which are at the front, lead to the rarest faults.
    reach = len(content) if chance.random() < 0.5 else min(len(content), 200)
    for _ in range(chance.randint(1, 6)):
        changed[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def raised_by_pillow(content: bytes) -> str:
    """Return the type of what Pillow itself raises, if anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
            if image.width * image.height <= WANTED.max_pixels:
                image.convert("RGB")
    except Exception as error:
        return type(error).__name__
    return "nothing"


def check(count: int, seed: int) -> Counter[str]:
    """Decode this many damaged files of each kind, and return how often which error of Pillow's came about."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    for content in examples().values():
        for _ in range(count):
            made = damaged(content, chance)
            try:
                pixels = decode(made, WANTED)
            except UndecodableError:
                outcomes[raised_by_pillow(made)] += 1
                continue
            outcomes["decoded"] += 1
            assert pixels.dtype == np.uint8
            assert pixels.shape in ((1, 16, 16), (3, 16, 16))
    return outcomes


def test_damaged_images_are_decoded_or_refused() -> None:
    outcomes = check(60, seed=0)
    # Damage of both kinds is there, and errors other than the usual OSError and its subclasses.
    assert outcomes["decoded"] > 300
    assert outcomes["OSError"] > 100
    assert outcomes.keys() - {"decoded", "nothing", "OSError", "UnidentifiedImageError", "ValueError", "SyntaxError"}


@pytest.mark.slow
def test_many_damaged_images_are_decoded_or_refused() -> None:
    assert check(1000, seed=1).total() == 1000 * len(examples())


@pytest.mark.parametrize("form", ["avif", "png", "webp"])
def test_what_a_decoder_raises_is_skipped_or_named_with_its_place(form: str, tmp_path: Path) -> None:
    good, chance = examples()[form], random.Random(3)
    bad = good
    while raised_by_pillow(bad) == "nothing":
        bad = damaged(good, chance)
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"sample_id": list("abcd"), "image": [good, good, bad, good], "label": [0, 1] * 2}), path)
    settings = {"source": "parquet", "path": str(path), "image_size": 16}
    source = open_source(DataConfig(**settings, on_error="skip"))
    assert source.read(source.shards("train")[0]).failed == {2: "c"}
    source = open_source(DataConfig(**settings))
    with pytest.raises(DataError, match=rf"image of sample 'c' cannot be used: .*row 2 of row group 0 of {path}"):
        source.read(source.shards("train")[0])
