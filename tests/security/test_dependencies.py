"""Every installed package is pinned, has the pinned version, and comes from the package index; Ray has one version."""

from __future__ import annotations

import re
import sysconfig
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.cluster.documents import OVERLAYS, built, cluster_spec

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Packages that create environments, which exist before anything is pinned.
TOOLS = {"pip", "uv", "setuptools", "wheel", "dualprune"}


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line), f"constraints.txt: {line} is no exact version"
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def asked() -> list[Requirement]:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *extras]]


@pytest.mark.parametrize("requirement", asked(), ids=str)
def test_what_the_project_asks_for_is_pinned_within_its_range_and_from_no_address(requirement: Requirement) -> None:
    assert requirement.url is None
    assert requirement.specifier
    assert Version(pins()[canonicalize_name(requirement.name)]) in requirement.specifier


def test_what_is_installed_is_what_is_pinned() -> None:
    known = pins()
    # Once imported, Ray puts a folder of its own libraries on the path: they are pinned with it.
    installed = {
        canonicalize_name(found.metadata["Name"]): found.version
        for found in distributions(path=[sysconfig.get_path("purelib")])
    }
    other = {
        name: (found, known.get(name))
        for name, found in installed.items()
        # Wheels of another index carry a local suffix: +cpu.
        if name not in TOOLS and found.partition("+")[0] != known.get(name)
    }
    assert other == {}


def test_rays_version_is_one_number() -> None:
    ray = pins()["ray"]
    assert version("ray") == ray
    assert {
        (cluster_spec(document) or {})["rayVersion"]
        for overlay in OVERLAYS
        for document in built(overlay)
        if cluster_spec(document)
    } == {ray}
    base = (ROOT / "cluster" / "base" / "raycluster.yaml").read_text()
    assert yaml.safe_load(base)["spec"]["rayVersion"] == ray
    # The image installs Ray by the constraints; no other file of the cluster names a version of it.
    dockerfile = (ROOT / "cluster" / "Dockerfile").read_text()
    assert not re.search(r"ray\[?[a-z,]*\]?[=~<>]=?\s*\d|rayproject/ray", dockerfile)
    said = [path for path in (ROOT / "cluster").rglob("*.yaml") if re.search(r"rayVersion:\s", path.read_text())]
    assert [path.name for path in said if "crds" not in path.parts] == ["raycluster.yaml"]
    asked_for = next(requirement for requirement in asked() if requirement.name == "ray")
    assert Version(ray) in asked_for.specifier
