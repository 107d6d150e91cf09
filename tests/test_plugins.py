"""The package of docs/plugins.md, built, installed and run as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
# The folder of each kind's plug-ins in this package, and the decorator that registers them.
PLACES = {
    "statistic": ("dynamics/statistics", "STATISTICS"),
    "score method": ("scores", "SCORES"),
    "sampler": ("selection/samplers", "SAMPLERS"),
    "source": ("data/sources", "SOURCES"),
    "model": ("training/models", "MODELS"),
    "curriculum": ("training/curricula", "CURRICULA"),
}
NAMES = {
    "class_prob": "statistic",
    "mean_entropy": "score method",
    "typical": "score method",
    "middle": "sampler",
    "stripes": "source",
    "perceptron": "model",
    "focus": "curriculum",
}


def files_of_the_page() -> dict[str, str]:
    """Return the files that docs/plugins.md shows, by the path in each one's first line."""
    blocks = re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", (ROOT / "docs" / "plugins.md").read_text(), re.M | re.S)
    return dict(blocks)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's package installed from its wheel, and its configuration."""
    source, site = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    files = files_of_the_page()
    (source / "tiny_plugins").mkdir()
    (source / "tiny_plugins" / "__init__.py").touch()
    for name, text in files.items():
        (source / name).write_text(text)
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "wheels"]
    subprocess.run(built, cwd=source, check=True, capture_output=True, text=True)
    [wheel] = (source / "wheels").glob("*.whl")
    # Installing a wheel of pure Python is unpacking it.
    zipfile.ZipFile(wheel).extractall(site)
    shutil.copy(source / "tiny.yaml", site)
    return site


def test_a_new_file_in_the_folder_of_its_kind_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "dualprune", tmp_path / "dualprune", ignore=shutil.ignore_patterns("__pycache__"))
    files = files_of_the_page()
    for name, kind in NAMES.items():
        folder, registry = PLACES[kind]
        text = files[f"tiny_plugins/{name}.py"]
        [plugin] = re.findall(
            r"^class (\w+)\((?:Statistic|EpochScore|ColumnScore|Sampler|Source|Model|Curriculum)\)", text, re.M
        )
        decorated = text.replace(f"class {plugin}(", f'@dualprune.{registry}.register("{name}")\nclass {plugin}(')
        (tmp_path / "dualprune" / folder / f"{name}.py").write_text(f"import dualprune\n{decorated}")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "dualprune", "methods", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    listed = {entry["name"]: entry["kind"] for entry in json.loads(done.stdout)}
    assert {name: listed.get(name) for name in NAMES} == NAMES


def dualprune(site: Path, *words: str) -> str:
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "dualprune", *words]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_shows_a_plug_in_of_each_kind() -> None:
    assert {f"tiny_plugins/{name}.py" for name in NAMES} <= files_of_the_page().keys()


def test_every_plug_in_is_listed_with_its_options(site: Path) -> None:
    listed = {entry["name"]: entry for entry in json.loads(dualprune(site, "methods", "--json"))}
    assert {name: listed[name]["kind"] for name in NAMES} == NAMES
    [option] = listed["middle"]["options"]
    assert (option["name"], option["default"]) == ("centre", 0.5)
    assert option["description"] == "Keep the samples nearest to this mean probability."
    shown = " ".join(dualprune(site, "methods", "middle").split())
    assert "Samples whose mean probability is nearest to a value." in shown
    assert "centre" in shown


def test_options_are_in_the_schema(site: Path) -> None:
    text = dualprune(site, "config", "schema")
    for words in (
        "Keep the samples nearest",
        "Leave out this many epochs",
        "Units of the hidden",
        "Weight of a hard",
        "Pixels per side",
    ):
        assert words in text
    json.loads(text)


def test_a_wrong_option_is_named(site: Path) -> None:
    command = [sys.executable, "-m", "dualprune", "prune", "tiny.yaml", "--set", "select.options.middle.center=0.3"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "config.select.options.middle.center: unknown key; there are: centre; did you mean 'centre'?" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "num_kept"), [([], 200), (["--set", "data.source=digits", "--set", "data.options={}"], 719)]
)
def test_the_configuration_of_the_page_prunes(site: Path, tmp_path: Path, source: list[str], num_kept: int) -> None:
    run = tmp_path / "tiny"
    dualprune(site, "prune", "tiny.yaml", "--run", str(run), *source)
    [kept] = (run / "selections").glob("middle-0.5/kept.parquet")
    table = pq.read_table(kept)
    assert table.num_rows == num_kept
    first = pq.read_table(run / "dynamics" / "epoch=0000" / "bucket=00000.parquet")
    assert first.schema.field("class_prob").type.list_size == (10 if source else 4)
    scores = {
        method: pq.read_table(run / "scores" / f"method={method}" / "bucket=00000.parquet")
        for method in ("typical", "mean_entropy")
    }
    assert (scores["typical"]["score"].to_numpy() <= 0).all()
    assert (scores["mean_entropy"]["score"].to_numpy() >= 0).all()
