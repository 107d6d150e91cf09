"""The few collective operations that training needs; each also works in a single process."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from dualprune.dynamics.index import SampleIndex


def rank() -> int:
    """Return this process's rank; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_sum(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all ranks."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def gather_objects(value: Any) -> list[Any]:
    """Return every rank's value, by rank, on every rank."""
    if world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def gather_rows(values: torch.Tensor) -> torch.Tensor:
    """Return every rank's values [m], concatenated by rank, on every rank; m may differ between ranks."""
    if world_size() == 1:
        return values
    length = torch.tensor([len(values)], device=values.device)
    lengths = [torch.empty_like(length) for _ in range(world_size())]
    dist.all_gather(lengths, length)
    longest = max(int(number) for number in lengths)
    padded = torch.zeros(longest, dtype=values.dtype, device=values.device)
    padded[: len(values)] = values
    gathered = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(gathered, padded)
    return torch.cat([part[: int(number)] for part, number in zip(gathered, lengths, strict=True)])


def from_rank_zero(value: Any) -> Any:
    """Return rank 0's value on every rank."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def share_buffers(module: nn.Module) -> None:
    """Copy rank 0's buffers, such as the running means of batch normalisation, to every rank."""
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def owned_buckets(index: SampleIndex) -> range:
    """Return the buckets that this rank owns: bucket b belongs to rank b modulo the number of ranks."""
    return range(rank(), index.num_buckets, world_size())


def send_to_owners(
    positions: torch.Tensor, values: torch.Tensor, index: SampleIndex
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Send the values of every sample to the rank that owns its bucket: one all-to-all.

    Takes positions int64 [m] and values float32 [columns, m] of the samples that this rank saw; returns, for each
    bucket that this rank owns, the positions [n] and values [columns, n] that any rank saw.
    """
    num_ranks = world_size()
    if num_ranks > 1:
        owners = (positions // index.bucket_rows) % num_ranks
        order = torch.argsort(owners, stable=True)
        send_counts = torch.bincount(owners, minlength=num_ranks)
        receive_counts = torch.empty_like(send_counts)
        dist.all_to_all_single(receive_counts, send_counts)
        sizes = (receive_counts.tolist(), send_counts.tolist())
        positions = _exchange(positions[order], *sizes)
        values = torch.stack([_exchange(column[order], *sizes) for column in values])
    mine = positions.cpu().numpy()
    mine_values = values.cpu().numpy()
    buckets = mine // index.bucket_rows
    parts = {}
    for bucket in owned_buckets(index):
        inside = np.flatnonzero(buckets == bucket)
        parts[bucket] = (mine[inside], mine_values[:, inside])
    return parts


def _exchange(values: torch.Tensor, receive: list[int], send: list[int]) -> torch.Tensor:
    received = torch.empty(sum(receive), dtype=values.dtype, device=values.device)
    dist.all_to_all_single(received, values.contiguous(), receive, send)
    return received
