"""Samplers: scores in, the samples to keep out. On arrays here; over a run directory in `dualprune.selection.stage`."""

from dualprune.selection.arrays import beta, random, select, stratified, top_k
from dualprune.selection.counts import num_kept
from dualprune.selection.registry import SAMPLERS

__all__ = ["SAMPLERS", "beta", "num_kept", "random", "select", "stratified", "top_k"]
