"""Exact, partition-free selection: finds the samples of the highest ranks in a few passes."""
