"""The store of per-sample statistics: written while training, read by scoring."""
