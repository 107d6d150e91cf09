"""Data sources and loaders. The sources of this package register themselves when it is imported."""

from dualprune.data.sources import digits as digits
from dualprune.data.sources import imported as imported
from dualprune.data.sources import parquet as parquet
from dualprune.data.sources import torchvision as torchvision
