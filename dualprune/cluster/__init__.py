"""Where work runs: the one folder that decides it, with Ray and Kubernetes."""
