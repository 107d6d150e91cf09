"""The score stage: scores from the store of dynamics, and running scores while recording."""
