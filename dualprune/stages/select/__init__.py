"""The select stage: draws the kept samples of a run from its scores."""
