"""Dynamics in and out: recorded elsewhere and imported into a run, or exported from one for other programs."""
