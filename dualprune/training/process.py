"""Settings of a process that trains: its threads and number formats."""

from __future__ import annotations

import torch


def prepare_process(num_cpus: float) -> None:
    """Use this many processors, and the fast number formats of the device."""
    torch.set_num_threads(max(1, int(num_cpus)))
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
