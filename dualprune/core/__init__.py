"""The core: configuration, run directory, storage and hashing. Knows neither Ray nor torch."""
