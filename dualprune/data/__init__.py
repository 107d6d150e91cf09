"""Data sources and loaders. The sources of this package register themselves when it is imported."""

from dualprune.data import digits as digits
from dualprune.data import imported as imported
from dualprune.data import parquet as parquet
from dualprune.data import torchvision as torchvision
