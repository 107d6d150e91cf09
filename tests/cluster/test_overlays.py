"""Every overlay builds, has the form that Kubernetes and KubeRay require, and follows our rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cluster.documents import CLUSTER, OVERLAYS, PIPELINES, ROOT, built, cluster_spec, find, groups, pods
from tests.cluster.operator_rules import operator_errors
from tests.cluster.policy_rules import policy_errors
from tests.cluster.quantities import num_bytes
from tests.cluster.schemas import KUBERAY, KUBERNETES_VERSIONS, schema_errors

# Images that were built on the same machine have no digest.
BY_TAG = {"dev-cpu"}
SECRETS = {"dualprune-auth", "dualprune-redis", "dualprune-s3"}


def test_the_overlays_are_those_that_the_docs_name():
    assert OVERLAYS == ["dev-cpu", "gpu", "gpu-autoscale", "kueue"]
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    assert [name for name in OVERLAYS if f"cluster/overlays/{name}" not in text and f"`{name}`" not in text] == []


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_schema(overlay, version):
    documents = built(overlay)
    assert len(documents) > 15
    assert [error for document in documents for error in schema_errors(document, version)] == []


def test_the_schema_is_that_of_the_kuberay_which_the_docs_install():
    text = (ROOT / "docs/kubernetes.md").read_text()
    assert re.findall(r"helm install kuberay-operator \S+ --version (\S+)", text) == [KUBERAY["release"]]
    assert sorted(KUBERAY["kinds"]) == ["RayCluster", "RayJob"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_operator_takes_it(overlay):
    assert operator_errors(built(overlay)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_policy(overlay):
    assert policy_errors(built(overlay), tags_allowed=overlay in BY_TAG) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_parked_job_for_each_pipeline(overlay):
    documents = built(overlay)
    jobs = {document["metadata"]["name"]: document for document in documents if document["kind"] == "RayJob"}
    assert sorted(jobs) == sorted(PIPELINES)
    for name, job in jobs.items():
        spec = job["spec"]
        assert spec["suspend"] is True, "applying an overlay must start no job"
        assert spec["submissionMode"] == "HTTPMode"
        assert spec["entrypoint"].startswith(f"python -m pipelines.{name} ")
        assert job["metadata"]["labels"]["dualprune-pipeline"] == name


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "kueue"])
def test_a_jobs_cluster_is_the_standing_one_but_for_its_label(overlay):
    documents = built(overlay)
    standing = find(documents, "RayCluster", "dualprune")["spec"]
    for name in PIPELINES:
        job = find(documents, "RayJob", name)
        labels = {pod.template["metadata"]["labels"].pop("dualprune-cluster") for pod in pods([job])}
        assert labels == {name}
        for pod in pods([{"kind": "RayCluster", "metadata": {"name": "standing"}, "spec": standing}]):
            pod.template["metadata"]["labels"].pop("dualprune-cluster", None)
        assert cluster_spec(job) == standing


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_command_lines_name_is_in_the_repository(overlay):
    lines = [d["spec"]["entrypoint"] for d in built(overlay) if d["kind"] == "RayJob"]
    for pod in pods(built(overlay)):
        if pod.where.startswith("CronJob"):
            lines.append(" ".join(pod.spec["containers"][0]["command"]))
    for line in lines:
        modules = re.findall(r"python -m ([\w.]+)", line)
        configs = re.findall(r"--config /opt/dualprune/(\S+)", line)
        assert len(modules) == len(configs) == 1, line
        for path in {modules[0].replace(".", "/") + ".py", configs[0]}:
            assert (ROOT / path).is_file(), f"{line}: {path} is not there"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_document_refers_to_is_there(overlay):
    documents = built(overlay)
    names = {(d["kind"], d["metadata"]["name"]) for d in documents}
    named = set()
    for key, value in _leaves(documents):
        if key.endswith(("secretKeyRef.name", "secretRef.name", "secretName")):
            named.add(value)
        if key.endswith("serviceAccountName"):
            assert ("ServiceAccount", value) in names
        if key.endswith("configMapRef.name"):
            assert ("ConfigMap", value) in names
    assert named == SECRETS
    for document in documents:
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "dualprune"


def test_the_docs_make_every_secret():
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    made = set(re.findall(r"kubectl create secret generic (\S+)", text.replace("-n dualprune ", "")))
    assert made == SECRETS


def test_kueue_has_no_cluster_that_never_ends_and_starts_nothing_by_itself():
    documents = built("kueue")
    assert {d["kind"] for d in documents} & {"RayCluster", "CronJob"} == set()
    for document in documents:
        if document["kind"] == "RayJob":
            # Kueue starts whatever is suspended and has a queue.
            assert "kueue.x-k8s.io/queue-name" not in document["metadata"]["labels"]
            assert not document["spec"]["rayClusterSpec"].get("enableInTreeAutoscaling")


def test_the_docs_give_kueue_room_for_one_job():
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    quota = dict(re.findall(r"name: (\S+), nominalQuota: (\w+)", text))
    needed: dict[str, float] = {}
    job = find(built("kueue"), "RayJob", "prune")
    for name, group in groups(job["spec"]["rayClusterSpec"]):
        for resource, amount in group["template"]["spec"]["containers"][0]["resources"]["requests"].items():
            needed[resource] = needed.get(resource, 0) + num_bytes(amount) * (
                1 if name == "head" else group["replicas"]
            )
    assert {resource: num_bytes(amount) for resource, amount in quota.items()} == needed


def test_autoscaling_overlay_scales_and_lets_the_autoscaler_alone_in():
    documents = built("gpu-autoscale")
    spec = find(documents, "RayCluster", "dualprune")["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert [group["minReplicas"] for group in spec["workerGroupSpecs"]] == [1, 0]
    assert "kubernetes-token" in {mount["name"] for mount in spec["autoscalerOptions"]["volumeMounts"]}


@pytest.mark.parametrize("path", sorted(CLUSTER.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CLUSTER)))
def test_every_file_says_what_it_is(path: Path):
    if path.name not in ("access.yaml", "autoscaler.yaml", "namespace.yaml"):
        assert path.read_text().startswith("# "), f"{path}: a comment on top says what the file is for"


def _leaves(node, path=""):
    if isinstance(node, dict):
        for key, below in node.items():
            yield from _leaves(below, f"{path}.{key}")
    elif isinstance(node, list):
        for below in node:
            yield from _leaves(below, path)
    else:
        yield path, node
