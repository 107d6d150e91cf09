"""Decides where work runs, with Ray and Kubernetes; no other folder does."""
