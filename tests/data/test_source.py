"""Sources are plug-ins, and listing them loads nothing that only reading needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dualprune.core.sections import DataConfig
from dualprune.data.source import open_source
from dualprune.errors import ConfigError

CODE = """
import sys
from dualprune.data.source import SOURCES
print(SOURCES.names())
print([name for name in ("torch", "torchvision", "sklearn", "PIL", "ray", "numba") if name in sys.modules])
"""


def test_listing_sources_loads_no_library_that_reads() -> None:
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    names, loaded = found.stdout.splitlines()
    ours = "array digits huggingface image_folder imported manifest parquet torchvision webdataset"
    assert (names, loaded) == (str(ours.split()), "[]")


def test_an_option_that_a_source_does_not_have() -> None:
    with pytest.raises(ConfigError, match=r"config\.data\.options\.label_colum: .*did you mean 'label_column'"):
        open_source(DataConfig(source="parquet", path="x", options={"label_colum": "l"}))
    with pytest.raises(ConfigError, match=r"config\.data\.options\.side"):
        open_source(DataConfig(options={"side": 8}))
