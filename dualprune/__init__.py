"""Prune training sets: record training dynamics, score every sample, keep what is worth training on."""
