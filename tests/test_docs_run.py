"""The commands and the Python of the pages run, from top to bottom, in a folder where nothing was run before."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_docs import ROOT, code_of, text_of

# A placeholder, or an omission.
OPEN = re.compile(r"…|\b[A-Z]{3,}\b|\|")
# These have tests of their own, and take minutes.
APART = ("dualprune tune", "dualprune submit")
# The names that a page assumes at its beginning.
AT_HAND = """
import numpy as np
import dualprune
rng = np.random.default_rng(0)
target_prob = rng.random((12, 300), dtype=np.float32)
ids, labels = np.arange(300), rng.integers(0, 3, 300)
score, mean_prob = rng.random(300), rng.random(300)
train_set = list(range(1438))
stream = [{"__key__": str(number)} for number in range(1438)]
"""


def commands(page: str) -> Iterator[list[str]]:
    """Yield the commands that stand on a page as a reader would copy them."""
    for line in code_of(Path(page)):
        command = re.split(r"\s+# ", line.strip())[0]
        if command.startswith("dualprune ") and not OPEN.search(command) and not command.startswith(APART):
            yield command.split()


def python_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text_of(Path(page)), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkout's configurations."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("pipelines", "cluster"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(words: list[str], desk: Path) -> None:
    done = subprocess.run([sys.executable, *words], cwd=desk, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-3000:]}"


@pytest.mark.slow
def test_what_the_readme_says_runs(desk: Path) -> None:
    found = list(commands("README.md"))
    assert ["dualprune", "status", "runs/digits"] in found, "the page is read"
    assert len(found) >= 7
    for words in found:
        run(["-m", *words], desk)
    # In one process, like a notebook: each block has the names of those before.
    run(["-c", AT_HAND + "\n".join(python_blocks("README.md"))], desk)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/scoring.md"])
def test_the_python_of_a_page_runs(desk: Path, page: str) -> None:
    blocks = python_blocks(page)
    assert blocks
    run(["-c", AT_HAND + "\n".join(blocks).replace("runs/mine", "runs/other")], desk)
