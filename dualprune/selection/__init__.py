"""Samplers: they choose the samples to keep by their scores. Arrays here; a run directory in `stages.select`."""

from dualprune.selection.arrays import beta, ccs, flexrand, random, select, stratified, top_k
from dualprune.selection.engine.counts import num_kept
from dualprune.selection.sampler import SAMPLERS

__all__ = ["SAMPLERS", "beta", "ccs", "flexrand", "num_kept", "random", "select", "stratified", "top_k"]
