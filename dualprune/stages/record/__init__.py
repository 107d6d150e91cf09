"""The record stage: trains the early epochs with Ray Train and fills the store of dynamics."""
