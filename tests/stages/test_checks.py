"""What is found before a stage begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.errors import ConfigError
from dualprune.stages.pipeline import run_stages


@pytest.mark.parametrize("stage", ["record", "evaluate"])
def test_a_model_that_torchvision_does_not_have(stage: str, tmp_path: Path) -> None:
    config = make_config({"model": {"name": "torchvision/resnet5O"}})
    message = r"config\.model\.name: torchvision has no classification model 'resnet5O'; did you mean 'resnet50'"
    with pytest.raises(ConfigError, match=message):
        run_stages(RunDirectory(tmp_path / "run"), config, [stage])
    assert not (tmp_path / "run").exists()
