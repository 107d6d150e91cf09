"""Statistics that can be recorded, one file each."""
