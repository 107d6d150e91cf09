"""Runs a function on several real processes that form a gloo group."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
import torch.multiprocessing as mp


def run_on_ranks(function: Callable[..., Any], world_size: int, *arguments: Any) -> None:
    """Call `function(rank, *arguments)` on every rank; a failure of any fails the test."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_enter, args=(world_size, port, function, arguments), nprocs=world_size)


def _enter(rank: int, world_size: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    try:
        function(rank, *arguments)
    finally:
        dist.destroy_process_group()
