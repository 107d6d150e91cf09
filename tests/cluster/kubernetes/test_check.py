"""The needs of a configuration against the resources of an overlay, and overlays that cannot be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from dualprune.cli import app
from dualprune.cluster.kubernetes import build, check, clusters, cpu_count, manifests
from dualprune.core.config_file import load_config
from dualprune.errors import ConfigError, UserError
from tests.cluster.documents import CLUSTER, OVERLAYS, ROOT

DIGITS = str(ROOT / "pipelines" / "configs" / "digits.yaml")
GPU = CLUSTER / "overlays" / "gpu"


def findings(overlay: str, **scaling: Any) -> list[str]:
    settings = [f"scaling.{key}={value}" for key, value in scaling.items()]
    return [str(found) for found in check(load_config(DIGITS, settings), CLUSTER / "overlays" / overlay)]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_configuration_of_an_overlays_jobs_fits_it(overlay: str) -> None:
    config = "digits" if overlay == "dev-cpu" else "imagenet"
    assert check(load_config(ROOT / "pipelines" / "configs" / f"{config}.yaml"), CLUSTER / "overlays" / overlay) == []


@pytest.mark.parametrize(
    ("overlay", "scaling", "message"),
    [
        ("gpu", {"num_workers": 9, "use_gpu": "true"}, "scaling.num_workers: 9 workers need 9 GPUs, the overlay has 8"),
        ("dev-cpu", {"use_gpu": "true"}, "scaling.use_gpu: at least 1 GPUs are needed, the overlay has 0"),
        ("dev-cpu", {"num_workers": 5}, "scaling.num_workers: 5 workers need 5 CPUs, the overlay has 4"),
        ("dev-cpu", {"num_workers": 1, "cpus_per_worker": 3}, "workers of 3 CPUs are needed, 0 fit into the pods"),
        ("kueue", {"num_workers": 9, "use_gpu": "true"}, "(RayJob compare, RayJob prune, RayJob score, RayJob sweep)"),
    ],
)
def test_what_does_not_fit_names_both_numbers(overlay: str, scaling: dict[str, Any], message: str) -> None:
    found = findings(overlay, **scaling)
    assert len(found) == 1
    assert message in found[0]


def test_of_an_autoscaling_group_the_largest_size_counts() -> None:
    assert findings("gpu-autoscale", num_workers=16, use_gpu="true") == []
    assert findings("gpu-autoscale", num_workers=17, use_gpu="true") != []


def test_the_command_says_what_fits_and_refuses_what_does_not() -> None:
    words = ["cluster", "check", DIGITS, str(GPU)]
    fits = CliRunner().invoke(app, words)
    assert fits.exit_code == 0, fits.output
    assert f"{DIGITS} fits {GPU}" in fits.output
    refused = CliRunner().invoke(app, [*words, "--set", "scaling.num_workers=9", "--set", "scaling.use_gpu=true"])
    assert isinstance(refused.exception, ConfigError)
    assert "9 workers need 9 GPUs, the overlay has 8" in str(refused.exception)


def cluster_of(**spec: Any) -> list[dict[str, Any]]:
    """Return a RayCluster whose one worker group has `spec`."""
    template = {"spec": {"containers": [{"resources": {"limits": {"cpu": "1500m", "nvidia.com/gpu": "2"}}}]}}
    group = {"groupName": "w", "replicas": 2, "template": template} | spec
    head = {"template": {"spec": {"containers": [{}]}}}
    spec = {"headGroupSpec": head, "workerGroupSpecs": [group]}
    return [{"kind": "RayCluster", "metadata": {"name": "c"}, "spec": spec}]


@pytest.mark.parametrize(
    ("group", "pods", "cpus", "gpus"),
    [
        ({}, 2, 2, 2),
        ({"rayStartParams": {"num-cpus": "6", "num-gpus": "0"}}, 2, 6, 0),
        ({"rayStartParams": {"num-cpus": "6"}, "resources": {"CPU": "7", "GPU": "1"}}, 2, 7, 1),
        ({"replicas": 3, "numOfHosts": 4}, 12, 2, 2),
        ({"suspend": True}, 0, 2, 2),
    ],
)
def test_a_group_is_counted_as_kuberay_does(group: dict[str, Any], pods: int, cpus: int, gpus: int) -> None:
    found = clusters(cluster_of(**group))[0].groups[1]
    assert (found.pods, found.cpus, found.gpus) == (pods, cpus, gpus)


@pytest.mark.parametrize(("quantity", "cpus"), [("16", 16), (2.5, 3), ("500m", 1), (0, 0)])
def test_a_part_of_a_cpu_is_rounded_up(quantity: str | float, cpus: int) -> None:
    assert cpu_count(quantity) == cpus


def test_what_cannot_be_counted_is_named() -> None:
    with pytest.raises(UserError, match=r"'many': expected a number such as 4, 0\.5 or 500m"):
        cpu_count("many")
    with pytest.raises(UserError, match="RayCluster c, group w: has no container"):
        clusters(cluster_of(template={"spec": {"containers": []}}))


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        ({}, "none", "there is no such overlay"),
        ({"o/readme.md": ""}, "o", "holds no kustomization.yaml"),
        (
            {"o/kustomization.yaml": "resources: [none.yaml]"},
            "o",
            "`kubectl kustomize` refuses the overlay: .*none.yaml",
        ),
        ({"built.yaml": "a: ["}, "built.yaml", "not valid YAML"),
        ({"built.yaml": "- a"}, "built.yaml", "a YAML document without `kind`"),
        ({"built.yaml": "kind: Service"}, "built.yaml", "neither a RayCluster nor a RayJob"),
    ],
)
def test_an_overlay_that_is_none(tmp_path: Path, files: dict[str, str], name: str, message: str) -> None:
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    with pytest.raises(UserError, match=message):
        check(load_config(DIGITS), tmp_path / name)


def test_without_kubectl_a_built_file_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    documents = build(GPU)
    (tmp_path / "built.yaml").write_text(yaml.safe_dump_all(documents))
    monkeypatch.setattr(manifests.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build(tmp_path / "built.yaml") == documents
    with pytest.raises(UserError, match="needs kubectl, which is not on the PATH"):
        build(GPU)


def test_kubectl_is_found_beside_the_python_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [document["kind"] for document in build(GPU)].count("RayJob") == 4


def test_a_build_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "kubectl"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(manifests, "BUILD_TIMEOUT_S", 0.2)
    with pytest.raises(UserError, match=r"did not end within 0.2 s; does the overlay name a remote base"):
        build(GPU)
