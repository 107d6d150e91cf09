"""The manifests are built by kubectl, which a development machine may lack."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(autouse=True)
def kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
