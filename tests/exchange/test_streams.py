"""A stream of samples is filtered by kept ids, and a torch DataLoader trains an epoch on what is left."""

from __future__ import annotations

import io
import logging
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dualprune
from dualprune import KeptIds, keep_samples
from dualprune.core.storage import Location
from dualprune.errors import DataError
from tests.data.sources.cases import items, members_of, tar_of

NAMES = [f"ü{number}" for number in range(100)]


def stream(keys: list[str]) -> Iterator[dict[str, Any]]:
    return ({"__key__": key, "jpg": b"image"} for key in keys)


def keys_of(samples: Any) -> list[str]:
    return [sample["__key__"] for sample in samples]


def test_the_kept_samples_pass_in_their_order(tmp_path: Path) -> None:
    kept = NAMES[::-3]
    (tmp_path / "kept_ids.txt").write_text("".join(f"{name}\n" for name in kept))
    expected = [name for name in NAMES if name in kept]
    path = tmp_path / "kept_ids.txt"
    held = KeptIds(path)
    for given in (kept, set(kept), str(path), path, Location.of(path), held, pickle.loads(pickle.dumps(held))):
        assert keys_of(keep_samples(given, stream(NAMES))) == expected
    assert len(held) == len(kept)
    assert keys_of(keep_samples(range(0, 30, 10), stream(["0", "00", "10", "11", "20x"]))) == ["0", "10"]


def test_a_set_of_ids_is_exact() -> None:
    random = np.random.default_rng(0)
    ids = {random.bytes(random.integers(1, 9)).hex() for _ in range(2000)}
    kept = sorted(ids)[::2]
    held = KeptIds(kept)
    assert [one for one in sorted(ids) if one in held] == kept
    assert not any(
        f"{one}0" in held or one[:-1] in held for one in kept if f"{one}0" not in ids and one[:-1] not in ids
    )


def test_the_stream_is_not_read_ahead() -> None:
    taken: list[str] = []

    def endless() -> Iterator[dict[str, Any]]:
        while True:
            for sample in stream(NAMES):
                taken.append(sample["__key__"])
                yield sample

    found = keep_samples([NAMES[5]], endless())
    assert [next(found)["__key__"] for _ in range(3)] == [NAMES[5]] * 3
    assert len(taken) == 206


def test_what_is_wrong_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "kept_mask.npy").write_bytes(b"\x93NUMPY\xff")
    for given, message in (
        (tmp_path / "none.txt", r"none.txt is no file; expected an export's kept_ids.txt"),
        (tmp_path, r"is no file; expected an export's kept_ids.txt"),
        (tmp_path / "empty.txt", r"empty.txt is empty; expected an export's kept_ids.txt"),
        (tmp_path / "kept_mask.npy", r"kept_mask.npy is no UTF-8 text \(.*\); expected an export's kept_ids.txt"),
        ([], r"keep_samples: there are no ids; expected those of a kept set"),
    ):
        with pytest.raises(DataError, match=message):
            list(keep_samples(given, stream(NAMES)))
    for sample, message in (
        ({"jpg": b"", "cls": b""}, "has no '__key__', but jpg, cls; filter before samples are taken apart"),
        ((b"", 1), "has no '__key__', but tuple; filter before samples are taken apart"),
    ):
        with pytest.raises(DataError, match=message):
            list(keep_samples(NAMES, [sample]))
    logging.getLogger("dualprune").propagate = True
    assert list(keep_samples(["7"], stream(["train/7", "train/8"]))) == []
    assert "none of 2 samples is among the 1 kept ids, such as 'train/8'; kept ids are such as '7'" in caplog.text


def test_an_epoch_of_training_on_a_filtered_stream(tmp_path: Path) -> None:
    import torch
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    train = items(60)
    for number in range(4):
        (tmp_path / f"train-{number}.tar").write_bytes(tar_of(members_of(train[number::4])))
    kept = KeptIds([item.name for item in train[::3]])

    class Shards(IterableDataset[tuple[str, torch.Tensor, int]]):
        def __iter__(self) -> Iterator[tuple[str, torch.Tensor, int]]:
            worker = get_worker_info()
            assert worker is not None
            for shard in sorted(tmp_path.glob("*.tar"))[worker.id :: worker.num_workers]:
                for sample in keep_samples(kept, samples_of(shard)):
                    pixels = np.asarray(Image.open(io.BytesIO(sample["png"])), np.float32)
                    label = ["cat", "dog", "fish"].index(sample["cls"].decode())
                    yield sample["__key__"], torch.from_numpy(pixels)[None] / 255, label

    seen = train_an_epoch(DataLoader(Shards(), batch_size=5, num_workers=2), 64)
    assert sorted(seen) == [item.name for item in train[::3]]


def test_an_epoch_of_training_on_the_lists_of_an_export(tmp_path: Path) -> None:
    import torch
    from torch.utils.data import DataLoader, Subset

    prob = np.random.default_rng(0).random((6, 60), dtype=np.float32)
    names = [f"s{number}" for number in range(60)]
    settings = {"score": {"window": 3}, "select": {"ratio": 0.7}}
    run = dualprune.Run(dualprune.import_dynamics(prob, tmp_path / "run", sample_ids=names, config=settings))
    run.score()
    run.select()
    run.export()
    lists = tmp_path / "run" / "exports" / "beta-0.7"
    whole = [(name, torch.full((1, 8, 8), row / 60), row % 3) for row, name in enumerate(names)]
    kept = Subset(whole, np.load(lists / "kept_indices.npy"))  # type: ignore[arg-type, var-annotated]
    expected = (lists / "kept_ids.txt").read_text().split()
    assert len(expected) == 18
    for dataset in (kept, dualprune.PrunedDataset(whole, tmp_path / "run", "beta-0.7")):
        assert train_an_epoch(DataLoader(dataset, batch_size=5), 64) == expected


def samples_of(shard: Path) -> Iterator[dict[str, Any]]:
    """Yield the samples of a shard as WebDataset does."""
    sample: dict[str, Any] = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            if sample and sample["__key__"] != key:
                yield sample
                sample = {}
            stream = tar.extractfile(member)
            assert stream is not None
            sample |= {"__key__": key, extension: stream.read()}
    yield sample


def train_an_epoch(loader: Any, num_inputs: int) -> list[str]:
    """Train a linear model; return the ids that it saw."""
    import torch

    model = torch.nn.Linear(num_inputs, 3)
    before = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[str] = []
    for ids, inputs, targets in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs.flatten(1)), targets).backward()
        optimizer.step()
        seen += ids
    assert not torch.equal(model.weight, before)
    return seen
