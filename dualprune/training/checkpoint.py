"""Model checkpoints of recording: Ray Train stores them; this module finds, checks and reads them without pickle."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualprune.core.json_file import Record
from dualprune.core.storage import Location
from dualprune.dynamics.layout import epoch_name, epoch_number
from dualprune.errors import RunError, UserError
from dualprune.training.loop import Trainer, bare

logger = logging.getLogger(__name__)
STATE = "state.pt"
RECORD = "checkpoint.json"
# In recordings without a version, batches did not follow `dualprune.data.plan`.
VERSION = 2


def checkpoint_name(epoch: int) -> str:
    """Return a unique folder name for a checkpoint, so that files of a killed attempt are never mixed into it."""
    return f"{epoch_name(epoch)}.{uuid.uuid4().hex[:8]}"


@contextmanager
def written(trainer: Trainer, epoch: int, extra: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Yield a temporary folder that holds the trainer's state after `epoch`.

    `extra` holds whatever else resuming needs: numbers, strings, arrays, and lists and mappings of those.
    """
    buffer = io.BytesIO()
    state = {
        "model": bare(trainer.model).state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "step": trainer.step,
        "extra": _tensors(extra or {}),
    }
    torch.save(state, buffer)
    content = buffer.getvalue()
    with tempfile.TemporaryDirectory(prefix="dualprune-") as folder:
        (Path(folder) / STATE).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        record = {"epoch": epoch, "bytes": len(content), "sha256": digest, "version": VERSION}
        (Path(folder) / RECORD).write_text(json.dumps(record))
        yield Path(folder)


def newest_whole(folder: Location, epochs: set[int]) -> tuple[int, Location] | None:
    """Return the newest checkpoint of one of `epochs` whose content agrees with its record, or None."""
    found = [(epoch, place) for place in folder.children() if (epoch := _epoch(place)) is not None]
    for epoch, place in sorted(found, key=lambda item: item[0], reverse=True):
        if epoch not in epochs:
            continue
        if _read(place) is not None:
            return epoch, place
        logger.warning("checkpoint %s is damaged or incomplete and is skipped", place)
    return None


def newest_version(folder: Location) -> tuple[int, int] | None:
    """Return epoch and version of the newest finished checkpoint, or None where there is none."""
    places = [place / RECORD for place in folder.children() if _epoch(place) is not None]
    records = [record for record in map(_record, places) if record is not None]
    return max(((record["epoch"], record.get("version", 1)) for record in records), default=None)


def restore(trainer: Trainer, place: Location) -> dict[str, Any]:
    """Load a checkpoint into the trainer and return what was stored as `extra`; empty if an older version wrote it."""
    content = _read(place)
    assert content is not None, f"checkpoint {place} changed since it was chosen"
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=trainer.device, weights_only=True)
    bare(trainer.model).load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.step = int(state["step"])
    extra: dict[str, Any] = _arrays(state.get("extra", {}))
    return extra


def load_model(module: torch.nn.Module, place: Location) -> None:
    """Load the weights of a checkpoint into a module on the CPU; a RunError where the checkpoint is damaged."""
    content = _read(place)
    if content is None:
        raise RunError(f"checkpoint {place} is damaged or incomplete; record again")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    module.load_state_dict(state["model"])


def _tensors(value: Any) -> Any:
    """Return nested values with every array as a tensor, which is read without unpickling code."""
    if isinstance(value, Mapping):
        return {str(name): _tensors(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tensors(item) for item in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return value.item() if isinstance(value, np.generic) else value


def _arrays(value: Any) -> Any:
    """Return nested values with every tensor as an array."""
    if isinstance(value, dict):
        return {name: _arrays(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_arrays(item) for item in value]
    return value.cpu().numpy() if isinstance(value, torch.Tensor) else value


def _epoch(place: Location) -> int | None:
    return epoch_number(place.name.partition(".")[0])


def _record(place: Location) -> Record | None:
    """Return a checkpoint's record; None where it is missing or damaged."""
    try:
        return place.read_record().expect(epoch=int, sha256=str)
    except UserError:
        return None


def _read(place: Location) -> bytes | None:
    record = _record(place / RECORD)
    if record is None or not (place / STATE).exists():
        return None
    content = (place / STATE).read_bytes()
    return content if hashlib.sha256(content).hexdigest() == record["sha256"] else None
