"""The stages of a run: what each does, where it writes, and in which order they run."""
