"""The image: its Dockerfile keeps the rules, and its steps work in a plain folder as they do in the image."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.cluster.documents import CLUSTER, PIPELINES, ROOT

DOCKERFILE = CLUSTER / "Dockerfile"


def hadolint(text: str) -> list[str]:
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([program, "--format", "json", "-"], input=text, capture_output=True, text=True, timeout=60)
    return [f"{found['code']}: {found['message']}" for found in json.loads(done.stdout)]


def steps(text: str | None = None) -> list[tuple[str, str, str]]:
    """Return (stage, instruction, arguments) of every instruction, with continued lines joined."""
    lines = [line for line in (text or DOCKERFILE.read_text()).splitlines() if line.strip() and line[0] != "#"]
    whole = "\n".join(lines).replace("\\\n", " ")
    found, stage = [], ""
    for line in whole.splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            stage = rest.rpartition(" AS ")[2]
        found.append((stage, instruction, " ".join(rest.split())))
    return found


def test_hadolint_has_nothing_to_say() -> None:
    assert hadolint(DOCKERFILE.read_text()) == []


def test_hadolint_would_say_it() -> None:
    text = DOCKERFILE.read_text()
    assert any("DL3007" in found for found in hadolint(text.replace("3.11-slim-bookworm@${BASE_DIGEST}", "latest")))
    assert any("DL3042" in found for found in hadolint(text.replace("--no-cache-dir ", "")))
    assert any("DL3002" in found for found in hadolint(text.replace("USER 1000:1000", "USER root")))


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_a_target_ends_as_a_user_without_rights(target: str) -> None:
    users = [rest for stage, instruction, rest in steps() if stage == target and instruction == "USER"]
    assert users == ["1000:1000"]


def test_no_layer_holds_a_secret_or_what_the_build_does_not_need() -> None:
    for _, instruction, rest in steps():
        assert instruction != "ADD"
        if instruction in ("ARG", "ENV"):
            assert not re.search(r"TOKEN|SECRET|PASSWORD|KEY", rest), rest
        if instruction == "COPY" and "--from" not in rest:
            for source in shlex.split(rest)[:-1]:
                assert f"!{source.removeprefix('./')}" in (ROOT / ".dockerignore").read_text().splitlines(), source


def test_base_images_go_by_digest_and_packages_by_the_constraints() -> None:
    stages = {stage for stage, _, _ in steps()}
    for _, instruction, rest in steps():
        if instruction == "FROM":
            source = rest.split()[0]
            assert source in stages or source.endswith("@${BASE_DIGEST}"), source
        if instruction == "RUN" and "pip install" in rest:
            assert "-c constraints.txt" in rest or "--no-deps /wheels/" in rest, rest


def _run(stage: str, containing: str) -> str:
    found = [
        rest for where, instruction, rest in steps() if (where, instruction) == (stage, "RUN") and containing in rest
    ]
    assert len(found) == 1
    return found[0]


def _shell(line: str, folder: Path) -> str:
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder)}
    environment |= {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_"))}
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _copied(stage: str, folder: Path) -> None:
    """Execute the COPYs of a stage that copy from the repository."""
    for where, instruction, rest in steps():
        if (where, instruction) == (stage, "COPY") and "--from" not in rest:
            *sources, _ = shlex.split(rest)
            for source in sources:
                _shell(f"cp -r {shlex.quote(str(ROOT / source))} .", folder)


def test_the_requirements_are_those_of_the_project_and_all_are_pinned(tmp_path: Path) -> None:
    _copied("requirements", tmp_path)
    _shell(_run("requirements", "tomllib"), tmp_path)
    asked = [Requirement(line) for line in (tmp_path / "requirements.txt").read_text().splitlines()]
    names = {requirement.name for requirement in asked}
    assert {"ray", "torch", "pyarrow", "scikit-learn"} <= names
    pins = dict(line.split("==") for line in (tmp_path / "constraints.txt").read_text().splitlines() if "==" in line)
    for requirement in asked:
        assert pins[requirement.name] in requirement.specifier, requirement


@pytest.mark.slow
def test_the_wheel_is_built_installed_and_holds_what_the_jobs_run(tmp_path: Path) -> None:
    build, venv, wheels = tmp_path / "build", tmp_path / "venv", tmp_path / "wheels"
    build.mkdir()
    _shell(f"{sys.executable} -m venv {venv}", tmp_path)
    _copied("requirements", build)
    _copied("wheel", build)
    pip = str(venv / "bin" / "pip")
    line = _run("wheel", "pip wheel").replace("/build/", f"{build}/").replace("/wheels", str(wheels))
    _shell(line.replace("pip wheel", f"{pip} wheel"), build)
    install = _run("cpu", "pip install").partition(" pip install")[2].replace("/wheels", str(wheels))
    _shell(f"{pip} install{install}", tmp_path)
    site = next(venv.glob("lib/python3.*/site-packages"))
    for module in PIPELINES:
        assert (site / "pipelines" / f"{module}.py").is_file()
    assert (site / "dualprune" / "py.typed").is_file()
    # The packages of the running environment, the code of the wheel.
    ours = f"import dualprune, sys; assert dualprune.__file__.startswith({str(site)!r}), dualprune.__file__"
    _shell(f"PYTHONPATH={site} {sys.executable} -c {shlex.quote(ours)}", tmp_path)
    _shell(f"PYTHONPATH={site} {sys.executable} -m pipelines.prune --help", tmp_path)
