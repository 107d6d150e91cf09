"""Score methods: arrays [n, T] of recorded statistics in, one score a sample out. No Ray, no torch, no files here."""

from dualprune.scores.dual import Dual, DualAccumulator, dual, dual_and_mean
from dualprune.scores.score import SCORES, Accumulator, Scored, ScoreMethod

__all__ = ["SCORES", "Accumulator", "Dual", "DualAccumulator", "ScoreMethod", "Scored", "dual", "dual_and_mean"]
