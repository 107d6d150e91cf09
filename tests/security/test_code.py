"""No code of ours runs what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.code_rules import breaches, breaches_of

ROOT = Path(__file__).parents[2]
FOLDERS = [name for name in ("dualprune", "pipelines", "cluster", "benchmarks") if (ROOT / name).is_dir()]

# What comes from a Ray task of the same job, as Ray itself sends it; never from a file.
BETWEEN_TASKS = {("dualprune/cluster/tasks.py", "cloudpickle.loads")}


def test_no_code_runs_what_it_reads() -> None:
    found = [text for folder in FOLDERS for text in breaches_of(ROOT / folder)]
    excepted = {(path, call) for path, call in BETWEEN_TASKS for text in found if path in text and call in text}
    assert excepted == BETWEEN_TASKS, "an exception that nothing needs any more"
    assert [text for text in found if not any(path in text and call in text for path, call in BETWEEN_TASKS)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "import pickle as p\np.loads(content)",
        "from pickle import loads as read\nread(content)",
        "import cloudpickle\ncloudpickle.loads(content)",
        "import torch\ntorch.load(file)",
        "import torch\ntorch.load(file, weights_only=False)",
        "import torch\ntorch.load(file, weights_only=flag)",
        "import numpy as np\nnp.load(file, allow_pickle=True)",
        "import yaml\nyaml.load(file, Loader=yaml.Loader)",
        "from yaml import unsafe_load\nunsafe_load(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import os\nos.system(text)",
        "eval(text)",
        "import tarfile\ntarfile.open(name).extractall(folder)",
        "import zipfile\nzipfile.ZipFile(name).extract(member, folder)",
        "import shutil\nshutil.unpack_archive(name, folder)",
        "import joblib\njoblib.load(name)",
        "import pandas as pd\npd.read_pickle(name)",
    ],
)
def test_the_rules_find_it(source: str) -> None:
    assert len(breaches(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(file, weights_only=True)",
        "import numpy as np\nnp.load(file)\nnp.load(file, allow_pickle=False)",
        "import yaml\nyaml.safe_load(text)",
        "import tarfile\ntarfile.open(name).extractall(folder, filter='data')",
        "import re\nre.compile(text)\nimport torch\ntorch.compile(model)\nimport json\njson.loads(text)",
        "import subprocess\nsubprocess.run([program, text])",
    ],
)
def test_the_rules_let_the_safe_form_pass(source: str) -> None:
    assert breaches(source) == []
