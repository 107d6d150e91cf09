"""The evaluate stage: trains from scratch on subsets and compares them."""
